"""Lock metrics: who makes others wait, for how long, as time series and log events.

Bounded: at most ``MAX_BLOCKERS`` label sets of blocking sessions and ``MAX_WAITS`` of waits in the
life of a process; further ones are counted as ``__other__``. A gauge is set to 0 when it is over.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import time
from typing import Any

from vitals.db.locks.lock_chains import LockChain, chains
from vitals.db.locks.lock_waits import INVISIBLE, LockWait
from vitals.db.statements.query_log import QueryLog
from vitals.metrics.catalogue import (
    DB_LOCK_BLOCKED,
    DB_LOCK_BLOCKER_PID,
    DB_LOCK_BLOCKING,
    DB_LOCK_SAMPLE_TIME,
    DB_LOCK_TRANSACTION,
    DB_LOCK_WAIT,
    DB_LOCK_WAITING,
    OTHER,
    DatabaseLabels,
    LockBlockerLabels,
    LockWaitLabels,
)
from vitals.metrics.instruments import GaugeChild
from vitals.metrics.meter import Meter

MAX_BLOCKERS = 30
MAX_WAITS = 60
GAP = 90.0
"""Seconds for which a transaction that is still open counts as blocking though no session waits: a
statement gives up after its timeout, and the next request waits again."""
TOLD_AFTER = 10.0
"""Seconds for which a transaction must block until that is logged."""


@dataclass
class _Blocker:
    """A transaction that has made others wait.

    Attributes:
        labels: Its labels when it was last seen.
        since: Unix time when it first made one wait.
        seen: Unix time when it last did.
        began: Unix time when the transaction began; None if unknown.
    """

    labels: LockBlockerLabels
    since: float
    seen: float
    began: float | None


class LockMetrics:
    """Records samples of one database's lock waits.

    Args:
        meter: Where to record.
        database: Name of the database in labels.
        log: Logs transactions that block; None for no log.
    """

    def __init__(self, meter: Meter, database: str, log: QueryLog | None = None) -> None:
        self._meter = meter
        self._database = database
        self._log = log
        self._blockers: dict[int, _Blocker] = {}
        self._known: dict[int, set[tuple[str, ...]]] = {MAX_BLOCKERS: set(), MAX_WAITS: set()}
        self._set: dict[GaugeChild, float] = {}
        labels = DatabaseLabels(database)
        self._sample_time = meter.gauge(DB_LOCK_SAMPLE_TIME).bind(labels)
        self._waiting = meter.gauge(DB_LOCK_WAITING).bind(labels)

    @property
    def open_pids(self) -> list[int]:
        """PIDs of sessions that blocked; ask whether their transactions are still open."""
        return [pid for pid in self._blockers if pid]

    def record(
        self,
        waits: list[LockWait],
        began: dict[int, float | None],
        now: Callable[[], float] = time,
    ) -> None:
        """Record a sample.

        Args:
            waits: The lock waits.
            began: Unix times when the transactions of ``open_pids`` began that are still open.
            now: The clock, in Unix seconds.
        """
        moment = now()
        waits = [wait for wait in waits if not wait.advisory]
        self._waiting.set(len({wait.waiting_pid for wait in waits}))
        values: dict[GaugeChild, float] = {}

        def record(metric: Any, labels: Any, value: float) -> None:
            child = self._meter.gauge(metric).bind(labels)
            values[child] = max(value, values.get(child, 0.0))

        found = chains(waits)
        for chain in found:
            blocker = self._follow(chain, moment)
            wait = chain.blocker
            record(DB_LOCK_BLOCKED, blocker.labels, chain.sessions)
            record(DB_LOCK_BLOCKER_PID, blocker.labels, chain.pid)
            if wait.transaction is not None:
                record(DB_LOCK_TRANSACTION, blocker.labels, wait.transaction)
            for each in chain.waits:
                labels = LockWaitLabels(*blocker.labels, each.waiting_summary)
                record(DB_LOCK_WAIT, self._limited(labels, MAX_WAITS), each.waited or 0.0)
            if self._log is not None and moment - blocker.since >= TOLD_AFTER:
                self._log.lock_wait(_fields(chain, moment - blocker.since))
        self._forget({chain.pid for chain in found}, began, moment)
        for pid, blocker in self._blockers.items():
            record(DB_LOCK_BLOCKING, blocker.labels, moment - blocker.since)
            record(DB_LOCK_BLOCKER_PID, blocker.labels, pid)
        self._apply(values)
        self._sample_time.set(moment)

    def clear(self) -> None:
        """Set everything to 0: nothing is known any more, or another process reads now."""
        self._blockers.clear()
        self._waiting.set(0)
        self._apply({})

    def _apply(self, values: dict[GaugeChild, float]) -> None:
        for child in self._set.keys() - values.keys():
            child.set(0)
        for child, value in values.items():
            child.set(value)
        self._set = values

    def _follow(self, chain: LockChain, now: float) -> _Blocker:
        wait = chain.blocker
        began = None if wait.transaction is None else now - wait.transaction
        summary = wait.blocking_summary
        labels = LockBlockerLabels(self._database, wait.application, wait.state, _short(summary))
        labels = self._limited(labels, MAX_BLOCKERS)
        known = self._blockers.get(chain.pid)
        if known is None or not _is_same(known.began, began):
            since = now - chain.longest
            if began is not None:
                since = max(since, began)
            known = self._blockers[chain.pid] = _Blocker(labels, since, now, began)
        known.labels, known.seen = labels, now
        return known

    def _forget(self, blocking: set[int], began: dict[int, float | None], now: float) -> None:
        for pid, blocker in list(self._blockers.items()):
            is_open = pid in began and _is_same(blocker.began, began[pid])
            if pid not in blocking and (not is_open or now - blocker.seen > GAP):
                del self._blockers[pid]

    def _limited(self, labels: Any, most: int) -> Any:
        known = self._known[most]
        if labels in known:
            return labels
        if len(known) < most:
            known.add(labels)
            return labels
        return labels._replace(**dict.fromkeys(labels._fields[1:], OTHER))


def _is_same(one: float | None, other: float | None) -> bool:
    """Whether two transactions of one session are the same; clocks differ by less than a second."""
    return one is None or other is None or abs(one - other) < 1.0


def _fields(chain: LockChain, seconds: float) -> dict[str, Any]:
    blocker = chain.blocker
    return {
        "blocking_pid": chain.pid,
        "application": blocker.application,
        "state": blocker.state,
        "transaction": blocker.transaction,
        "duration": round(seconds, 3),
        "sessions": chain.sessions,
        "db.query.summary": blocker.blocking_summary,
        "db.query.text": blocker.blocking,
        "waiting": blocker.waiting,
    }


def _short(summary: str) -> str:
    return summary if summary == INVISIBLE else summary[:120]
