"""Naive endpoints against ours, and what our tools say of them: ``python -m bench.endpoints``.

Both applications run in this process, without caches, on shops with the same rows: what differs is
their queries and indexes. Ratios above `bench/budget.json` fail the run, and so does a fault that
our tools do not name.
"""

import argparse
import asyncio
import logging
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from asgi_lifespan import LifespanManager

from bench import budget
from bench.databases import installed
from bench.endpoints import evidence, naive, report
from bench.endpoints.cases import Case, Client, admin_of, cases
from bench.endpoints.evidence import Evidence
from bench.endpoints.fixtures import Size, Stage, on_postgresql, on_sqlite
from bench.interleave import Once, compare
from bench.load.optimisations import forget
from service.main import build

SECONDS = 3.0
"""Of a case's naive turns, about: a case of a second a call gets three rounds."""
NAIVE, OURS = "naive", "ours"


async def measure(stage: Stage, rounds: int) -> tuple[list[Case], dict[str, dict[str, float]]]:
    """Seconds of each case, naive and ours, in rounds of their own."""
    ours, first = build(stage.ours), naive.app(stage.naive)
    forget(ours)
    taken = {}
    async with LifespanManager(ours), LifespanManager(first):
        found = await cases(ours, stage.size)
        for case in found:
            print(f"{stage.system}: {case.name}", file=sys.stderr, flush=True)
            ways = {
                NAIVE: _once(case.naive, Client(first).as_user(case.who)),
                OURS: _once(case.ours, Client(ours).as_user(case.who)),
            }
            started = perf_counter()
            await ways[NAIVE]()
            fitting = int(SECONDS / (perf_counter() - started))
            taken[case.name] = await compare(ways, rounds=min(max(fitting, 3), rounds), calls=1)
    return found, taken


def _once(way: Any, client: Client) -> Once:
    async def once() -> None:
        await way(client)

    return once


async def examine(stage: Stage, found: list[Case]) -> tuple[list[Any], dict[str, Evidence]]:
    """The ranked list over all naive cases, and what each is told."""
    app = build(stage.ours)
    async with LifespanManager(app):
        admin = await admin_of(app)
    ranking = await evidence.ranking(stage.naive, found, admin)
    return ranking, {case.name: await evidence.of(stage.naive, case, admin) for case in found}


def run(size: Size, rounds: int) -> dict[str, Any]:
    """Measure and examine, on each database system there is."""
    stages = ([on_postgresql] if installed() else []) + [on_sqlite]
    result: dict[str, Any] = {"bench": "endpoints", "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    result["machine"] = f"{os.cpu_count()} processors, Python {platform.python_version()}"
    result |= {"size": asdict(size), "systems": {}}
    for on in stages:
        with tempfile.TemporaryDirectory() as folder, on(Path(folder), size) as stage:
            found, taken = asyncio.run(measure(stage, rounds))
            ranking, said = asyncio.run(examine(stage, found))
        result["systems"][stage.system] = {
            "ms": {
                name: {way: round(each * 1000, 3) for way, each in ways.items()}
                for name, ways in taken.items()
            },
            "ratios": {name: round(ways[OURS] / ways[NAIVE], 4) for name, ways in taken.items()},
            "told": {case.name: said[case.name].names(case) for case in found},
            "ranking": ranking[:10],
            "plans": {name: asdict(one) for name, one in said.items()},
        }
    result["cases"] = {case.name: {"fault": case.fault, "change": case.change} for case in found}
    return result


def main() -> None:
    """Measure, tell, and say in the exit code whether the promises hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.endpoints", description=__doc__)
    parser.add_argument("--users", type=int, default=20_000, help="in either shop (20,000)")
    parser.add_argument("--products", type=int, default=50_000, help="likewise (50,000)")
    parser.add_argument("--orders", type=int, default=100_000, help="likewise (100,000)")
    parser.add_argument("--rounds", type=int, default=40, help="turns of each way, at most (40)")
    parser.add_argument("--write", action="store_true", help="write it into docs/queries.md")
    options = parser.parse_args()
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    logging.disable()  # slow statements are what this is about: their lines would fill the screen
    result = run(Size(options.users, options.products, options.orders), options.rounds)
    systems = result["systems"]
    worst = {
        name: max(systems[system]["ratios"][name] for system in systems) for name in result["cases"]
    }
    wrong = budget.broken(worst, budget.of("endpoints")) + [
        f"{system}: nothing names the fault of {name}"
        for system in systems
        for name, line in systems[system]["told"].items()
        if not line
    ]
    result["holds"] = not wrong
    report.tell(result)
    if options.write:
        report.write(result, Path(__file__).parents[2] / "docs")
    raise SystemExit("; ".join(wrong) or 0)


if __name__ == "__main__":
    main()
