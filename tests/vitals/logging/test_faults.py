"""What happens to JSON lines when the process, the disk, the pipe or the reader ends or stalls."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import IO, Any

import pytest

from tests.vitals.otlp.collector import wait_until
from vitals.logging.line_writer import LineWriter

pytestmark = pytest.mark.slow

START = """
import atexit, logging, os, resource, signal, sys, threading, time
from vitals.logging import setup
dropped = []
setup.configure("x", on_drop=dropped.append)
log = logging.getLogger("shop")
"""


UNBUFFERED = pytest.mark.parametrize("unbuffered", ["", "1"])


@pytest.fixture
def unbuffered() -> str:
    return ""


@pytest.fixture(autouse=True)
def _buffers(unbuffered: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)


def start(program: str, stdout: Any = subprocess.PIPE) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", START + program],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def events(output: str) -> list[str]:
    return [json.loads(line)["event"] for line in output.splitlines()]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("raise LookupError('planted')", 1),
        ("logging.shutdown(); os._exit(4)", 4),
        ("atexit.register(log.warning, 'the last')", 0),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); signal.raise_signal(15)", 5),
    ],
)
def test_an_end_of_the_process_loses_nothing(end: str, status: int) -> None:
    with start(f"for n in range(300): log.warning('line %d', n)\n{end}") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == status
    assert events(output)[:300] == [f"line {n}" for n in range(300)]
    assert events(output)[300:] == ["the last"] * ("the last" in end)


def test_the_first_line_may_be_logged_at_exit() -> None:
    with start("atexit.register(log.warning, 'first and last')") as process:
        output, _ = process.communicate(timeout=60)
    assert events(output) == ["first and last"]


def test_a_killed_process_loses_only_what_was_queued() -> None:
    program = (
        "log.warning('old')\nsys.stdin.readline()\nlog.warning('new')\nos.kill(os.getpid(), 9)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", START + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert events(process.stdout.readline()) == ["old"]  # written without any flush
        process.communicate("\n", timeout=60)
    assert process.returncode == -signal.SIGKILL


def test_a_full_disk_costs_its_lines_which_are_counted() -> None:
    program = """
for n in range(50): log.warning("lost")
logging.shutdown()
print(len(dropped), file=sys.stderr)
"""
    with Path("/dev/full").open("w") as full, start(program, full) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors.splitlines() == ["50"]


@UNBUFFERED
def test_a_disk_that_has_room_again_gets_whole_lines(tmp_path: Path) -> None:
    program = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY))
for n in range(100): log.warning("early %d", n)
logging.shutdown()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for n in range(100): log.warning("late %d", n)
logging.shutdown()
print(len(dropped), file=sys.stderr)
"""
    path = tmp_path / "log"
    with path.open("w") as file, start(program, file) as process:
        _, errors = process.communicate(timeout=60)
    lines = path.read_text().splitlines()
    whole = [json.loads(line)["event"] for line in lines if line.endswith("}")]
    early = [event for event in whole if event.startswith("early")]
    assert whole[len(early) :] == [f"late {n}" for n in range(100)]
    assert early == [f"early {n}" for n in range(len(early))]
    assert 0 < len(early) < 100
    assert int(errors) == 100 - len(early)
    assert len(lines) - len(whole) <= 1, "more than the line that did not fit is torn"


def test_a_closed_pipe_neither_ends_nor_disturbs_the_process() -> None:
    program = """
sys.stdin.readline()
for n in range(50): log.warning("lost")
logging.shutdown()
print(len(dropped), file=sys.stderr)
"""
    with subprocess.Popen(
        [sys.executable, "-c", START + program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert errors.splitlines() == ["50"], "Python wrote of its own standard output"


def test_a_reader_that_stalls_holds_neither_calls_nor_the_end() -> None:
    program = """
started = time.monotonic()
for n in range(5_000): log.warning("x" * 1_000)
print(time.monotonic() - started < 30, file=sys.stderr)
"""
    with start(program) as process:  # which reads nothing
        try:
            process.wait(60)
        finally:
            process.kill()
        assert process.stderr is not None
        assert process.stderr.read().splitlines() == ["True"]
    assert process.returncode == 0, "the interpreter ended with a fatal error"


def test_a_descriptor_that_does_not_block_gets_everything() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    dropped: list[str] = []
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        writer: LineWriter[str] = LineWriter(stream, str.encode, dropped.append)
        for number in range(1_000):
            writer.put(f"{number:0500}", 500)
        writer.close()
        assert [int(reader.readline()) for _ in range(1_000)] == list(range(1_000))
        wait_until(lambda: not writer._queued)
    assert dropped == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forks_beside_the_writer_write_each_line_once(tmp_path: Path) -> None:
    program = """
children = []
for n in range(6):
    for m in range(20): log.warning("parent %d.%d", n, m)
    child = os.fork()
    if not child:
        log.warning("child %d", n)
        sys.exit()
    children.append(child)
    time.sleep(0.01)
for child in children: os.waitpid(child, 0)
"""
    path = tmp_path / "log"
    file: IO[str]
    with path.open("w") as file, start(program, file) as process:
        process.communicate(timeout=100)
    counted = Counter(events(path.read_text()))
    expected = [f"parent {n}.{m}" for n in range(6) for m in range(20)]
    assert counted == Counter(expected + [f"child {n}" for n in range(6)])


def test_nothing_waits_when_the_last_application_has_ended() -> None:
    program = """
import asyncio
async def serve():
    async with setup.serving():
        log.warning("serving")
asyncio.run(serve())
log.warning("after it")
signal.raise_signal(signal.SIGTERM)
"""
    with start(program) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert events(output) == ["serving", "after it"]
