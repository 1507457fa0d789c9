"""Log lines leave by a thread of its own, so that a request never waits for who reads them.

A pipe that nobody empties holds 64 kB; the next write to it waits, and with it, were it made on the
event loop, every request. Here lines wait in bounded memory, and beyond it are dropped and counted.
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

HELD_CHARACTERS = 4_194_304
"""What may wait to be written."""

GATHER_SECONDS = 0.01
"""After a write, how long lines are gathered for the next: waking a thread for each costs the
event loop more than the line."""

POLL_SECONDS = 0.001
"""How often the end of the process looks whether they have been."""

FLUSH_SECONDS = 1.0
"""How long the end of the process waits for the last lines."""


class Outlet(logging.Handler):
    """Writes formatted records to a stream.

    Args:
        stream: Where to.
        refuse: Told the reason for each line that is not written.
        said: What every line says.
        chain: The processors that make a line of an event, and add that.
        redactor: Takes secrets out of what the host adds to every event.
    """

    def __init__(
        self,
        stream: TextIO,
        refuse: Callable[[str], None],
        *,
        said: Mapping[str, str] = MappingProxyType({}),
        chain: Sequence[Any] = (),
        redactor: Redactor | None = None,
    ) -> None:
        super().__init__()
        self.said = dict(said)
        self.chain = chain
        self.redactor = redactor or Redactor()
        self._stream = stream
        self._refuse = refuse
        self._renew()
        _OUTLETS.add(self)

    def _renew(self) -> None:
        """Begin with nothing held and nobody writing: also in a child that a fork has made."""
        # Both may be entered anew by the same thread: the garbage collector runs anywhere, and
        # what it calls may log.
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._changing = threading.RLock()
        self._held = 0
        self._closed = False
        self._writing = False
        self._writers = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; it is written soon, or refused."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  # what cannot be told must not harm who tells it
            self._refuse("log_format")
            return
        self.put(line)

    def put(self, line: str) -> None:
        """Take a line; it is written soon, or refused."""
        line += "\n"
        length = len(line)
        with self._changing:
            full = self._closed or self._held + length > HELD_CHARACTERS
            if not full:
                self._held += length
                self._lines.put(line)
            if not self._writing:
                self._start()
        if full:
            self._refuse("logs")

    def flush(self) -> None:
        """Wait until all that was taken has been written, but not for long."""
        deadline = time.monotonic() + FLUSH_SECONDS
        if self._held and not self._writing:
            self._start()
        while self._held and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Write what is held, and take no more."""
        self.flush()
        self._closed = True
        self._lines.put(None)
        super().close()

    def _start(self) -> None:
        """Start a writer: the first one, or another in place of one that has failed."""
        if self._closed:
            return
        self._writing = True
        self._writers += 1
        writer = threading.Thread(target=self._write, name="vitals logs", daemon=True)
        try:
            writer.start()
        except (
            RuntimeError
        ):  # no more threads, or the end of the process: the next line tries again
            self._writing = False
        else:
            if self._writers > 1:
                self._refuse("log_writer")

    def _write(self) -> None:
        lines = self._lines
        try:
            while True:
                found = [lines.get()]
                time.sleep(GATHER_SECONDS)
                with suppress(Empty):
                    while True:
                        found.append(lines.get_nowait())
                try:
                    self._stream.write("".join(line for line in found if line))
                    self._stream.flush()
                except Exception:  # noqa: BLE001  # the reader is gone, the stream closed or in use
                    self._refuse("logs")
                finally:
                    with self._changing:
                        self._held -= sum(len(line) for line in found if line)
                if None in found:
                    return
        finally:
            self._writing = False


_OUTLETS: weakref.WeakSet[Outlet] = weakref.WeakSet()


def _renew_all() -> None:
    for outlet in list(_OUTLETS):
        outlet._renew()  # noqa: SLF001  # of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
