"""Concurrency errors of caches: stampedes, stale fills after invalidation, cancelled callers.

Also the worker process that runs some of the callers: ``python -m bench.cache.races``.
"""

import asyncio
import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass
from typing import Any

from bench.cache import alternatives
from bench.cache.ours import Ours
from bench.cache.result import Result
from bench.cache.source import Cached, Source

OURS = "ours"
CALLERS, INVALIDATIONS = 200, 20
LOAD_SECONDS = 0.1


@dataclass(frozen=True)
class Races:
    """Results of one cache.

    Attributes:
        loads_of_one: Loads of one cold key with `CALLERS` concurrent callers in one process.
        loads_of_four: The same with the callers in four processes.
        failed: Callers of these two that got an exception.
        stale: How many of `INVALIDATIONS` invalidations during a load left the old value in the
            cache.
        orphans: Callers that failed because another caller of the same load was cancelled.
    """

    loads_of_one: int
    loads_of_four: int
    failed: int
    stale: int
    orphans: int


EXPECTED = Races(loads_of_one=1, loads_of_four=1, failed=0, stale=0, orphans=0)


def make(name: str, url: str, source: Source) -> Cached:
    """Create a cache by its name."""
    return (
        Ours(url, source, rendered=False) if name == OURS else alternatives.make(name, url, source)
    )


def measure(url: str, folder: str, names: tuple[str, ...]) -> dict[str, Races]:
    """Run all tests with every cache."""
    with ExitStack() as ending:
        workers = [WorkerProcess(url, folder, ending) for _ in range(4)]
        return {name: _measure(workers, name) for name in (OURS, *names)}


def _measure(workers: list["WorkerProcess"], name: str) -> Races:
    one = workers[0].run("stampede", name, "one", CALLERS)
    for worker in workers:
        worker.prepare("stampede", name, "four", CALLERS // len(workers))
    for worker in workers:
        worker.go()
    four = [worker.result() for worker in workers]
    return Races(
        loads_of_one=one["loads"],
        loads_of_four=sum(each["loads"] for each in four),
        failed=one["failed"] + sum(each["failed"] for each in four),
        stale=workers[0].run("invalidate", name, "race", INVALIDATIONS)["stale"],
        orphans=workers[0].run("cancel", name, "cancelled", 20)["orphans"],
    )


def evaluate(found: dict[str, Races]) -> Result:
    """Build the table, and check the budgets."""
    columns = [
        "",
        f"loads, {CALLERS} callers",
        "loads, in 4 processes",
        "callers failed",
        f"stale of {INVALIDATIONS}",
        "failed by a cancelled caller",
    ]
    rows = [[name, *map(str, astuple(races))] for name, races in found.items()]
    exceeded = [] if found[OURS] == EXPECTED else [f"ours: {found[OURS]}"]
    figures = {name: asdict(races) for name, races in found.items()}
    return Result("Cold keys and invalidations", columns, rows, figures, exceeded)


class WorkerProcess:
    """A process that runs callers."""

    def __init__(self, url: str, folder: str, ending: ExitStack) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "bench.cache.races", url, folder]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        ending.callback(self._process.communicate)

    def prepare(self, *task: str | int) -> None:
        """Send a task and wait until the cache is connected."""
        self._send(json.dumps(task))
        self.result()

    def go(self) -> None:
        """Start the task."""
        self._send("go")

    def result(self) -> dict[str, int]:
        """Wait for the result."""
        assert self._process.stdout  # noqa: S101
        result: dict[str, int] = json.loads(self._process.stdout.readline())
        return result

    def run(self, *task: str | int) -> dict[str, int]:
        """Prepare, start, and return the result."""
        self.prepare(*task)
        self.go()
        return self.result()

    def _send(self, line: str) -> None:
        assert self._process.stdin  # noqa: S101
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


# -- In the worker process -------------------------------------------------------------------


async def stampede(cache: Cached, source: Source, key: str, callers: int) -> dict[str, int]:
    """Many callers request one cold key."""
    got = await asyncio.gather(*(cache.get(key) for _ in range(callers)), return_exceptions=True)
    return {
        "loads": source.loads,
        "failed": sum(isinstance(each, BaseException) for each in got),
    }


async def invalidate(cache: Cached, source: Source, key: str, times: int) -> dict[str, int]:
    """A value changes and is invalidated while the old one is being loaded."""
    stale = 0
    for number in range(times):
        source.value, source.seconds = {"version": 1}, 0.03
        loads, name = source.loads, f"{key}{number}"
        early = asyncio.ensure_future(cache.get(name))
        await _begun(source, loads)
        source.value = {"version": 2}
        await cache.invalidate(name)
        await early
        source.seconds = 0
        stale += await cache.get(name) != {"version": 2}
    return {"stale": stale}


async def cancel(cache: Cached, source: Source, key: str, callers: int) -> dict[str, int]:
    """The first of several callers of one load is cancelled."""
    waiting = [asyncio.ensure_future(cache.get(key)) for _ in range(callers)]
    await _begun(source)
    waiting[0].cancel()
    got = await asyncio.gather(*waiting[1:], return_exceptions=True)
    return {"orphans": sum(isinstance(each, BaseException) for each in got)}


async def _begun(source: Source, loads: int = 0) -> None:
    while source.loads == loads:  # noqa: ASYNC110 - some load in threads
        await asyncio.sleep(0.001)


TASKS_BY_NAME: dict[str, Any] = {"stampede": stampede, "invalidate": invalidate, "cancel": cancel}


async def _run_task(url: str, order: str, name: str, key: str, count: int) -> dict[str, int]:
    source = Source({"version": 1})
    cache = make(name, url, source)
    try:
        await cache.get("warm")
        print("{}", flush=True)
        sys.stdin.readline()
        source.loads, source.seconds = 0, LOAD_SECONDS
        done: dict[str, int] = await TASKS_BY_NAME[order](cache, source, f"{order}-{key}", count)
        return done
    finally:
        await cache.close()


def main() -> None:
    """Run tasks, one per line, until standard input ends."""
    url, folder = sys.argv[1:]
    sys.path.append(folder)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(_run_task(url, *json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
