"""The cache against raw GETs and alternatives, in one run on one Redis: ``python -m bench.cache``.

It starts its own Redis. The alternatives are installed into a temporary folder.
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

from bench.cache import alternatives, hits, lists, outages, profile, races, soak
from bench.cache.result import Result
from bench.databases import own_redis
from bench.interleave import show
from bench.load.server import prepare
from service.settings import Settings
from stack import readiness
from stack.process.process import Process


@dataclass(frozen=True)
class Fixture:
    """The environment of the measurements.

    Attributes:
        folder: Temporary folder.
        url: URL of its Redis.
        redis: Process of the Redis.
        names: Names of the alternatives.
        rounds: Rounds of each variant.
        soak_seconds: Duration of the soak test.
    """

    folder: Path
    url: str
    redis: Process
    names: tuple[str, ...]
    rounds: int
    soak_seconds: float


def _hits(fixture: Fixture) -> Result:
    return hits.evaluate(uvloop.run(hits.measure(fixture.url, fixture.names, fixture.rounds)))


def _races(fixture: Fixture) -> Result:
    return races.evaluate(
        races.measure(fixture.url, str(fixture.folder / "alternatives"), fixture.names)
    )


def _outages(fixture: Fixture) -> Result:
    ready = partial(fixture.redis.wait_ready, partial(_answers, fixture.url))
    return outages.evaluate(asyncio.run(outages.measure(fixture.url, fixture.redis, ready)))


def _soak(fixture: Fixture) -> Result:
    ready = partial(fixture.redis.wait_ready, partial(_answers, fixture.url))
    return soak.evaluate(
        uvloop.run(soak.measure(fixture.url, fixture.redis, ready, fixture.soak_seconds))
    )


@cache
def _shop(fixture: Fixture) -> Settings:
    return prepare(fixture.folder).settings


def _lists(fixture: Fixture) -> Result:
    return lists.evaluate(asyncio.run(lists.measure(_shop(fixture), fixture.url, fixture.rounds)))


def _profile(fixture: Fixture) -> Result:
    return profile.evaluate(
        asyncio.run(profile.measure(_shop(fixture), fixture.url, fixture.rounds))
    )


SECTIONS: dict[str, Callable[[Fixture], Result]] = {
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
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.cache", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="rounds of each variant (30)")
    parser.add_argument("--alone", action="store_true", help="without the alternatives")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SECTIONS,
        default=list(SECTIONS),
        help="only these sections",
    )
    parser.add_argument(
        "--soak-seconds", type=float, default=60, help="duration of the soak test (60)"
    )
    options = parser.parse_args()
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    found: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.alone:
            alternatives.install(folder / "alternatives")
        names = () if options.alone else alternatives.NAMES
        with own_redis() as (url, process):
            fixture = Fixture(folder, url, process, names, options.rounds, options.soak_seconds)
            for each in options.only:
                found[each] = SECTIONS[each](fixture)
    for result in found.values():
        show(result.title, result.columns, result.rows)
    exceeded = [sentence for result in found.values() for sentence in result.exceeded]
    figures = {name: result.figures for name, result in found.items()}
    print(
        json.dumps(
            {"bench": "cache", **figures, "exceeded": exceeded, "within_budget": not exceeded}
        )
    )
    raise SystemExit("; ".join(exceeded) or 0)


if __name__ == "__main__":
    main()
