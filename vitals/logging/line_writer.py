"""Writes log lines in a thread, so that requests never wait for a stream or for rendering.

A pipe that is not read holds 64 kB; the next write blocks, and on the event loop it would block
every request. Entries wait in a bounded queue instead; beyond the limit they are dropped and
counted. A process that is killed loses what waits, which is not older than `BATCH_SECONDS` as long
as the stream takes it.
"""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TextIO, TypeVar

from vitals.logging.log_stream import LogStream

MAX_QUEUED_CHARACTERS = 4_194_304
"""Size limit of the queue."""

BATCH_SECONDS = 0.1
"""How long entries are collected for one write: waking the thread for each costs the event loop
more than the line."""

POLL_SECONDS = 0.001
"""How often a flush checks whether the queue is empty."""

FLUSH_SECONDS = 1.0
"""How long a flush waits for the last lines."""

FORK_SECONDS = 0.2
"""How long a fork waits for a write to end, of which the child would have a half."""

Entry = TypeVar("Entry")


class LineWriter(Generic[Entry]):
    """Queues entries for a thread that renders and writes them.

    Args:
        stream: The stream.
        render: Makes a line of an entry, without the line break; called in the thread.
        on_drop: Called with the reason for each entry that is dropped.
        prepare: Called in the thread with the entries that are rendered next.

    Attributes:
        waits: Whether `put` returns only when the line is written: the service has ended, and the
            process may end at any moment, by a signal that runs no exit handlers.
    """

    def __init__(
        self,
        stream: TextIO,
        render: Callable[[Entry], bytes],
        on_drop: Callable[[str], None],
        prepare: Callable[[Sequence[Entry]], None] = lambda _: None,
    ) -> None:
        self.waits = False
        self._stream = LogStream(stream)
        self._render = render
        self._prepare = prepare
        self._on_drop = on_drop
        self._reset()
        _WRITERS.add(self)

    def _reset(self) -> None:
        """Start with an empty queue and no writer thread; also called in a forked child."""
        self._queue: deque[tuple[Entry, int]] = deque()
        # Reentrant: the garbage collector may run anywhere, and a finalizer may log.
        self._state_lock = threading.RLock()
        self._write_lock = threading.Lock()
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._is_awake = False
        self._queued = 0
        self._closed = False
        self._thread: threading.Thread | None = None
        self._threads_started = 0

    @property
    def stream(self) -> TextIO:
        """The stream."""
        return self._stream.stream

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        self._stream = LogStream(stream)

    def put(self, entry: Entry, size: int) -> None:
        """Queue an entry, or drop it.

        Args:
            entry: The entry; nothing else may change it from now on.
            size: About how many characters it holds.
        """
        with self._state_lock:
            full = self._closed or self._queued + size > MAX_QUEUED_CHARACTERS
            if not full:
                self._queued += size
                self._queue.append((entry, size))
                if not self._is_awake:
                    self._is_awake = True
                    self._wake.set()
            if self._thread is None:
                self._start()
        if full:
            self._on_drop("logs")
        elif self.waits and threading.current_thread() is not self._thread:
            self.waits = self.flush()

    def flush(self) -> bool:
        """Wait until the queue has been written, for a limited time; returns whether it has."""
        deadline = time.monotonic() + FLUSH_SECONDS
        while self._queued and time.monotonic() < deadline:
            with self._state_lock:
                runs = self._thread is not None or self._start()
            if runs:
                self._hurry.set()
                time.sleep(POLL_SECONDS)
            else:  # the interpreter shuts down
                self._write_queued()
        return not self._queued

    def close(self) -> None:
        """Write the queue, and accept no further entries."""
        self.flush()
        self._closed = True
        self._wake.set()
        self._hurry.set()

    def _start(self) -> bool:
        """Start the writer thread, or replace one that has failed."""
        if self._closed:
            return False
        self._threads_started += 1
        thread = threading.Thread(target=self._write, name="vitals logs", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # no more threads, or interpreter shutdown
            self._thread = None
        else:
            if self._threads_started > 1:
                self._on_drop("log_writer")
        return self._thread is not None

    def _write(self) -> None:
        wake, hurry = self._wake, self._hurry
        try:
            while not (self._closed and not self._queue):
                wake.wait()
                hurry.wait(BATCH_SECONDS)
                with self._state_lock:
                    hurry.clear()
                    # While lines keep coming, the thread wakes by the clock, not by each of them.
                    if not self._queue:
                        self._is_awake = False
                        wake.clear()
                self._write_queued()
        finally:
            if wake is self._wake:  # else a fork has reset it
                self._thread = None

    def _write_queued(self) -> None:
        """Render and write what is queued."""
        found = []
        while self._queue:  # which a finalizer may fill meanwhile
            found.append(self._queue.popleft())
        if not found:
            return
        try:
            with self._write_lock:
                self._prepare([entry for entry, _ in found])
                lines = [line for each, _ in found if (line := self._line(each))]
                lost = self._stream.write(lines)
            for _ in range(lost):
                self._on_drop("logs")
        finally:
            with self._state_lock:
                self._queued -= sum(size for _, size in found)

    def _line(self, entry: Entry) -> bytes:
        try:
            return self._render(entry) + b"\n"
        except Exception:  # noqa: BLE001  # one entry that cannot be rendered, not those beside it
            self._on_drop("log_format")
            return b""


_WRITERS: "weakref.WeakSet[LineWriter[Any]]" = weakref.WeakSet()
_held: list[threading.Lock] = []


def _hold_all() -> None:
    """Let writes end before a fork: the child would have the rest of a line in its buffer."""
    deadline = time.monotonic() + FORK_SECONDS
    for writer in list(_WRITERS):
        lock = writer._write_lock  # noqa: SLF001  # of this module
        if lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            _held.append(lock)


def _release_all() -> None:
    while _held:
        _held.pop().release()


def _reset_all() -> None:
    _held.clear()
    for writer in list(_WRITERS):
        writer._reset()  # noqa: SLF001  # of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_all, after_in_parent=_release_all, after_in_child=_reset_all)
