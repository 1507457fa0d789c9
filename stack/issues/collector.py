"""Collector: reads the store again and again, and adds what it finds to the issues.

Every few seconds the last two minutes are read, every minute the last fifteen, because records may
arrive late. After a pause it begins where it ended. A cycle is written as a whole or not at all.
"""

import sqlite3
from collections.abc import Callable
from threading import Event
from time import time

from stack.issues.http_client import StoreError
from stack.issues.issue_store import CURSOR, IssueStore, State
from stack.issues.log_reader import MAX_LINES, MINUTE, LogReader
from stack.issues.occurrences import Count, Occurrence
from stack.issues.trace_reader import TracedError, TraceReader
from stack.terminal import print_line
from vitals.redactor import Redactor

INTERVAL = 5.0
"""Seconds between two cycles."""
RECENT, LATE = 2 * MINUTE, 15 * MINUTE
"""How far back each cycle reads, and one in a minute: records may arrive late."""
FIRST_RANGE = 60 * MINUTE
"""How far back a new issue tracker begins."""
MAX_RANGE = 7 * 24 * 60 * MINUTE
"""How far back it begins after a long pause."""
WINDOW = 60 * MINUTE
"""The longest range of one cycle."""
MAX_NEW = 200
"""New errors of one cycle; further ones come with the next."""
MAX_LOOKED_UP = 10
"""Traces that a cycle looks at for a stack."""
_NEWEST = 200


