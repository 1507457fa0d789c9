"""Log multiplexer: writes the services' output to the terminal, prefixed by service, and to files.

Writing never fails: output that cannot be stored, because the disk is full, read-only or broken, or
too many files are open, is lost. The loss is reported once, and again when files can be written.
"""

import os
import sys
import time
from pathlib import Path
from typing import TextIO

from stack.terminal import Terminal
from vitals import secure_files

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)
_MAX_BYTES = 5_000_000
_TAIL_LINES = 15
_TAIL_BYTES = 50_000
_TAIL_WIDTH = 400
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_RECOVERY_SECONDS = 5.0
"""Time without errors before recovery is reported: a full disk may accept a little now and then."""


class LogMultiplexer:
    """Writes lines of all services to size-limited files and to the terminal."""

    def __init__(self, folder: Path, terminal: TextIO | None = None) -> None:
        """Write `<service>.log` files to a folder and prefixed lines to a terminal.

        Args:
            folder: Created if missing.
            terminal: Standard output by default.
        """
        self._folder = folder
        self._terminal = Terminal(sys.stdout if terminal is None else terminal)
        self._coloured = self._terminal.coloured
        self._colours: dict[str, int] = {}
        self._partial_lines: dict[str, bytes] = {}
        self._lost: dict[str, int] = {}
        self._failed_at: float | None = None
        secure_files.make_directories(folder)

    def path(self, service: str) -> Path:
        """The log file of a service."""
        return self._folder / f"{service}.log"

    def write(self, service: str, data: bytes, *, quiet: bool = False) -> None:
        """Write output of a service; whole lines go to the terminal unless it is quiet."""
        self._append(service, data)
        *lines, rest = (self._partial_lines.get(service, b"") + data).split(b"\n")
        self._partial_lines[service] = rest[-_MAX_BYTES:]
        if not quiet:
            for line in lines:
                self._write_line(service, line.decode(errors="replace").rstrip())

    def log(self, text: str) -> None:
        """Log a message of the stack itself."""
        self._append("stack", f"{text}\n".encode(errors="backslashreplace"))
        self._log_to_terminal(text)

    def show(self, text: str) -> None:
        """Write text without a prefix, such as a table, to the terminal."""
        self._terminal.show(text)

    def retry(self) -> None:
        """Retry files that could not be written; call it regularly."""
        if self._failed_at is None or time.monotonic() - self._failed_at < _RECOVERY_SECONDS:
            return
        lost = sum(self._lost.values())
        try:
            for service, count in tuple(self._lost.items()):
                self._write(self.path(service), f"({count} bytes of output were lost)\n".encode())
                del self._lost[service]
        except OSError:
            self._failed_at = time.monotonic()
            return
        self._failed_at = None
        self.log(f"log files writable again, {lost} bytes of output were lost")

    def last_lines(self, service: str, count: int = _TAIL_LINES) -> str:
        """The last lines of a service's log, cut to a width; empty if it cannot be read."""
        try:
            with os.fdopen(secure_files.open_file(self.path(service), os.O_RDONLY), "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = file.read().decode(errors="replace").splitlines()[-count:]
        except OSError:
            return ""
        return "\n".join(f"  {line[:_TAIL_WIDTH]}" for line in lines)

    def _append(self, service: str, data: bytes) -> None:
        try:
            self._write(self.path(service), data)
        except OSError as error:
            self._lost[service] = self._lost.get(service, 0) + len(data)
            if self._failed_at is None:
                self._log_to_terminal(f"log files not writable, the stack keeps running: {error}")
            self._failed_at = time.monotonic()

    def _write(self, path: Path, data: bytes) -> None:
        file = secure_files.open_file(path, _APPEND)
        size = os.fstat(file).st_size
        if size and size + len(data) > _MAX_BYTES:
            os.close(file)
            secure_files.move(path, path.with_suffix(".log.1"))  # overwrites the previous one
            file = secure_files.open_file(path, _APPEND)
        try:
            while data:
                data = data[os.write(file, data) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        finally:
            os.close(file)

    def _log_to_terminal(self, text: str) -> None:
        for line in text.splitlines() or [""]:
            self._write_line("stack", line)

    def _write_line(self, service: str, line: str) -> None:
        colour = self._colours.setdefault(service, _COLOURS[len(self._colours) % len(_COLOURS)])
        prefix = f"{service:<12} |"
        self._terminal.show(
            f"\x1b[{colour}m{prefix}\x1b[0m {line}" if self._coloured else f"{prefix} {line}"
        )
