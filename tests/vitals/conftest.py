"""The kit's own fixture, as its users have it."""

from vitals.testing import queries

__all__ = ["queries"]
