"""The cache against raw GETs and its peers, in one run on one Redis: ``python -m bench.cache``.

Its own Redis is started and ended. The peers are installed into a temporary folder.
"""

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import uvloop

from bench.cache import hits, lists, outages, peers, profile, races, soak
from bench.cache.result import Part
from bench.databases import own_redis
from bench.interleave import show
from bench.load.server import prepare
from service.settings import Settings
from stack import readiness
from stack.process.process import Process


@dataclass(frozen=True)
class Stage:
    """Where everything is measured.

    Attributes:
        folder: For this run.
        url: Of its Redis.
        redis: The process.
        names: The peers.
        rounds: Turns that each way takes.
        soak_seconds: How long faults happen.
    """

    folder: Path
    url: str
    redis: Process
    names: tuple[str, ...]
    rounds: int
    soak_seconds: float


def _hits(stage: Stage) -> Part:
    return hits.part(uvloop.run(hits.measure(stage.url, stage.names, stage.rounds)))


def _races(stage: Stage) -> Part:
    return races.part(races.measure(stage.url, str(stage.folder / "peers"), stage.names))


def _outages(stage: Stage) -> Part:
    ready = partial(stage.redis.wait_ready, partial(_answers, stage.url))
    return outages.part(asyncio.run(outages.measure(stage.url, stage.redis, ready)))


def _soak(stage: Stage) -> Part:
    ready = partial(stage.redis.wait_ready, partial(_answers, stage.url))
    return soak.part(uvloop.run(soak.measure(stage.url, stage.redis, ready, stage.soak_seconds)))


@cache
def _shop(stage: Stage) -> Settings:
    return prepare(stage.folder).settings


def _lists(stage: Stage) -> Part:
    return lists.part(asyncio.run(lists.measure(_shop(stage), stage.url, stage.rounds)))


def _profile(stage: Stage) -> Part:
    return profile.part(asyncio.run(profile.measure(_shop(stage), stage.url, stage.rounds)))


PARTS: dict[str, Callable[[Stage], Part]] = {
    "hits": _hits,
    "races": _races,
    "outages": _outages,
    "soak": _soak,
    "lists": _lists,
    "profile": _profile,
}


def _answers(url: str) -> bool:
    return readiness.redis_answers(int(url.rpartition(":")[2].partition("/")[0]))


def main() -> None:
    """Measure, print, and say in the exit code whether the promises hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="turns each way takes (30)")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="these parts, not all"
    )
    parser.add_argument(
        "--soak-seconds", type=float, default=60, help="how long the soak test takes (60)"
    )
    options = parser.parse_args()
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    found: dict[str, Part] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.alone:
            peers.install(folder / "peers")
        names = () if options.alone else peers.NAMES
        with own_redis() as (url, process):
            stage = Stage(folder, url, process, names, options.rounds, options.soak_seconds)
            for each in options.only:
                found[each] = PARTS[each](stage)
    for part in found.values():
        show(part.title, part.columns, part.rows)
    broken = [sentence for part in found.values() for sentence in part.broken]
    figures = {name: part.figures for name, part in found.items()}
    print(json.dumps({"bench": "cache", **figures, "broken": broken, "holds": not broken}))
    raise SystemExit("; ".join(broken) or 0)


if __name__ == "__main__":
    main()
