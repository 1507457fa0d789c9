"""Writes log lines in a thread, so that requests never wait for a stream or for rendering.

A pipe that is not read holds 64 kB; the next write blocks, and on the event loop it would block
every request. Entries wait in a bounded queue instead; beyond the limit they are dropped and
counted.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TextIO, TypeVar

MAX_QUEUED_CHARACTERS = 4_194_304
"""Size limit of the queue."""

BATCH_SECONDS = 0.01
"""How long entries are collected for one write: waking the thread for each costs the event loop
more than the line."""

POLL_SECONDS = 0.001
"""How often a flush checks whether the queue is empty."""

FLUSH_SECONDS = 1.0
"""How long a flush waits for the last lines."""

Entry = TypeVar("Entry")


class LineWriter(Generic[Entry]):
    """Queues entries for a thread that renders and writes them.

    Args:
        stream: The stream.
        render: Makes a line of an entry, without the line break; called in the thread.
        on_drop: Called with the reason for each entry that is dropped.
    """

    def __init__(
        self, stream: TextIO, render: Callable[[Entry], str], on_drop: Callable[[str], None]
    ) -> None:
        self.stream = stream
        self._render = render
        self._on_drop = on_drop
        self._reset()
        _WRITERS.add(self)

    def _reset(self) -> None:
        """Start with an empty queue and no writer thread; also called in a forked child."""
        # Both must be reentrant: the garbage collector may run anywhere, and a finalizer may log.
        self._queue: SimpleQueue[tuple[Entry, int] | None] = SimpleQueue()
        self._state_lock = threading.RLock()
        self._queued = 0
        self._closed = False
        self._writer_running = False
        self._writers_started = 0

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
                self._queue.put((entry, size))
            if not self._writer_running:
                self._start()
        if full:
            self._on_drop("logs")

    def flush(self) -> None:
        """Wait until the queue has been written, for a limited time."""
        deadline = time.monotonic() + FLUSH_SECONDS
        if self._queued and not self._writer_running:
            self._start()
        while self._queued and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Write the queue, and accept no further entries."""
        self.flush()
        self._closed = True
        self._queue.put(None)

    def _start(self) -> None:
        """Start the writer thread, or replace one that has failed."""
        if self._closed:
            return
        self._writer_running = True
        self._writers_started += 1
        writer = threading.Thread(target=self._write, name="vitals logs", daemon=True)
        try:
            writer.start()
        except RuntimeError:  # no more threads, or interpreter shutdown: the next line tries again
            self._writer_running = False
        else:
            if self._writers_started > 1:
                self._on_drop("log_writer")

    def _write(self) -> None:
        queue = self._queue
        try:
            while True:
                found = [queue.get()]
                time.sleep(BATCH_SECONDS)
                with suppress(Empty):
                    while True:
                        found.append(queue.get_nowait())
                try:
                    self.stream.write("".join([self._line(each[0]) for each in found if each]))
                    self.stream.flush()
                except Exception:  # noqa: BLE001  # broken pipe, or the stream is closed or in use
                    self._on_drop("logs")
                finally:
                    with self._state_lock:
                        self._queued -= sum(each[1] for each in found if each)
                if None in found:
                    return
        finally:
            self._writer_running = False

    def _line(self, entry: Entry) -> str:
        try:
            return self._render(entry) + "\n"
        except Exception:  # noqa: BLE001  # one entry that cannot be rendered, not those beside it
            self._on_drop("log_format")
            return ""


_WRITERS: "weakref.WeakSet[LineWriter[Any]]" = weakref.WeakSet()


def _reset_all() -> None:
    for writer in list(_WRITERS):
        writer._reset()  # noqa: SLF001  # of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
