"""The log multiplexer: prefixed lines on the terminal, size-limited files."""

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


def test_complete_lines_are_prefixed_and_partial_lines_buffered(tmp_path: Path) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.LogMultiplexer(tmp_path, terminal)
    logs.write("api", b"one\ntw")
    logs.write("redis", b"other\n")
    logs.write("api", b"o\n")
    assert terminal.getvalue().splitlines() == [
        "api          | one",
        "redis        | other",
        "api          | two",
    ]
    assert (tmp_path / "api.log").read_text() == "one\ntwo\n"


def test_a_quiet_service_writes_only_to_its_file(tmp_path: Path) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.LogMultiplexer(tmp_path, terminal)
    logs.write("api", b"a line\n", quiet=True)
    assert terminal.getvalue() == ""
    assert logs.last_lines("api") == "  a line"


def test_files_are_size_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_multiplexer, "_MAX_BYTES", 1000)
    logs = log_multiplexer.LogMultiplexer(tmp_path, io.StringIO())
    for number in range(500):
        logs.write("api", f"line {number}\n".encode())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2000
    assert logs.last_lines("api").endswith("line 499")


def test_a_closed_terminal_is_ignored(tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    logs = log_multiplexer.LogMultiplexer(tmp_path, Closed())
    logs.log("still here")
    assert (tmp_path / "stack.log").read_text() == "still here\n"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Disk]:
    (tmp_path / "small").mkdir()
    with disk(tmp_path / "small", "200k") as mounted:
        yield mounted


def _count(terminal: io.StringIO, text: str) -> int:
    return terminal.getvalue().count(text)


@pytest.fixture
def recovers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_multiplexer, "_RECOVERY_SECONDS", 0)


def test_a_full_disk_and_its_recovery_are_logged_once(
    small: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_multiplexer, "_RECOVERY_SECONDS", 1)
    terminal = io.StringIO()
    logs = log_multiplexer.LogMultiplexer(small.path / "log", terminal)
    logs.write("api", b"before\n", quiet=True)
    small.fill()
    for number in range(3000):
        logs.write("api", f"line {number} finds no room\n".encode(), quiet=True)
        logs.write("redis", b"neither\n", quiet=True)
    logs.log("still here")
    assert _count(terminal, "log files not writable, the stack keeps running") == 1
    assert _count(terminal, "No space left on device") == 1
    assert "still here" in terminal.getvalue()

    small.free()
    deadline = time.monotonic() + 30
    while not _count(terminal, "log files writable again"):
        assert time.monotonic() < deadline
        logs.retry()
        time.sleep(0.05)
    logs.write("api", b"after\n", quiet=True)
    assert _count(terminal, "log files") == 2
    text = logs.path("api").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "bytes of output were lost" in text
    assert "log files writable again" in logs.path("stack").read_text()


def test_a_disk_that_keeps_filling_up_is_logged_once(small: Disk) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.LogMultiplexer(small.path / "log", terminal)
    for _ in range(10):
        small.fill()
        logs.write("api", b"x" * 10_000, quiet=True)
        small.free()
        logs.write("api", b"x", quiet=True)
        logs.retry()
    assert _count(terminal, "log files") == 1


@pytest.mark.usefixtures("recovers_at_once")
def test_a_read_only_disk_is_logged_once(small: Disk) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.LogMultiplexer(small.path / "log", terminal)
    logs.write("api", b"before\n", quiet=True)
    small.forbid_writing()
    logs.write("api", b"lost\n", quiet=True)
    logs.write("redis", b"lost\n", quiet=True)
    assert _count(terminal, "Read-only file system") == 1
    logs.retry()
    assert "writable again" not in terminal.getvalue()
    small.allow_writing()
    logs.retry()
    logs.write("redis", b"after\n", quiet=True)
    assert logs.path("redis").read_text() == "(5 bytes of output were lost)\nafter\n"
    assert _count(terminal, "log files writable again, 10 bytes of output were lost") == 1


@pytest.mark.usefixtures("recovers_at_once")
def test_too_many_open_files_are_logged_once(tmp_path: Path) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.LogMultiplexer(tmp_path, terminal)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        logs.write("api", b"lost\n")
        logs.write("api", b"lost\n")
        assert logs.last_lines("api") == ""
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    logs.retry()
    assert _count(terminal, "Too many open files") == 1
    assert logs.path("api").read_text() == "(10 bytes of output were lost)\n"


def _link(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize("plant", [_link, os.mkfifo, Path.mkdir])
def test_links_and_pipes_are_no_log_files(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    terminal = io.StringIO()
    logs = log_multiplexer.LogMultiplexer(tmp_path, terminal)
    plant(logs.path("api"))
    logs.write("api", b"a line\n")
    assert "api          | a line" in terminal.getvalue()
    assert _count(terminal, "log files not writable") == 1
    assert not stat.S_ISREG(logs.path("api").lstat().st_mode)


def test_characters_outside_the_terminals_encoding_are_escaped(tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w", encoding="ascii") as terminal:
        logs = log_multiplexer.LogMultiplexer(tmp_path, terminal)
        logs.write("api", "größer\n".encode())
    assert "gr\\xf6\\xdfer" in (tmp_path / "terminal").read_text("ascii")
