"""Logs: prefixed on the terminal, whole in bounded files."""

import io
import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.process import log_multiplexer
from tests.disks import Disk, disk


def test_whole_lines_are_prefixed_and_the_rest_waits(tmp_path: Path) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.Journal(tmp_path, terminal)
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
    logs = log_multiplexer.Journal(tmp_path, terminal)
    logs.take("api", b"a line\n", quiet=True)
    assert terminal.getvalue() == ""
    assert logs.last_lines("api") == "  a line"


def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_multiplexer, "_LARGEST", 1000)
    logs = log_multiplexer.Journal(tmp_path, io.StringIO())
    for number in range(500):
        logs.take("api", f"line {number}\n".encode())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    assert logs.last_lines("api").endswith("line 499")


def test_a_closed_terminal_does_not_end_the_run(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    logs = log_multiplexer.Journal(tmp_path, Closed())
    logs.say("still here")
    assert (tmp_path / "stack.log").read_text() == "still here\n"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Disk]:
    (tmp_path / "small").mkdir()
    with disk(tmp_path / "small", "200k") as mounted:
        yield mounted


def _told(terminal: io.StringIO, words: str) -> int:
    return terminal.getvalue().count(words)


@pytest.fixture
def steady_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_multiplexer, "_STEADY_SECONDS", 0)


def test_a_full_disk_is_told_once_and_so_is_its_end(
    small: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_multiplexer, "_STEADY_SECONDS", 1)
    terminal = io.StringIO()
    logs = log_multiplexer.Journal(small.place / "log", terminal)
    logs.take("api", b"before\n", quiet=True)
    small.fill()
    for number in range(3000):
        logs.take("api", f"line {number} finds no room\n".encode(), quiet=True)
        logs.take("redis", b"neither\n", quiet=True)
    logs.say("still here")
    assert _told(terminal, "log files cannot be written, the stack goes on") == 1
    assert _told(terminal, "No space left on device") == 1
    assert "still here" in terminal.getvalue()

    small.free()
    deadline = time.monotonic() + 30
    while not _told(terminal, "log files are written again"):
        assert time.monotonic() < deadline
        logs.look()
        time.sleep(0.05)
    logs.take("api", b"after\n", quiet=True)
    assert _told(terminal, "log files") == 2
    text = logs.path("api").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "bytes of output were lost" in text
    assert "log files are written again" in logs.path("stack").read_text()


def test_a_disk_that_takes_a_little_now_and_then_is_not_told_again(small: Disk) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.Journal(small.place / "log", terminal)
    for _ in range(10):
        small.fill()
        logs.take("api", b"x" * 10_000, quiet=True)
        small.free()
        logs.take("api", b"x", quiet=True)
        logs.look()
    assert _told(terminal, "log files") == 1


@pytest.mark.usefixtures("steady_at_once")
def test_a_read_only_disk_is_told_once(small: Disk) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.Journal(small.place / "log", terminal)
    logs.take("api", b"before\n", quiet=True)
    small.forbid_writing()
    logs.take("api", b"lost\n", quiet=True)
    logs.take("redis", b"lost\n", quiet=True)
    assert _told(terminal, "Read-only file system") == 1
    logs.look()
    assert "written again" not in terminal.getvalue()
    small.allow_writing()
    logs.look()
    logs.take("redis", b"after\n", quiet=True)
    assert logs.path("redis").read_text() == "(5 bytes of output were lost)\nafter\n"
    assert _told(terminal, "log files are written again; 10 bytes of output were lost") == 1


@pytest.mark.usefixtures("steady_at_once")
def test_too_many_open_files_are_told_once(tmp_path: Path) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.Journal(tmp_path, terminal)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        logs.take("api", b"lost\n")
        logs.take("api", b"lost\n")
        assert logs.last_lines("api") == ""
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    logs.look()
    assert _told(terminal, "Too many open files") == 1
    assert logs.path("api").read_text() == "(10 bytes of output were lost)\n"


def _link(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("plant", [_link, os.mkfifo, Path.mkdir])
def test_a_log_file_is_no_link_and_no_pipe(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.Journal(tmp_path, terminal)
    plant(logs.path("api"))
    logs.take("api", b"a line\n")
    assert "api          | a line" in terminal.getvalue()
    assert _told(terminal, "log files cannot be written") == 1
    assert not stat.S_ISREG(logs.path("api").lstat().st_mode)


def test_what_the_terminal_cannot_spell_is_shown_all_the_same(tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w", encoding="ascii") as terminal:
        logs = log_multiplexer.Journal(tmp_path, terminal)
        logs.take("api", "größer\n".encode())
    assert "gr\\xf6\\xdfer" in (tmp_path / "terminal").read_text("ascii")
