"""Starvation: busy processes beside a service, on its CPU. They end by themselves."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stack.drills.environment import Environment

_BUSY = 3
_SECONDS = 180
"""A busy process ends after this time, whatever becomes of the drill."""
_NICENESS, _PAUSE = (0, 5, 10, 15, 19), 20
"""How nice the service is, and for how many seconds: as little as takes effect. Otherwise a machine
that is busy anyway starves it so much that it cannot even be scraped."""
_SPIN = """
import sys, threading, time
threading.Thread(target=lambda: (sys.stdin.read(), __import__("os")._exit(0)), daemon=True).start()
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    pass
"""
"""It also ends with the one that started it, whose end of the pipe closes."""


async def starve(environment: "Environment", job: str) -> None:
    """Let busy processes take a CPU that a service may not leave, until cancelled.

    The service gets less and less weight, which it keeps.
    """
    cpu = {min(os.sched_getaffinity(0))}
    before = os.sched_getaffinity(environment.pid(job))
    async with AsyncExitStack() as started:
        started.callback(_pin, environment.pid(job), before)
        for _ in range(_BUSY):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", _SPIN, str(_SECONDS), stdin=asyncio.subprocess.PIPE
            )
            started.push_async_callback(process.wait)
            started.callback(_end, process)
            os.sched_setaffinity(process.pid, cpu)
        for niceness in _NICENESS:
            _pin(environment.pid(job), cpu, niceness)
            await asyncio.sleep(_PAUSE)
        await asyncio.Event().wait()


def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()


def _pin(pid: int, cpus: set[int], niceness: int = _NICENESS[0]) -> None:
    """Pin all threads of a process, and make them at least that nice."""
    for thread in Path("/proc", str(pid), "task").iterdir():
        with suppress(OSError):  # it ended
            os.sched_setaffinity(int(thread.name), cpus)
            now = os.getpriority(os.PRIO_PROCESS, int(thread.name))
            os.setpriority(os.PRIO_PROCESS, int(thread.name), max(now, niceness))
