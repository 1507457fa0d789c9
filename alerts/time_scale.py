"""How fast the watch's time runs: as written, or many times faster for drills and tests."""

import re
from dataclasses import dataclass

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_IN_QUERY = re.compile(r"(?<=\[)\d+[smhd](?=[]:])|(?<=\boffset )\d+[smhd]\b")


@dataclass(frozen=True)
class Timing:
    """Divide the durations of rules; the rules stay the same.

    Attributes:
        windows: What windows and offsets of queries, and intervals of groups, are divided by.
        holds: What the time a condition must last before it fires is divided by.
    """

    windows: int = 1
    holds: int = 1

    def query(self, promql: str) -> str:
        """Shorten every window and offset of a query."""
        return _IN_QUERY.sub(lambda found: _divided(found[0], self.windows), promql)

    def interval(self, duration: str) -> str:
        """Shorten the time between two evaluations."""
        return _divided(duration, self.windows)

    def hold(self, duration: str) -> str:
        """Shorten the time that a condition must last."""
        return _divided(duration, self.holds)


def seconds(duration: str) -> int:
    """Read a duration of Prometheus's, such as ``15m``."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


def _divided(duration: str, by: int) -> str:
    if by == 1:
        return duration
    return f"{-(-seconds(duration) // by)}s"


AS_WRITTEN = Timing()
FAST = Timing(windows=20, holds=60)
"""5m windows become 15s, "lasting 2m" becomes 2s: scrape and evaluate every second with it."""
