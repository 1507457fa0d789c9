"""What the parts say: to the terminal with the part's name before each line, and to a file.

Whoever writes here goes on whatever happens: output that finds no place, because the disk is full,
read-only or broken, or too many files are open, is lost. That is told once, and again when files
can be written.
"""

import os
import sys
import time
from pathlib import Path
from typing import TextIO

from stack.terminal import Terminal
from vitals import secure_files

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)
_LARGEST = 5_000_000
_LAST = 15
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_STEADY_SECONDS = 5.0
"""How long all must be well before it is told: a disk that is full takes a little now and then."""


class Journal:
    """Lines of all parts, in bounded files and on the terminal."""

    def __init__(self, folder: Path, terminal: TextIO | None = None) -> None:
        """Write `<part>.log` files into a folder and prefixed lines to a terminal.

        Args:
            folder: Made if it is not there.
            terminal: Our standard output by default.
        """
        self._folder = folder
        self._terminal = Terminal(sys.stdout if terminal is None else terminal)
        self._coloured = self._terminal.coloured
        self._colours: dict[str, int] = {}
        self._unfinished: dict[str, bytes] = {}
        self._lost: dict[str, int] = {}
        self._failed_at: float | None = None
        secure_files.make_directories(folder)

    def path(self, part: str) -> Path:
        """The log file of a part."""
        return self._folder / f"{part}.log"

    def take(self, part: str, data: bytes, *, quiet: bool = False) -> None:
        """Take some output of a part; whole lines go to the terminal unless it is quiet."""
        self._append(part, data)
        *lines, rest = (self._unfinished.get(part, b"") + data).split(b"\n")
        self._unfinished[part] = rest[-_LARGEST:]
        if not quiet:
            for line in lines:
                self._show(part, line.decode(errors="replace").rstrip())

    def say(self, text: str) -> None:
        """Tell the person something of our own."""
        self._append("stack", f"{text}\n".encode(errors="backslashreplace"))
        self._say_on_terminal(text)

    def plain(self, text: str) -> None:
        """Show something without a prefix: a table."""
        self._terminal.show(text)

    def look(self) -> None:
        """See whether files that could not be written can be now; call it now and then."""
        if self._failed_at is None or time.monotonic() - self._failed_at < _STEADY_SECONDS:
            return
        lost = sum(self._lost.values())
        try:
            for part, count in tuple(self._lost.items()):
                self._write(self.path(part), f"({count} bytes of output were lost)\n".encode())
                del self._lost[part]
        except OSError:
            self._failed_at = time.monotonic()
            return
        self._failed_at = None
        self.say(f"log files are written again; {lost} bytes of output were lost")

    def last_lines(self, part: str) -> str:
        """The end of a part's log, for a message about its failure; empty if it cannot be read."""
        try:
            with os.fdopen(secure_files.open_file(self.path(part), os.O_RDONLY), "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 10_000))
                lines = file.read().decode(errors="replace").splitlines()[-_LAST:]
        except OSError:
            return ""
        return "\n".join(f"  {line}" for line in lines)

    def _append(self, part: str, data: bytes) -> None:
        try:
            self._write(self.path(part), data)
        except OSError as error:
            self._lost[part] = self._lost.get(part, 0) + len(data)
            if self._failed_at is None:
                self._say_on_terminal(f"log files cannot be written, the stack goes on: {error}")
            self._failed_at = time.monotonic()

    def _write(self, path: Path, data: bytes) -> None:
        file = secure_files.open_file(path, _APPEND)
        size = os.fstat(file).st_size
        if size and size + len(data) > _LARGEST:
            os.close(file)
            secure_files.move(path, path.with_suffix(".log.1"))  # the one before it is forgotten
            file = secure_files.open_file(path, _APPEND)
        try:
            while data:
                data = data[os.write(file, data) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        finally:
            os.close(file)

    def _say_on_terminal(self, text: str) -> None:
        for line in text.splitlines() or [""]:
            self._show("stack", line)

    def _show(self, part: str, line: str) -> None:
        colour = self._colours.setdefault(part, _COLOURS[len(self._colours) % len(_COLOURS)])
        prefix = f"{part:<12} |"
        self._terminal.show(
            f"\x1b[{colour}m{prefix}\x1b[0m {line}" if self._coloured else f"{prefix} {line}"
        )
