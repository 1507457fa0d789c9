"""A log reader that stalls does not block requests."""

import io
import os
import subprocess
import sys
import threading
import time

import pytest

from vitals.logging.line_writer import MAX_QUEUED_CHARACTERS, LineWriter


def _as_it_is(entry: str) -> bytes:
    return entry.encode()


def put(writer: LineWriter[str], text: str) -> None:
    writer.put(text, len(text) + 1)


def test_lines_are_written_in_order() -> None:
    stream, dropped = io.StringIO(), list[str]()
    writer = LineWriter(stream, _as_it_is, dropped.append)
    for number in range(1_000):
        put(writer, str(number))
    writer.close()
    assert stream.getvalue().split() == [str(number) for number in range(1_000)]
    assert dropped == []


def test_a_stalled_reader_blocks_no_caller_and_memory_is_bounded() -> None:
    reading, writing = os.pipe()
    dropped: list[str] = []
    with os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream, _as_it_is, dropped.append)
        line = "x" * 10_000
        sent = 3 * MAX_QUEUED_CHARACTERS // len(line)
        started = time.monotonic()
        for _ in range(sent):
            put(writer, line)
        assert time.monotonic() - started < 5, "it waited for the reader"
        assert dropped.count("logs") > sent // 2
        assert writer._queued <= MAX_QUEUED_CHARACTERS
        taken = sent - len(dropped)

        def read() -> None:
            left = taken * (len(line) + 1)
            while left:
                left -= len(os.read(reading, 65_536))

        reader = threading.Thread(target=read)
        reader.start()
        reader.join(20)
        assert not reader.is_alive(), "a line that was taken was not written"
        put(writer, "again")
        writer.flush()
        assert os.read(reading, 100) == b"again\n"
        writer.close()
    os.close(reading)


def test_a_closed_stream_and_an_entry_that_cannot_be_rendered_are_counted() -> None:
    def render(entry: str) -> bytes:
        if entry == "bad":
            raise LookupError
        return entry.encode()

    stream, dropped = io.StringIO(), list[str]()
    writer = LineWriter(stream, render, dropped.append)
    put(writer, "bad")
    put(writer, "good")
    writer.flush()
    assert stream.getvalue() == "good\n"
    stream.close()
    put(writer, "too late")
    writer.close()
    assert dropped == ["log_format", "logs"]


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
    # Python 3.12 and later warn of a fork beside threads, in a line of its own.
    assert [done.stdout.count(f'"event":"{each}"') for each in ("parent", "child")] == [1, 1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("failure", [RuntimeError("reentrant call"), SystemExit(), MemoryError()])
def test_a_failed_writer_thread_is_replaced(failure: BaseException) -> None:
    class Stream(io.StringIO):
        fails = True

        def write(self, text: str) -> int:
            if self.fails:
                raise failure
            return super().write(text)

    stream, dropped = Stream(), list[str]()
    writer = LineWriter(stream, _as_it_is, dropped.append)
    put(writer, "lost")
    writer.flush()
    assert writer._queued == 0
    stream.fails = False
    deadline = time.monotonic() + 20
    while "written" not in stream.getvalue() and time.monotonic() < deadline:
        put(writer, "written")
        writer.flush()
    assert "written" in stream.getvalue()
    assert dropped == (["log_writer"] if isinstance(failure, SystemExit) else ["logs"])
    writer.close()
    put(writer, "too late")
    assert dropped[-1] == "logs"
