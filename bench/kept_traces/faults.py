"""Faults that are injected one after another, as a bad hour has them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.gameday.faults import FAULTS as OF_PARTS
from bench.gameday.stack import Stack

Inject = Callable[[Stack, int], AbstractContextManager[None]]
"""Injects a fault until the block ends, given the stack and the process of the target."""


@contextmanager
def _signalled(pid: int, number: signal.Signals) -> Iterator[None]:
    os.kill(pid, number)
    yield


@contextmanager
def _frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _store_fails_often(stack: Stack) -> Iterator[None]:
    """Twice, the second time as soon as it serves again."""
    killed = stack.pid("store")
    os.kill(killed, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while stack.pid("store") == killed and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(stack.pid("store"), signal.SIGKILL)
    yield


def _worker(server: int) -> int:
    """A worker of a uvicorn server."""
    lists = Path("/proc", str(server), "task").glob("*/children")
    children = [int(word) for file in lists for word in file.read_text().split()]
    return next(
        pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


FAULTS: dict[str, Inject] = {
    "a table is locked": lambda stack, _: OF_PARTS[2].inject(stack),
    "the store is killed": lambda stack, _: _signalled(stack.pid("store"), signal.SIGKILL),
    "Redis is frozen": lambda stack, _: OF_PARTS[3].inject(stack),
    "the API is deployed": lambda stack, _: _signalled(stack.pid("api"), signal.SIGTERM),
    "the store hangs": lambda stack, _: _frozen(stack.pid("store")),
    "PostgreSQL takes no connection": lambda stack, _: OF_PARTS[5].inject(stack),
    "a worker is ended": lambda _, target: _signalled(_worker(target), signal.SIGTERM),
    "the store is killed twice": lambda stack, _: _store_fails_often(stack),
    "all workers are replaced": lambda _, target: _signalled(target, signal.SIGHUP),
}
