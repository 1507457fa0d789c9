"""Sends the records of one signal to a collector: a bounded queue, and a thread that empties it.

The caller pays for an entry in a queue. Encoding, compression and sending happen in the thread,
which sleeps while there is nothing to send and is woken at most once for each batch. A collector
that is slow, gone or wrong costs records, which are counted, and never holds the caller.

Both `vitals.logging` and `vitals.tracing` use it::

    exporter = Exporter(target_of("logs"), encode=encode, on_drop=meter.dropped, signal="logs")
    exporter.put(record, size)  # any thread, any time
    exporter.flush()  # at the end of the service

Delivery is at most once as seen from here: a batch that was sent and not answered is sent again, so
a collector may have it twice; one that fails for half a minute is dropped.
"""

import atexit
import http.client
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

from vitals.otlp.connection import Answer, Connection
from vitals.otlp.target import Signal, Target
from vitals.random_numbers import RANDOM

MAX_QUEUED = 4_194_304
"""About the bytes that wait."""
MAX_BATCH_RECORDS, MAX_BATCH = 1_000, 1_048_576
"""Most records of one message, and about its bytes before compression."""
BATCH_SECONDS = 1.0
"""How long records are collected for one message."""
RETRY_SECONDS = 30.0
"""How long a batch is tried again."""
FIRST_PAUSE, MAX_PAUSE = 0.5, 8.0
"""Seconds before a batch is tried again: the first ones, doubled each time, and most."""
FLUSH_SECONDS = 2.5
"""How long the end of the service waits for the last records, whatever the collector does."""
_POLL_SECONDS = 0.005
_WARNING_SECONDS = 60.0
"""How often a failure is logged at most."""
_OK, _MAY_PASS = range(200, 300), frozenset((429, 502, 503, 504))

LOGGER = "vitals.otlp"
"""Logger of failures; it is used in the exporting thread only, whose records are not exported."""

Record = TypeVar("Record")

_log = logging.getLogger(LOGGER)
_thread = threading.local()


def is_exporting() -> bool:
    """Whether this thread exports: what is logged here must not be exported in turn."""
    return getattr(_thread, "exporting", False)


