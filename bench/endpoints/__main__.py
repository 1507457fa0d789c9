"""Naive endpoints against ours, and the findings of our tools: ``python -m bench.endpoints``.

Both applications run in this process, without caches, on shops with the same rows; they differ in
their queries and indexes. Ratios above `bench/budget.json` fail the run, and so does a fault that
our tools do not find.
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
from bench.endpoints.fixtures import Fixture, Size, on_postgresql, on_sqlite
from bench.interleave import Once, compare
from bench.load.optimisations import disable_caches
from service.main import build

SECONDS = 3.0
"""Approximate duration of a case's naive rounds: a case with one second per call gets three."""
NAIVE, OURS = "naive", "ours"


async def measure(fixture: Fixture, rounds: int) -> tuple[list[Case], dict[str, dict[str, float]]]:
    """Seconds of each case, naive and ours, in interleaved rounds."""
    ours, first = build(fixture.ours), naive.app(fixture.naive)
    disable_caches(ours)
    taken = {}
    async with LifespanManager(ours), LifespanManager(first):
        found = await cases(ours, fixture.size)
        for case in found:
            print(f"{fixture.system}: {case.name}", file=sys.stderr, flush=True)
            variants = {
                NAIVE: _once(case.naive, Client(first).as_user(case.user)),
                OURS: _once(case.ours, Client(ours).as_user(case.user)),
            }
            started = perf_counter()
            await variants[NAIVE]()
            rounds_in_time = int(SECONDS / (perf_counter() - started))
            taken[case.name] = await compare(
                variants, rounds=min(max(rounds_in_time, 3), rounds), calls=1
            )
    return found, taken


def _once(variant: Any, client: Client) -> Once:
    async def once() -> None:
        await variant(client)

    return once


async def examine(fixture: Fixture, found: list[Case]) -> tuple[list[Any], dict[str, Evidence]]:
    """The bottleneck list of all naive cases, and the findings for each."""
    app = build(fixture.ours)
    async with LifespanManager(app):
        admin = await admin_of(app)
    ranking = await evidence.ranking(fixture.naive, found, admin)
    return ranking, {case.name: await evidence.of(fixture.naive, case, admin) for case in found}


def run(size: Size, rounds: int) -> dict[str, Any]:
    """Measure and examine, on each available database system."""
    fixtures = ([on_postgresql] if installed() else []) + [on_sqlite]
    result: dict[str, Any] = {"bench": "endpoints", "date": f"{datetime.now(UTC):%Y-%m-%d}"}
    result["machine"] = f"{os.cpu_count()} processors, Python {platform.python_version()}"
    result |= {"size": asdict(size), "systems": {}}
    for on in fixtures:
        with tempfile.TemporaryDirectory() as folder, on(Path(folder), size) as fixture:
            found, taken = asyncio.run(measure(fixture, rounds))
            ranking, findings = asyncio.run(examine(fixture, found))
        result["systems"][fixture.system] = {
            "ms": {
                name: {variant: round(each * 1000, 3) for variant, each in variants.items()}
                for name, variants in taken.items()
            },
            "ratios": {
                name: round(variants[OURS] / variants[NAIVE], 4) for name, variants in taken.items()
            },
            "findings": {case.name: findings[case.name].finding_for(case) for case in found},
            "ranking": ranking[:10],
            "plans": {name: asdict(one) for name, one in findings.items()},
        }
    result["cases"] = {case.name: {"fault": case.fault, "change": case.change} for case in found}
    return result


def main() -> None:
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.endpoints", description=__doc__)
    parser.add_argument("--users", type=int, default=20_000, help="in either shop (20,000)")
    parser.add_argument("--products", type=int, default=50_000, help="likewise (50,000)")
    parser.add_argument("--orders", type=int, default=100_000, help="likewise (100,000)")
    parser.add_argument(
        "--rounds", type=int, default=40, help="rounds of each variant, at most (40)"
    )
    parser.add_argument("--write", action="store_true", help="write docs/queries.md")
    options = parser.parse_args()
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    logging.disable()  # every statement is slow here: no log lines
    result = run(Size(options.users, options.products, options.orders), options.rounds)
    systems = result["systems"]
    worst = {
        name: max(systems[system]["ratios"][name] for system in systems) for name in result["cases"]
    }
    exceeded = budget.exceeded(worst, budget.of("endpoints")) + [
        f"{system}: no finding for the fault of {name}"
        for system in systems
        for name, line in systems[system]["findings"].items()
        if not line
    ]
    result["within_budget"] = not exceeded
    report.print_result(result)
    if options.write:
        report.write(result, Path(__file__).parents[2] / "docs")
    raise SystemExit("; ".join(exceeded) or 0)


if __name__ == "__main__":
    main()
