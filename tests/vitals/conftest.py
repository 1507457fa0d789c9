"""The kit's pytest fixture, as its users import it."""

from vitals.testing import queries

__all__ = ["queries"]
