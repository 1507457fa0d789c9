"""What one part of the benchmark found."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Part:
    """A table, the figures behind it, and what of the promises they break.

    Attributes:
        broken: Sentences; none when all holds.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    figures: dict[str, Any]
    broken: list[str]
