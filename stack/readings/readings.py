"""Readings: what a reader knows of its server, part by part, and what it could not read."""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from time import monotonic
from typing import NamedTuple, Protocol

from stack.readings.sample import Sample
from vitals.metrics.declarations import AnyMetric
from vitals.redaction.secret_patterns import redact_patterns

INTERVAL = 5.0
"""Seconds between two readings."""
STALE = 30.0
"""Seconds after the last reading from which on the server is down."""
CONNECT = "connect"
"""The part that is counted where there is no connection."""


class ReadingMetrics(NamedTuple):
    """The metrics of the reading itself.

    Attributes:
        up: 1 where the server answered lately.
        seconds: Duration of the last reading.
        failures: Parts that could not be read, by part.
        part_read: 1 where the last reading of a part succeeded.
    """

    up: AnyMetric
    seconds: AnyMetric
    failures: AnyMetric
    part_read: AnyMetric


class Source(Protocol):
    """A reader, as its endpoint sees it."""

    async def read(self) -> None:
        """Read what is due; never raises."""

    async def close(self) -> None:
        """Close its connection."""

    def samples(self) -> list[Sample]:
        """What is known now."""


class Readings:
    """The last samples of each part of a server; safe for threads.

    No value is shown that is older than half a minute.

    Args:
        metrics: The metrics of the reading itself.
        parts: Names of the parts.
        server: What is read, and where, as log lines name it.
        report: Called with a line when reading begins to fail, and when it succeeds again.
        labels: Of the metric that says whether the server answers.
    """

    def __init__(
        self,
        metrics: ReadingMetrics,
        parts: Sequence[str],
        server: str,
        report: Callable[[str], None],
        labels: tuple[str, ...] = (),
    ) -> None:
        self._metrics, self._parts = metrics, parts
        self._server, self._report, self._labels = server, report, labels
        self._lock = Lock()
        self._samples: dict[str, list[Sample]] = {}
        self._failures = dict.fromkeys([CONNECT, *parts], 0)
        self._failing: dict[str, str] = {}
        self._read_at = float("-inf")
        self._seconds = 0.0

    def keep(self, part: str, samples: Iterable[Sample]) -> None:
        """Keep what was read of a part."""
        found = [*samples]
        with self._lock:
            self._samples[part] = found
        self._succeed(part)

    def lose(self, part: str, error: Exception) -> None:
        """Note that a part could not be read; nothing is known of it then."""
        with self._lock:
            self._samples.pop(part, None)
        self._fail(part, error)

    def end(self, started: float) -> None:
        """Note that the server answered.

        Args:
            started: When the reading began, by the monotonic clock.
        """
        self._succeed(CONNECT)
        with self._lock:
            self._read_at, self._seconds = monotonic(), monotonic() - started

    def disconnect(self, error: Exception) -> None:
        """Note that the server did not answer."""
        self._fail(CONNECT, error)

    def samples(self) -> list[Sample]:
        """What is known now."""
        with self._lock:
            up = monotonic() - self._read_at < STALE
            found = [Sample(self._metrics.up, self._labels, float(up))]
            found += [
                Sample(self._metrics.failures, (name,), count)
                for name, count in self._failures.items()
            ]
            if not up:
                return found
            found.append(Sample(self._metrics.seconds, (), self._seconds))
            for part in self._parts:
                read = float(part in self._samples)
                found.append(Sample(self._metrics.part_read, (part,), read))
                found += self._samples.get(part, [])
        return found

    def _fail(self, name: str, error: Exception) -> None:
        text = redact_patterns(f"{type(error).__name__}: {_first_line(error)}")
        with self._lock:
            self._failures[name] += 1
        if self._failing.get(name) != text:
            self._failing[name] = text
            self._report(f"cannot read {name} of {self._server}: {text}")

    def _succeed(self, name: str) -> None:
        if self._failing.pop(name, None):
            self._report(f"reads {name} of {self._server} again")


def _first_line(error: Exception) -> str:
    """The driver's message, without the statement."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0][:300] if lines else ""
