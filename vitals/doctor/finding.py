"""Finding: what the doctor says about one hop."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How a hop is. A note is no fault, but explains panels that stay empty."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """The state of one hop.

    Attributes:
        hop: What was looked at, such as ``target``.
        status: How it is.
        message: What was found.
        remedy: What to do about it; empty if nothing is wrong.
    """

    hop: str
    status: Status
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        end = f" -> {self.remedy}" if self.remedy else ""
        return f"{self.status:8} {self.hop:13} {self.message}{end}"


Findings = Iterator[Finding]


def ok(hop: str, message: str) -> Finding:
    """A hop that works."""
    return Finding(hop, Status.OK, message)


def note(hop: str, message: str, remedy: str = "") -> Finding:
    """A hop that works, and something to know about it."""
    return Finding(hop, Status.NOTE, message, remedy)


def problem(hop: str, message: str, remedy: str) -> Finding:
    """A hop that does not work, and what to do about it."""
    return Finding(hop, Status.PROBLEM, message, remedy)
