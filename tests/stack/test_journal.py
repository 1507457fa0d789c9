"""Logs: prefixed on the terminal, whole in bounded files."""

import io
from pathlib import Path

import pytest

from stack import journal


def test_whole_lines_are_prefixed_and_the_rest_waits(tmp_path: Path) -> None:
    terminal = io.StringIO()
    logs = journal.Journal(tmp_path, terminal)
    logs.take("api", b"one\ntw")
    logs.take("redis", b"other\n")
    logs.take("api", b"o\n")
    assert terminal.getvalue().splitlines() == [
        "api          | one",
        "redis        | other",
        "api          | two",
    ]
    assert (tmp_path / "api.log").read_text() == "one\ntwo\n"


def test_a_quiet_part_writes_only_its_file(tmp_path: Path) -> None:
    terminal = io.StringIO()
    logs = journal.Journal(tmp_path, terminal)
    logs.take("api", b"a line\n", quiet=True)
    assert terminal.getvalue() == ""
    assert logs.last_lines("api") == "  a line"


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_LARGEST", 1000)
    logs = journal.Journal(tmp_path, io.StringIO())
    for number in range(500):
        logs.take("api", f"line {number}\n".encode())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    assert logs.last_lines("api").endswith("line 499")


def test_a_closed_terminal_does_not_end_the_run(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    logs = journal.Journal(tmp_path, Closed())
    logs.say("still here")
    assert (tmp_path / "stack.log").read_text() == "still here\n"
