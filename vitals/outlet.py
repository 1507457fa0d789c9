"""Log lines leave by a thread of its own, so that a request never waits for who reads them.

A pipe that nobody empties holds 64 kB; the next write to it waits, and with it, were it made on the
event loop, every request. Here lines wait in bounded memory, and beyond it are dropped and counted.
"""

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TextIO

from vitals.redactor import Redactor

HELD_CHARACTERS = 4_194_304
"""What may wait to be written."""

GATHER_SECONDS = 0.01
"""After a write, how long lines are gathered for the next: waking a thread for each costs the
event loop more than the line."""

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
        self._lines: deque[str] = deque()
        self._held = 0
        self._closed = False
        self._idle = False  # the writer waits for a line
        self._hurry = False  # somebody waits for the writer
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None

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
        with self._changed:
            full = self._held + len(line) > HELD_CHARACTERS
            if not full:
                if self._idle:
                    self._idle = False
                    self._changed.notify_all()
                self._lines.append(line)
                self._held += len(line)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="vitals logs", daemon=True)
                self._writer.start()
        if full:
            self._refuse("logs")

    def flush(self) -> None:
        """Wait until all that was taken has been written, but not for long."""
        deadline = time.monotonic() + FLUSH_SECONDS
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._held and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def close(self) -> None:
        """Write what is held, and take no more."""
        self.flush()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        super().close()

    def _write(self) -> None:
        changed = self._changed
        while True:
            with changed:
                if not (self._closed or self._hurry):
                    changed.wait(GATHER_SECONDS)
                while not self._lines:
                    if self._closed:
                        return
                    self._hurry, self._idle = False, True
                    changed.wait()
                text = "".join(self._lines)
                self._lines.clear()
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):  # whoever read is gone, or the stream is closed
                self._refuse("logs")
            with changed:
                self._held -= len(text)
                changed.notify_all()


_OUTLETS: weakref.WeakSet[Outlet] = weakref.WeakSet()


def _renew_all() -> None:
    for outlet in list(_OUTLETS):
        outlet._renew()  # noqa: SLF001  # of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
