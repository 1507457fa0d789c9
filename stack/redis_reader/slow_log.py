"""The slow log: which commands were slow, without their keys and values."""

import re
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from rules.redis_metrics import REDIS_SLOW, REDIS_SLOW_SECONDS, SlowCommandLabels
from stack.readings.sample import BoundedCounts, Sample
from vitals.metrics.catalogue import OTHER
from vitals.redaction.secret_patterns import redact_patterns, redact_random_words

NEWEST = 128
"""Entries that are read at once; a server keeps as many by default."""
COMMANDS = 10
"""Commands with series of their own."""
KEPT = 500
"""Entries that are remembered."""
WINDOW = 600.0
"""Seconds for which an entry is shown."""
_MICROSECONDS = 1e6
_COMMAND = re.compile(r"[a-z][a-z0-9_.-]{0,39}")
_LEFT_OUT = re.compile(rb"\.\.\. \((\d+) more arguments\)")
_NUMBERS = ((3, "{}"), (9, "4 to 9"), (99, "10 to 99"), (999, "100 to 999"))


class _Entry(NamedTuple):
    at: float
    seconds: float
    labels: SlowCommandLabels


class SlowLog:
    """Reads the slow log of one server."""

    def __init__(self) -> None:
        self._run = ""
        self._next: int | None = None
        """The number of the next entry; None before the first reading."""
        self._entries: deque[_Entry] = deque(maxlen=KEPT)
        self._numbers: Counter[str] = Counter()
        self._counts = BoundedCounts((REDIS_SLOW,), COMMANDS)

    def restarted(self, run: str) -> None:
        """Note the id of the server's run: in another one, entries are numbered anew."""
        if run != self._run and self._run:
            self._next = 0
        self._run = run

    def missing(self, newest: Sequence[Any]) -> int:
        """How many entries are new.

        Args:
            newest: The newest entry, if any.
        """
        if not newest:
            return 0
        return NEWEST if self._next is None else max(0, newest[0][0] + 1 - self._next)

    def read(self, entries: Sequence[Any], now: float) -> list[Sample]:
        """Take in the newest entries.

        Args:
            entries: As the server sent them, the newest first.
            now: The server's time, as Unix time.
        """
        first, after = self._next, entries[0][0] + 1 if entries else self._next or 0
        fresh = [each for each in entries if first is None or each[0] >= first]
        taken = [_entry(each) for each in fresh]
        self._numbers.update(each.labels.command for each in taken)
        if first is not None:  # of those that the server has dropped, only the number is known
            self._numbers[OTHER] += max(0, after - first - len(fresh))
        self._next = after
        self._entries.extend(reversed(taken))
        self._counts.add({name: ((name,), (float(n),)) for name, n in self._numbers.items()})
        return [*self._counts.samples(), *self._slowest(now)]

    def _slowest(self, now: float) -> list[Sample]:
        slowest: dict[SlowCommandLabels, float] = {}
        for each in self._entries:
            if each.at > now - WINDOW:
                slowest[each.labels] = max(each.seconds, slowest.get(each.labels, 0.0))
        ranked = sorted(slowest.items(), key=lambda pair: -pair[1])[:COMMANDS]
        return [Sample(REDIS_SLOW_SECONDS, labels, seconds) for labels, seconds in ranked]


def _entry(sent: Sequence[Any]) -> _Entry:
    _, at, microseconds, words, *of_client = sent
    command = words[0].decode("utf-8", "replace").lower() if words else ""
    client = of_client[1].decode("utf-8", "replace") if len(of_client) > 1 else ""
    labels = SlowCommandLabels(
        command if _COMMAND.fullmatch(command) else OTHER,
        _number(words[1:]),
        redact_random_words(redact_patterns(client))[:40],
    )
    return _Entry(float(at), microseconds / _MICROSECONDS, labels)


def _number(arguments: Sequence[bytes]) -> str:
    """How many arguments, in few steps: exact numbers would make a series each."""
    number = len(arguments)
    if arguments and (left_out := _LEFT_OUT.fullmatch(arguments[-1])):
        number += int(left_out[1]) - 1
    for most, text in _NUMBERS:
        if number <= most:
            return text.format(number)
    return "1000 and more"
