"""Standard output, told as much as it takes: nothing here raises or waits for long.

A terminal may be closed or stopped (Ctrl-S), a pipe may have a reader that sleeps, a file may lie
on a disk that is full. What cannot be shown then is left out.
"""

import os
import select
import sys
from contextlib import suppress
from typing import TextIO

_PATIENCE_MS = 200
_CHUNK = select.PIPE_BUF
"""Bytes that a pipe that can be written to takes without making us wait."""


def tell(text: str, stream: TextIO | None = None) -> None:
    """Print a line; whoever calls does not mind whether anybody can read it."""
    with suppress(OSError, ValueError):
        print(text, file=stream or sys.stdout, flush=True)


class Terminal:
    """A stream for lines.

    Args:
        stream: The stream; `None` shows nothing.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._waits = False
        self._left_out = 0
        self._file: int | None = None
        with suppress(OSError, ValueError, AttributeError):
            self._file = stream.fileno() if stream else None

    @property
    def coloured(self) -> bool:
        """Whether a person looks at it who wants colours."""
        with suppress(OSError, ValueError):
            return bool(self._stream and self._stream.isatty() and "NO_COLOR" not in os.environ)
        return False

    def show(self, text: str) -> None:
        """Show a line, or leave it out and say so with a later one."""
        if self._left_out and self._write(f"({self._left_out} lines could not be shown here)\n"):
            self._left_out = 0
        if not self._write(f"{text}\n"):
            self._left_out += 1

    def _write(self, text: str) -> bool:
        if self._stream is None:
            return False
        try:
            if self._file is None:
                self._stream.write(text)
                return True
            encoding = self._stream.encoding or "utf-8"
            data = text.encode(encoding, "backslashreplace")
            while data and self._takes_more(self._file):
                data = data[os.write(self._file, data[:_CHUNK]) :]
        except (BrokenPipeError, ValueError):  # closed for good
            self._stream = None
            return False
        except OSError:  # full, or a terminal that is gone
            return False
        return not data

    def _takes_more(self, file: int) -> bool:
        """Whether it can be written to; waits a moment, unless it made us wait in vain before."""
        poll = select.poll()
        poll.register(file, select.POLLOUT)
        self._waits = not poll.poll(0 if self._waits else _PATIENCE_MS)
        return not self._waits
