"""What goes wrong when things happen at once: stampedes, invalidations, callers who leave.

Also the process that runs one of several processes' callers: ``python -m bench.cache.races``.
"""

import asyncio
import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass
from typing import Any

from bench.cache import peers
from bench.cache.ours import Ours
from bench.cache.result import Part
from bench.cache.source import Cached, Source

OURS = "ours"
CALLERS, INVALIDATIONS = 200, 20
LOAD_SECONDS = 0.1


@dataclass(frozen=True)
class Races:
    """What happened to one cache.

    Attributes:
        loads_of_one: Loads of one cold key that `CALLERS` callers of one process asked for.
        loads_of_four: The same spread over four processes.
        failed: Callers of these two that got an exception.
        stale: Of `INVALIDATIONS` invalidations that met a load under way, how many left the
            old value in the cache.
        orphans: Callers that failed because another one, who waited for the same, left.
    """

    loads_of_one: int
    loads_of_four: int
    failed: int
    stale: int
    orphans: int


FLAWLESS = Races(loads_of_one=1, loads_of_four=1, failed=0, stale=0, orphans=0)


def make(name: str, url: str, source: Source) -> Cached:
    """A cache by its name."""
    return Ours(url, source, rendered=False) if name == OURS else peers.make(name, url, source)


def measure(url: str, folder: str, names: tuple[str, ...]) -> dict[str, Races]:
    """Let every cache go through it."""
    with ExitStack() as ending:
        crews = [Crew(url, folder, ending) for _ in range(4)]
        return {name: _measure(crews, name) for name in (OURS, *names)}


def _measure(crews: list["Crew"], name: str) -> Races:
    one = crews[0].ask("stampede", name, "one", CALLERS)
    for crew in crews:
        crew.prepare("stampede", name, "four", CALLERS // len(crews))
    for crew in crews:
        crew.go()
    four = [crew.answer() for crew in crews]
    return Races(
        loads_of_one=one["loads"],
        loads_of_four=sum(each["loads"] for each in four),
        failed=one["failed"] + sum(each["failed"] for each in four),
        stale=crews[0].ask("invalidate", name, "race", INVALIDATIONS)["stale"],
        orphans=crews[0].ask("leave", name, "left", 20)["orphans"],
    )


def part(found: dict[str, Races]) -> Part:
    """The table, and the promises."""
    columns = [
        "",
        f"loads, {CALLERS} callers",
        "loads, in 4 processes",
        "callers failed",
        f"stale of {INVALIDATIONS}",
        "failed as another left",
    ]
    rows = [[name, *map(str, astuple(races))] for name, races in found.items()]
    broken = [] if found[OURS] == FLAWLESS else [f"ours had {found[OURS]}"]
    figures = {name: asdict(races) for name, races in found.items()}
    return Part("Cold keys and invalidations", columns, rows, figures, broken)


class Crew:
    """A process of callers."""

    def __init__(self, url: str, folder: str, ending: ExitStack) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "bench.cache.races", url, folder]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        ending.callback(self._process.communicate)

    def prepare(self, *order: str | int) -> None:
        """Give an order and wait until its cache is connected."""
        self._say(json.dumps(order))
        self.answer()

    def go(self) -> None:
        """Let it begin."""
        self._say("go")

    def answer(self) -> dict[str, int]:
        """Wait until it is done."""
        assert self._process.stdout  # noqa: S101
        told: dict[str, int] = json.loads(self._process.stdout.readline())
        return told

    def ask(self, *order: str | int) -> dict[str, int]:
        """All of it."""
        self.prepare(*order)
        self.go()
        return self.answer()

    def _say(self, line: str) -> None:
        assert self._process.stdin  # noqa: S101
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


# -- Within such a process -------------------------------------------------------------------


async def stampede(cache: Cached, source: Source, key: str, callers: int) -> dict[str, int]:
    """Everybody wants one cold key."""
    got = await asyncio.gather(*(cache.get(key) for _ in range(callers)), return_exceptions=True)
    return {
        "loads": source.loads,
        "failed": sum(isinstance(each, BaseException) for each in got),
    }


async def invalidate(cache: Cached, source: Source, key: str, times: int) -> dict[str, int]:
    """A value changes, and is invalidated, while the old one is being loaded."""
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


async def leave(cache: Cached, source: Source, key: str, callers: int) -> dict[str, int]:
    """The first of several who wait for one load goes away."""
    waiting = [asyncio.ensure_future(cache.get(key)) for _ in range(callers)]
    await _begun(source)
    waiting[0].cancel()
    got = await asyncio.gather(*waiting[1:], return_exceptions=True)
    return {"orphans": sum(isinstance(each, BaseException) for each in got)}


async def _begun(source: Source, loads: int = 0) -> None:
    while source.loads == loads:  # noqa: ASYNC110 - some load in threads
        await asyncio.sleep(0.001)


ORDERS: dict[str, Any] = {"stampede": stampede, "invalidate": invalidate, "leave": leave}


async def _obey(url: str, order: str, name: str, key: str, count: int) -> dict[str, int]:
    source = Source({"version": 1})
    cache = make(name, url, source)
    try:
        await cache.get("warm")
        print("{}", flush=True)
        sys.stdin.readline()
        source.loads, source.seconds = 0, LOAD_SECONDS
        done: dict[str, int] = await ORDERS[order](cache, source, f"{order}-{key}", count)
        return done
    finally:
        await cache.close()


def main() -> None:
    """Obey, line by line, until standard input ends."""
    url, folder = sys.argv[1:]
    sys.path.append(folder)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(_obey(url, *json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
