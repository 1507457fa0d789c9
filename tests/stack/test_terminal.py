"""A terminal that cannot be written to neither blocks nor raises."""

import io
import os
import pty
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from stack.terminal import Terminal, print_line


@pytest.mark.parametrize("kind", ["full", "closed pipe", "closed", "none"])
def test_nothing_raises(kind: str) -> None:
    if kind == "closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
        stream = os.fdopen(writer, "w")
    else:
        stream = Path("/dev/full" if kind == "full" else os.devnull).open("w")  # noqa: SIM115
    if kind == "closed":
        stream.close()
    terminal = Terminal(None if kind == "none" else stream)
    for _ in range(3):
        terminal.show("a line")
        terminal.show("x" * 100_000)
    print_line("a line", stream)
    if kind == "full":  # what `print` could not write waits in its buffer
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    with pytest.raises(OSError) if kind == "closed pipe" else io.StringIO():  # noqa: PT011
        stream.close()


def test_a_blocked_reader_is_not_waited_for_and_dropped_lines_are_counted() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        terminal = Terminal(stream)
        began = time.monotonic()
        for _ in range(2000):
            terminal.show("x" * 1000)
        assert time.monotonic() - began < 30, "it waits once, not for each line"
        os.set_blocking(reader, False)
        while True:
            try:
                os.read(reader, 65536)
            except BlockingIOError:
                break
        os.set_blocking(reader, True)
        terminal.show("after")
    with os.fdopen(reader) as rest:  # to its end, since the other side is closed
        lines = rest.read().splitlines()
    assert lines[-1] == "after"
    assert "lines could not be written here" in lines[-2]


def test_a_stopped_terminal_is_not_waited_for() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        termios.tcflow(theirs, termios.TCOOFF)  # what Ctrl-S does
        terminal = Terminal(stream)
        for _ in range(100):
            terminal.show("x" * 1000)
        termios.tcflow(theirs, termios.TCOON)
        terminal.show("after")
        received = b""
        while b"after" not in received:  # a terminal hands over its lines in parts
            received += os.read(ours, 65536)
    assert b"lines could not be written here)" in received
    os.close(ours)


_PRINTER = """
import sys
from stack.inbox.inbox_store import InboxStore
from stack.traffic import RequestStats
from stack.terminal import print_line
inbox = InboxStore()
inbox._add_heartbeat_change("/heartbeat", True, "never")
print_line(RequestStats().summary())
print_line("an error", sys.stderr)
assert len(inbox.notifications) == 1
import os
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
os.dup2(1, 2)
os._exit(42)
"""


@pytest.mark.parametrize("to", ["/dev/full", "a closed pipe", "nothing"])
def test_services_without_output_keep_running(to: str) -> None:
    command = [sys.executable, "-c", _PRINTER]
    if to == "nothing":
        command = ["sh", "-c", 'exec "$0" "$@" >&- 2>&-', *command]
        assert subprocess.run(command, check=False).returncode == 42
        return
    reader, pipe = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    output = full if to == "/dev/full" else pipe
    done = subprocess.run(command, stdout=output, stderr=output, check=False)
    os.close(full)
    os.close(pipe)
    assert done.returncode == 42
