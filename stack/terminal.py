"""Output to a terminal that neither raises nor blocks for long.

A terminal may be closed or stopped (Ctrl-S), the reader of a pipe may be blocked, the disk of a
file may be full. Lines that cannot be written are dropped.
"""

import os
import select
import sys
from contextlib import suppress
from typing import TextIO

_TIMEOUT_MS = 200
_CHUNK = select.PIPE_BUF
"""Bytes that a writable pipe accepts without blocking."""


def print_line(text: str, stream: TextIO | None = None) -> None:
    """Print a line; ignore a stream that cannot be written to."""
    with suppress(OSError, ValueError):
        print(text, file=stream or sys.stdout, flush=True)


class Terminal:
    """Writes lines to a stream.

    Args:
        stream: The stream; `None` shows nothing.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._blocked = False
        self._dropped = 0
        self._file: int | None = None
        with suppress(OSError, ValueError, AttributeError):
            self._file = stream.fileno() if stream else None

    @property
    def coloured(self) -> bool:
        """Whether the stream is a terminal and NO_COLOR is not set."""
        with suppress(OSError, ValueError):
            return bool(self._stream and self._stream.isatty() and "NO_COLOR" not in os.environ)
        return False

    def show(self, text: str) -> None:
        """Write a line, or drop it and report the number of dropped lines later."""
        if self._dropped and self._write(f"({self._dropped} lines could not be written here)\n"):
            self._dropped = 0
        if not self._write(f"{text}\n"):
            self._dropped += 1

    def _write(self, text: str) -> bool:
        if self._stream is None:
            return False
        try:
            if self._file is None:
                self._stream.write(text)
                return True
            encoding = self._stream.encoding or "utf-8"
            data = text.encode(encoding, "backslashreplace")
            while data and self._is_writable(self._file):
                data = data[os.write(self._file, data[:_CHUNK]) :]
        except (BrokenPipeError, ValueError):  # closed permanently
            self._stream = None
            return False
        except OSError:  # disk full, or terminal gone
            return False
        return not data

    def _is_writable(self, file: int) -> bool:
        """Whether it can be written to; waits briefly, unless the last wait timed out."""
        poll = select.poll()
        poll.register(file, select.POLLOUT)
        self._blocked = not poll.poll(0 if self._blocked else _TIMEOUT_MS)
        return not self._blocked