class Collector:
    """Reads one store.

    Args:
        store: Where the issues are kept.
        logs: Reads log records.
        traces: Reads traces.
        redactor: Redacts what is kept, though the kit has redacted it already.
        clock: Returns Unix time.

    Attributes:
        last_success: Unix time of the last cycle that was complete; 0 before the first.
        failures: Cycles that failed, by their reason: ``store`` or ``disk``.
        behind: Seconds up to which it still has to read.
    """

    def __init__(
        self,
        store: IssueStore,
        logs: LogReader,
        traces: TraceReader,
        redactor: Redactor,
        clock: Callable[[], float] = time,
    ) -> None:
        self.last_success = 0.0
        self.failures = {"store": 0, "disk": 0}
        self.behind = 0.0
        self._store = store
        self._logs = logs
        self._traces = traces
        self._redactor = redactor
        self._clock = clock
        self._last_late = 0.0
        self._said = ""

    def run(self, stopped: Event) -> None:
        """Collect until stopped."""
        while not stopped.is_set():
            caught_up = self.collect()
            stopped.wait(INTERVAL if caught_up else 0.1)

    def collect(self) -> bool:
        """Run one cycle; a failure is logged and counted. Whether nothing more is to be read."""
        try:
            caught_up = self._cycle()
        except StoreError as error:
            return self._failed("store", str(error))
        except sqlite3.Error as error:
            return self._failed("disk", f"the issues cannot be written: {error}")
        self.last_success = self._clock()
        if self._said:
            print_line("reading the store again")
            self._said = ""
        return caught_up

    def _failed(self, reason: str, text: str) -> bool:
        self.failures[reason] += 1
        if reason != self._said:  # once, not every few seconds
            print_line(text)
            self._said = reason
        return True

    def _cycle(self) -> bool:
        now = self._clock()
        first, last, is_late = self._range(now)
        states = self._store.states()
        counts: list[Count] = []
        newest: list[Occurrence] = []
        for service in self._logs.services(first, last + MINUTE):
            found = list(self._logs.counts(service, first, last))
            if not found:
                continue
            counts += found
            lines = self._logs.newest(service, first, last + MINUTE, limit=_NEWEST)
            newest += map(self._redacted, lines)
        known = {each.fingerprint: each for each in reversed(newest)}
        unknown = {each.fingerprint: each for each in counts if each.fingerprint not in states}
        starts = {each.fingerprint: each for each in sorted(counts, key=lambda e: -e.minute)}
        new: dict[str, Occurrence] = {}
        for fingerprint in list(unknown)[:MAX_NEW]:
            start = starts[fingerprint]
            new[fingerprint] = self._first(start) or known.get(fingerprint) or _unseen(start)
        missing = len(unknown) - len(new)
        reopened = self._reopened(states, counts)
        usable = [each for each in counts if each.fingerprint in states or each.fingerprint in new]
        self._store.add(
            usable,
            newest,
            first=new,
            reopened=reopened,
            cursor=first if missing else min(last, now),
        )
        self._look_up()
        caught_up = last + MINUTE > now and not missing
        self.behind = 0.0 if caught_up else now - last
        if is_late and caught_up:
            self._last_late = now
        return caught_up

    def _range(self, now: float) -> tuple[int, int, bool]:
        """The first and the last minute to read, and whether late records are looked for."""
        cursor = min(self._store.value(CURSOR) or now - FIRST_RANGE, now)
        is_late = now - self._last_late >= MINUTE
        start = max(cursor - (LATE if is_late else RECENT), now - MAX_RANGE)
        first = int(start // MINUTE) * MINUTE
        last = int(min(now, first + WINDOW) // MINUTE) * MINUTE
        return first, last, is_late

    def _first(self, count: Count) -> Occurrence | None:
        """The first occurrence within a minute, as far as it can be told."""
        found = self._logs.newest(
            count.service,
            count.minute,
            count.minute + MINUTE + 1,
            fingerprint=count.fingerprint,
            limit=MAX_LINES if count.times < MAX_LINES else 1,
        )
        return self._redacted(found[-1]) if found else None

    def _reopened(
        self, states: dict[str, tuple[State, float]], counts: list[Count]
    ) -> dict[str, Occurrence]:
        """Occurrences of resolved issues after their resolution."""
        reopened: dict[str, Occurrence] = {}
        for count in counts:
            state, since = states.get(count.fingerprint, (State.OPEN, 0.0))
            if (
                state is State.RESOLVED
                and count.minute + MINUTE > since
                and count.fingerprint not in reopened
            ):
                found = self._logs.newest(
                    count.service,
                    max(since, count.minute),
                    count.minute + MINUTE + 1,
                    fingerprint=count.fingerprint,
                    limit=1,
                )
                later = [each for each in found if each.time > since]
                if later:
                    reopened[count.fingerprint] = self._redacted(later[0])
        return reopened

    def _look_up(self) -> None:
        """Look up stacks: a trace has source lines, other records of the error have frames."""
        missing: list[str] = []
        found: TracedError | Occurrence | None
        for issue in self._store.without_stack(MAX_LOOKED_UP):
            end = issue.last_seen + MINUTE
            found = self._traces.error(issue.trace_id, issue.fingerprint)
            if found is None:
                records = self._logs.newest(
                    *(issue.service, end - FIRST_RANGE, end),
                    fingerprint=issue.fingerprint,
                    limit=1,
                    with_stack=True,
                )
                found = records[0] if records else None
            if found is None:
                missing.append(issue.fingerprint)
            else:
                message, stacktrace = self._texts(found.message, found.stacktrace)
                self._store.set_stack(issue.fingerprint, message, stacktrace)
        if missing:
            self._store.note_attempts(missing)

    def _redacted(self, each: Occurrence) -> Occurrence:
        message, stacktrace = self._texts(each.message, each.stacktrace)
        return each._replace(message=message, stacktrace=stacktrace)

    def _texts(self, message: str, stacktrace: str) -> tuple[str, str]:
        fields = self._redactor.attributes(
            {"exception.message": message, "exception.stacktrace": stacktrace}
        )
        return str(fields["exception.message"]), str(fields["exception.stacktrace"])


def _unseen(count: Count) -> Occurrence:
    """What is known of an error whose records cannot be read any more."""
    of_count = count.fingerprint, count.service, count.release, count.route
    return Occurrence(count.minute, *of_count, "", "", "", "", "")
