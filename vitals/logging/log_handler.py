"""Log handler that queues lines and writes them in a thread, so that requests never wait for it.

A pipe that is not read holds 64 kB; the next write blocks, and on the event loop it would block
every request. Lines wait in a bounded queue instead; beyond the limit they are dropped and counted.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any, TextIO

from vitals.redactor import Redactor

MAX_QUEUED_CHARACTERS = 4_194_304
"""Size limit of the queue."""

BATCH_SECONDS = 0.01
"""How long lines are collected for one write: waking the thread for each costs the event loop
more than the line."""

POLL_SECONDS = 0.001
"""How often a flush checks whether the queue is empty."""

FLUSH_SECONDS = 1.0
"""How long a flush waits for the last lines."""


class QueueLogHandler(logging.Handler):
    """Queues formatted records for a thread that writes them to a stream.

    Args:
        stream: The stream.
        on_drop: Called with the reason for each line that is dropped.
        static_fields: Fields of every line.
        processors: The structlog processors that format an event and add those fields.
        redactor: Redacts the context variables that the application binds.
    """

    def __init__(
        self,
        stream: TextIO,
        on_drop: Callable[[str], None],
        *,
        static_fields: Mapping[str, str] = MappingProxyType({}),
        processors: Sequence[Any] = (),
        redactor: Redactor | None = None,
    ) -> None:
        super().__init__()
        self.static_fields = dict(static_fields)
        self.processors = processors
        self.redactor = redactor or Redactor()
        self._stream = stream
        self._on_drop = on_drop
        self._reset()
        _HANDLERS.add(self)

    def _reset(self) -> None:
        """Start with an empty queue and no writer thread; also called in a forked child."""
        # Both must be reentrant: the garbage collector may run anywhere, and a finalizer may log.
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._state_lock = threading.RLock()
        self._queued = 0
        self._closed = False
        self._writer_running = False
        self._writers_started = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record, or drop it."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  # a record that cannot be formatted must not raise into the caller
            self._on_drop("log_format")
            return
        self.put(line)

    def put(self, line: str) -> None:
        """Queue a line, or drop it."""
        line += "\n"
        length = len(line)
        with self._state_lock:
            full = self._closed or self._queued + length > MAX_QUEUED_CHARACTERS
            if not full:
                self._queued += length
                self._queue.put(line)
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
        """Write the queue, and accept no further lines."""
        self.flush()
        self._closed = True
        self._queue.put(None)
        super().close()

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
        lines = self._queue
        try:
            while True:
                found = [lines.get()]
                time.sleep(BATCH_SECONDS)
                with suppress(Empty):
                    while True:
                        found.append(lines.get_nowait())
                try:
                    self._stream.write("".join(line for line in found if line))
                    self._stream.flush()
                except Exception:  # noqa: BLE001  # broken pipe, or the stream is closed or in use
                    self._on_drop("logs")
                finally:
                    with self._state_lock:
                        self._queued -= sum(len(line) for line in found if line)
                if None in found:
                    return
        finally:
            self._writer_running = False


_HANDLERS: weakref.WeakSet[QueueLogHandler] = weakref.WeakSet()


def _reset_all() -> None:
    for handler in list(_HANDLERS):
        handler._reset()  # noqa: SLF001  # of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
