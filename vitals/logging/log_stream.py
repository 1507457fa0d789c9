"""A stream that log lines are written to in whole, or counted as lost.

A file, a pipe or a terminal is written to past Python's buffers: what a full disk or a closed pipe
refuses does not stay in them, no lock of theirs is held while a reader stalls, which would end the
interpreter with a fatal error, and the number of lines that were lost is known.
"""

import io
import os
import select
from collections.abc import Sequence
from typing import TextIO

_WAIT_MILLISECONDS = 1_000
"""How often a wait for a descriptor that does not block looks whether it is still there."""
_LINE_BREAK = ord("\n")


class LogStream:
    """Writes lines to a stream.

    Args:
        stream: The stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._is_torn = False  # a line was written in part: the next one begins on a new line

    def write(self, lines: Sequence[bytes]) -> int:
        """Write lines, each with its line break.

        Returns:
            How many were lost.
        """
        if not self._has_descriptor():
            try:
                self.stream.write(b"".join(lines).decode())
                self.stream.flush()
            except Exception:  # noqa: BLE001  # whatever the host has put in the place of a stream
                return len(lines)
            return 0
        torn = self._is_torn
        content = b"\n" * torn + b"".join(lines)
        written = self._write(content)
        self._is_torn = content[written - 1] != _LINE_BREAK if written else torn
        return len(lines) + torn - content.count(b"\n", 0, written) if written else len(lines)

    def _has_descriptor(self) -> bool:
        """Whether it is a plain stream over a descriptor, which no class of the host's wraps."""
        if type(self.stream) is not io.TextIOWrapper or self.stream.closed:
            return False
        buffer: object = self.stream.buffer
        raw = buffer.raw if type(buffer) is io.BufferedWriter else buffer  # of ``python -u``
        return type(raw) is io.FileIO

    def _write(self, content: bytes) -> int:
        """Write to the descriptor; returns how many bytes were taken."""
        view = memoryview(content)
        written = 0
        while written < len(view):
            try:
                written += os.write(self.stream.fileno(), view[written:])
            except BlockingIOError:  # a descriptor that does not block, of a reader that stalls
                waiting = select.poll()
                waiting.register(self.stream.fileno(), select.POLLOUT)
                waiting.poll(_WAIT_MILLISECONDS)
            except (OSError, ValueError):  # full, closed
                break
        return written
