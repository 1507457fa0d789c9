"""What the parts say: to the terminal with the part's name before each line, and to a file."""

import os
import sys
from pathlib import Path
from typing import TextIO

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)
_LARGEST = 5_000_000
_LAST = 15


class Journal:
    """Lines of all parts, in bounded files and on the terminal."""

    def __init__(self, folder: Path, terminal: TextIO = sys.stdout) -> None:
        """Write `<part>.log` files into a folder and prefixed lines to a terminal."""
        self._folder = folder
        self._terminal: TextIO | None = terminal
        self._coloured = terminal.isatty() and "NO_COLOR" not in os.environ
        self._colours: dict[str, int] = {}
        self._unfinished: dict[str, bytes] = {}
        folder.mkdir(parents=True, exist_ok=True)

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
        self._append("stack", f"{text}\n".encode())
        for line in text.splitlines() or [""]:
            self._show("stack", line)

    def plain(self, text: str) -> None:
        """Show something without a prefix: a table."""
        self._print(text)

    def last_lines(self, part: str) -> str:
        """The end of a part's log, for a message about its failure."""
        if not self.path(part).exists():
            return ""
        with self.path(part).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 10_000))
            lines = file.read().decode(errors="replace").splitlines()[-_LAST:]
        return "\n".join(f"  {line}" for line in lines)

    def _append(self, part: str, data: bytes) -> None:
        path = self.path(part)
        if path.exists() and path.stat().st_size + len(data) > _LARGEST:
            path.replace(path.with_suffix(".log.1"))  # the one before the last is forgotten
        with path.open("ab") as file:
            file.write(data)

    def _show(self, part: str, line: str) -> None:
        colour = self._colours.setdefault(part, _COLOURS[len(self._colours) % len(_COLOURS)])
        prefix = f"{part:<12} |"
        self._print(
            f"\x1b[{colour}m{prefix}\x1b[0m {line}" if self._coloured else f"{prefix} {line}"
        )

    def _print(self, text: str) -> None:
        if self._terminal is None:
            return
        try:
            print(text, file=self._terminal, flush=True)
        except OSError:  # the terminal was closed; the files go on
            self._terminal = None
