"""Faults that a release brings, in services beside the API, with the rules of production."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stack.drills.fault import Load

Paths = Callable[[], Iterator[str]]


@dataclass(frozen=True)
class Release:
    """A release with a fault.

    Attributes:
        title: What it brings.
        before: Paths that are requested before it.
        during: Paths that are requested from it on.
        defect: Begins with it, if it is not the requests alone (``stack.drills.defects``).
        rate: Requests a second.
        limit: Seconds within which it must be told, if another than that of the severity.
    """

    title: str
    before: Paths
    during: Paths
    defect: str = ""
    rate: float = 10
    limit: int | None = None

    @property
    def job(self) -> str:
        """Of the service that gets it."""
        return "gameday-" + self.title.lower().replace(" ", "-").replace("+", "-")

    def load(self) -> Load:
        """What clients request."""
        return Load(self.during, self.before, self.job, self.rate)


def _always(path: str) -> Paths:
    return lambda: itertools.repeat(path)


def _one_in(number: int, path: str, other: str) -> Paths:
    return lambda: itertools.cycle([path, *[other] * (number - 1)])


_EXHAUSTED = 900
"""Seconds until the descriptors are used up: one a second, of 1,024. It must be told five minutes
before."""
RELEASES = {
    6: Release("N+1 queries", _always("/rows?count=1"), _always("/rows")),
    7: Release("Blocked event loop", _always("/wait"), _one_in(4, "/block?seconds=0.35", "/wait")),
    8: Release(
        "Leak of descriptors",
        _always("/wait"),
        _always("/wait"),
        "gradualdescriptors",
        limit=_EXHAUSTED - 300,
    ),
    9: Release(
        "KeyError for few", _always("/rarely"), _one_in(50, "/rarely?fails=true", "/rarely")
    ),
    10: Release("Slow dependency", _always("/call"), _always("/call?seconds=3"), rate=2),
}
"""By the number in the report."""
