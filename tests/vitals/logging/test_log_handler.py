"""Whoever reads the logs may stop reading: requests go on."""

import io
import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from vitals.logging.log_handler import HELD_CHARACTERS, Outlet


def record(text: object) -> logging.LogRecord:
    return logging.LogRecord("test", logging.INFO, "", 0, text, None, None)


def test_lines_are_written_in_order() -> None:
    stream, refused = io.StringIO(), list[str]()
    outlet = Outlet(stream, refused.append)
    for number in range(1_000):
        outlet.handle(record(number))
    outlet.close()
    assert stream.getvalue().split() == [str(number) for number in range(1_000)]
    assert refused == []


def test_a_reader_that_stalls_holds_nobody_up_and_memory_is_bounded() -> None:
    reading, writing = os.pipe()
    refused: list[str] = []
    with os.fdopen(writing, "w") as stream:
        outlet = Outlet(stream, refused.append)
        line = "x" * 10_000
        sent = 3 * HELD_CHARACTERS // len(line)
        started = time.monotonic()
        for _ in range(sent):
            outlet.handle(record(line))
        assert time.monotonic() - started < 5, "it waited for the reader"
        assert refused.count("logs") > sent // 2
        assert outlet._held <= HELD_CHARACTERS
        taken = sent - len(refused)

        def read() -> None:
            left = taken * (len(line) + 1)
            while left:
                left -= len(os.read(reading, 65_536))

        reader = threading.Thread(target=read)
        reader.start()
        reader.join(20)
        assert not reader.is_alive(), "a line that was taken was not written"
        outlet.handle(record("again"))
        outlet.flush()
        assert os.read(reading, 100) == b"again\n"
        outlet.close()
    os.close(reading)


def test_a_closed_stream_and_a_record_that_cannot_be_told_are_counted() -> None:
    class Unspeakable:
        def __str__(self) -> str:
            raise LookupError

    stream, refused = io.StringIO(), list[str]()
    outlet = Outlet(stream, refused.append)
    outlet.handle(record(Unspeakable()))
    stream.close()
    outlet.handle(record("too late"))
    outlet.close()
    assert refused == ["log_format", "logs"]


@pytest.mark.parametrize("ends", ["", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"])
def test_the_last_lines_of_a_process_are_written(ends: str) -> None:
    program = (
        "import logging; from vitals.logging.setup import configure; configure('x');"
        "[logging.warning('line %d', n) for n in range(500)];" + ends
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout.count('"line ') == 500


def test_a_fork_writes_its_own_lines_once() -> None:
    program = (
        "import logging, os; from vitals.logging.setup import configure; configure('x');"
        "logging.warning('parent');\n"
        "pid = os.fork()\n"
        "if not pid: logging.warning('child')\n"
        "else: os.waitpid(pid, 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert sorted(line.count('"event": "child"') for line in done.stdout.splitlines()) == [0, 1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("failure", [RuntimeError("reentrant call"), SystemExit(), MemoryError()])
def test_a_writer_that_fails_is_replaced(failure: BaseException) -> None:
    class Stream(io.StringIO):
        fails = True

        def write(self, text: str) -> int:
            if self.fails:
                raise failure
            return super().write(text)

    stream, refused = Stream(), list[str]()
    outlet = Outlet(stream, refused.append)
    outlet.handle(record("lost"))
    outlet.flush()
    assert outlet._held == 0
    stream.fails = False
    deadline = time.monotonic() + 20
    while "said" not in stream.getvalue() and time.monotonic() < deadline:
        outlet.handle(record("said"))
        outlet.flush()
    assert "said" in stream.getvalue()
    assert refused == (["log_writer"] if isinstance(failure, SystemExit) else ["logs"])
    outlet.close()
    outlet.handle(record("too late"))
    assert refused[-1] == "logs"
