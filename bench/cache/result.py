"""Result of one section of the benchmark."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """A table, its figures, and the budgets that they exceed.

    Attributes:
        exceeded: Descriptions; empty if all budgets are met.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    figures: dict[str, Any]
    exceeded: list[str]