class Exporter(Generic[Record]):
    """Exports records of one signal.

    Args:
        target: Where to.
        encode: Makes the serialised request of records, such as ``ExportLogsServiceRequest``;
            called in the thread. It leaves out a record that it cannot encode and counts it; if it
            raises, all of them are dropped. Empty bytes send nothing.
        on_drop: Called with a reason (``otlp_logs``, ``otlp_traces``) and the number of records
            that were dropped; from any thread.
        signal: The signal.
        rejected: The number of records that a collector says to have rejected, given the body of
            its answer (``partial_success``).
        batch_seconds: How long records are collected for one message.

    Attributes:
        exported: Records that a collector has accepted.
        dropped: Records that were dropped.
    """

    def __init__(
        self,
        target: Target,
        encode: Callable[[Sequence[Record]], bytes],
        on_drop: Callable[[str, int], None],
        *,
        signal: Signal,
        rejected: Callable[[bytes], int] = lambda _: 0,
        batch_seconds: float = BATCH_SECONDS,
    ) -> None:
        self.target = target
        self.exported = self.dropped = 0
        self._encode = encode
        self._on_drop = on_drop
        self._signal = signal
        self._reason = f"otlp_{signal}"
        self._rejected = rejected
        self._batch_seconds = batch_seconds
        self._connection = Connection(target)
        self._reset()
        _EXPORTERS.add(self)
        _register_at_exit()

    def _reset(self) -> None:
        """Start with an empty queue and no thread; also called in a forked child."""
        self._connection.close()  # the parent's has a descriptor of its own
        self._queue: deque[tuple[Record, int]] = deque()
        # Reentrant: the garbage collector may run anywhere, and a finalizer may log.
        self._lock = threading.RLock()
        self._sending = threading.Lock()
        self._size = 0
        self._pending = 0
        self._is_running = False
        self._is_awake = False
        self._closed = False
        self._flush_failed = False
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._flushing = threading.Event()
        self._failing_since = 0.0
        self._warned = 0.0

    @property
    def pending(self) -> int:
        """Records that are queued or being sent."""
        return self._pending

    def put(self, record: Record, size: int = 500) -> bool:
        """Queue a record, or drop it; never raises and never waits.

        Args:
            record: The record; nothing may change it from now on.
            size: About how many bytes it takes.

        Returns:
            Whether it was queued.
        """
        with self._lock:
            accepted = not self._closed and self._size + size <= MAX_QUEUED
            if accepted:
                self._size += size
                self._pending += 1
                self._queue.append((record, size))
                if not self._is_awake:
                    self._is_awake = True
                    self._wake.set()
                elif self._size > MAX_QUEUED // 2 and not self._hurry.is_set():
                    self._hurry.set()
            if not self._is_running:
                self._start()
        if not accepted:
            self._drop(1)
        return accepted

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Send what is queued.

        A batch that fails meanwhile is not tried again, but dropped.

        Args:
            seconds: How long to wait.

        Returns:
            Whether nothing is left: all was sent, or dropped and counted.
        """
        deadline = time.monotonic() + seconds
        if self._pending:
            self._flushing.set()
            with self._lock:
                started = self._is_running or self._start()
            if started:
                self._wake.set()
                self._hurry.set()
                while self._pending and time.monotonic() < deadline:
                    time.sleep(_POLL_SECONDS)
            else:  # no threads any more: the interpreter shuts down
                self._send_all(deadline)
            self._flushing.clear()
        self._flush_failed = self._pending > 0
        return not self._flush_failed

    def close(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Send what is queued, and accept no further records; the thread ends.

        Returns:
            Whether nothing is left.
        """
        self._closed = True
        flushed = self.flush(seconds)
        self._wake.set()
        self._hurry.set()
        return flushed

    def _start(self) -> bool:
        self._is_running = True
        thread = threading.Thread(
            target=_run, args=(weakref.ref(self),), name=f"vitals otlp {self._signal}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter shuts down
            self._is_running = False
        return self._is_running

    def _send_all(self, deadline: float | None = None) -> None:
        """Send what is queued, batch by batch."""
        _thread.exporting = True
        try:
            with self._sending:
                while self._queue and (deadline is None or time.monotonic() < deadline):
                    batch = self._take()
                    try:
                        self._send(batch)
                    except Exception as error:  # noqa: BLE001  # of the encoder
                        self._fail(len(batch), f"cannot be encoded ({type(error).__name__})")
                    finally:
                        with self._lock:
                            self._pending -= len(batch)
        finally:
            _thread.exporting = False

    def _take(self) -> list[Record]:
        batch: list[Record] = []
        size = 0
        while self._queue and len(batch) < MAX_BATCH_RECORDS and size < MAX_BATCH:
            record, taken = self._queue.popleft()
            batch.append(record)
            size += taken
        with self._lock:
            self._size -= size
        return batch

    def _send(self, batch: Sequence[Record]) -> None:
        body = self._encode(batch)
        if not body:
            return
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            answer, problem = self._post(body)
            if answer is not None and answer.status in _OK:
                self._succeed(len(batch), answer)
                return
            may_pass = answer is None or answer.status in _MAY_PASS
            wait = RANDOM.uniform(pause / 2, pause)
            if answer is not None and answer.retry_after is not None:
                wait = max(wait, answer.retry_after)
            ends = time.monotonic() + wait > began + RETRY_SECONDS
            if not may_pass or ends or self._closed or self._flushing.is_set():
                self._fail(len(batch), problem)
                return
            self._warn(problem, 0)
            self._flushing.wait(wait)  # a flush tries at once
            pause = min(2 * pause, MAX_PAUSE)

    def _post(self, body: bytes) -> tuple[Answer | None, str]:
        try:
            answer = self._connection.post(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return None, f"{type(error).__name__}: {error}"
        return answer, f"it answered {answer.status}"

    def _succeed(self, count: int, answer: Answer) -> None:
        refused = min(count, self._rejected(answer.body)) if answer.body else 0
        self.exported += count - refused
        if refused:
            self._fail(refused, "it has rejected them")
        elif self._failing_since:
            seconds = time.monotonic() - self._failing_since
            self._failing_since = 0.0
            _log.info("%s are exported again after %.0f s", self._signal, seconds)

    def _fail(self, count: int, problem: str) -> None:
        self._drop(count)
        self._warn(problem, count)

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._on_drop(self._reason, count)

    def _warn(self, problem: str, count: int) -> None:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if self._warned and now - self._warned < _WARNING_SECONDS:
            return
        self._warned = now
        _log.warning(
            "%s are not exported to %s: %s; %s (counted in vitals_dropped_total by the reason %s)",
            self._signal,
            self.target.url.partition("?")[0],
            problem,
            f"{count} were dropped" if count else "trying again",
            self._reason,
        )


def _run(owner: "weakref.ref[Exporter[Any]]") -> None:
    """Send what comes, until the exporter is closed or gone."""
    exporter = owner()
    if exporter is None:
        return
    wake, hurry, seconds = exporter._wake, exporter._hurry, exporter._batch_seconds  # noqa: SLF001
    connection = exporter._connection  # noqa: SLF001
    weakref.finalize(exporter, wake.set).atexit = False  # ends the thread
    try:
        while True:
            del exporter
            wake.wait()
            hurry.wait(seconds)
            exporter = owner()
            if exporter is None or exporter._wake is not wake:  # noqa: SLF001  # gone, or forked
                return
            with exporter._lock:  # noqa: SLF001
                wake.clear()
                hurry.clear()
                exporter._is_awake = False  # noqa: SLF001
            exporter._send_all()  # noqa: SLF001
            if exporter._closed and not exporter._queue:  # noqa: SLF001
                return
    finally:
        connection.close()
        if (exporter := owner()) is not None and exporter._wake is wake:  # noqa: SLF001
            exporter._is_running = False  # noqa: SLF001


_EXPORTERS: "weakref.WeakSet[Exporter[Any]]" = weakref.WeakSet()


@cache
def _register_at_exit() -> None:
    """Register once, and not by the import alone."""
    atexit.register(_flush_at_exit)


def _flush_at_exit() -> None:
    """Send the last records of processes without a lifespan, or whose lifespan did not end."""
    waiting = [each for each in _EXPORTERS if each.pending and not each._flush_failed]  # noqa: SLF001
    deadline = time.monotonic() + FLUSH_SECONDS
    for each in waiting:
        each._flushing.set()  # noqa: SLF001  # all at once
        each._hurry.set()  # noqa: SLF001
    for each in waiting:
        each.flush(max(0.0, deadline - time.monotonic()))


def _reset_all() -> None:
    for exporter in list(_EXPORTERS):
        exporter._reset()  # noqa: SLF001  # of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
