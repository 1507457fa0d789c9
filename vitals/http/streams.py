"""Measures streams: responses that stay open, and long polls, whose requests do.

The latency of a stream is the time to its first byte; how long it was open is a figure of its own.
A long poll has no latency: its client asks it to wait.
"""

from collections.abc import Sequence

from vitals.metrics.catalogue import HTTP_STREAM_DURATION, StreamLabels
from vitals.metrics.instruments import HistogramChild
from vitals.metrics.meter import Meter

LONG_POLL_NAMES = frozenset(("poll", "long-poll", "long_poll", "longpoll", "long-polling"))
"""Last segments of route templates that are long polls unless a service names its own."""


class StreamMeter:
    """The durations of streams by route.

    Args:
        meter: Where to record.
        long_polls: Route templates of long polls; None for ``LONG_POLL_NAMES``.
    """

    def __init__(self, meter: Meter, long_polls: Sequence[str] | None = None) -> None:
        self._durations = meter.histogram(HTTP_STREAM_DURATION)
        self._long_polls = None if long_polls is None else frozenset(long_polls)

    def is_long_poll(self, route: str) -> bool:
        """Whether the requests of a route wait until there is something to answer."""
        if self._long_polls is not None:
            return route in self._long_polls
        return route.rsplit("/", 1)[-1].lower() in LONG_POLL_NAMES

    def durations(self, route: str, error_type: str) -> HistogramChild:
        """The histogram of streams with these labels."""
        return self._durations.bind(StreamLabels(route, error_type))
