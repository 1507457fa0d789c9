"""Time scale of the rules: real time, or many times faster for drills and tests."""

import re
from dataclasses import dataclass

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Not by the parser: its tree cannot be changed, and annotations hold queries in templates.
_IN_QUERY = re.compile(r"(?<=\[)\d+[smhd](?=[]:])|(?<=\boffset )\d+[smhd]\b")


@dataclass(frozen=True)
class TimeScale:
    """Divisors of the durations in rules; the rules stay the same.

    Attributes:
        window_divisor: Divides windows and offsets of queries, and intervals of groups.
        for_divisor: Divides `for` and `keep_firing_for`.
    """

    window_divisor: int = 1
    for_divisor: int = 1

    def query(self, promql: str) -> str:
        """Shorten every window and offset of a query."""
        return _IN_QUERY.sub(lambda found: _divided(found[0], self.window_divisor), promql)

    def interval(self, duration: str) -> str:
        """Shorten an evaluation interval."""
        return _divided(duration, self.window_divisor)

    def for_duration(self, duration: str) -> str:
        """Shorten a `for` or `keep_firing_for`."""
        return _divided(duration, self.for_divisor)


def seconds(duration: str) -> int:
    """Read a duration of Prometheus's, such as ``15m``."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


def _divided(duration: str, by: int) -> str:
    if by == 1:
        return duration
    return f"{-(-seconds(duration) // by)}s"


REAL_TIME = TimeScale()
FAST = TimeScale(window_divisor=20, for_divisor=60)
"""5m windows become 15s, `for: 2m` becomes 2s; scrape and evaluate every second with it."""
