"""The service under load, and the effect of each optimisation: ``python -m bench.load``.

Ratios above `bench/budget.json` fail the run.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import budget
from bench.databases import installed, own_redis, postgresql
from bench.interleave import show
from bench.load import logins, optimisations, scenarios, storm
from bench.load.report import write
from bench.load.scenarios import ScenarioResult
from bench.load.server import ORDERS, PRODUCTS, ROOT, Running, SeededDatabase, prepare, serving

EMBEDDED, SERVERS = "SQLite", "PostgreSQL and Redis"


def under_load(fixture: SeededDatabase, server: Running, seconds: int) -> dict[str, ScenarioResult]:
    """Run every scenario."""

    def go(*visitors: str, users: int, only: str = "") -> ScenarioResult:
        return scenarios.run(fixture, server, visitors, users=users, seconds=seconds, only=only)

    return {
        "cold reads": go("Cold", users=8),
        "warm reads": go("Warm", users=8),
        "list": go("FullList", users=8),
        "list, 304": go("Revalidation", users=8, only="again"),
        "logins": go("Login", users=8),
        "mixed": go("Shopper", users=8),
    }


def run(fixture: SeededDatabase, seconds: int, rounds: int) -> dict[str, Any]:
    """Measure everything on one fixture."""
    taken, ratios = optimisations.measure(fixture.settings, rounds)
    by_clock, by_processor = logins.measure(fixture, 3 * rounds)
    taken |= by_clock
    with serving(fixture) as server:
        outcomes = under_load(fixture, server, seconds)
        calm, stormy = storm.measure(fixture, server)
        path = "/api/products"
        rate = scenarios.wrk(server, path, seconds)
    taken |= {"p99 of reads, calm": calm, "p99 of reads, login storm": stormy}
    # Of the whole process, including the HTTP server.
    ratios["list, 304, processor"] = outcomes["list, 304"].cpu_us / outcomes["list"].cpu_us
    ratios["p99 of reads, login storm"] = stormy / calm
    for how, each in (("", by_clock), (", processor", by_processor)):
        ratios[f"login, all on to all off{how}"] = each[logins.ON] / each[logins.OFF]
        ratios[f"login, all on to its hash alone{how}"] = each[logins.ON] / each[logins.HASH]
    return {
        "seconds": {name: round(each, 6) for name, each in taken.items()},
        "ratios": {name: round(each, 4) for name, each in ratios.items()},
        "scenarios": {name: _rounded(outcome) for name, outcome in outcomes.items()},
        "wrk": {} if rate is None else {path: rate},
        "exceeded": budget.exceeded(ratios, budget.of("load")),
    }


@contextmanager
def seeded(where: str) -> Iterator[SeededDatabase]:
    """A seeded shop, on SQLite or on temporary servers."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if where == EMBEDDED:
            yield prepare(folder)
        else:
            database = stack.enter_context(postgresql()).database()
            redis_url, _ = stack.enter_context(own_redis())
            yield prepare(folder, database, redis_url)


def main() -> None:
    """Measure and print; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--seconds", type=int, default=6, help="duration of each scenario (6)")
    parser.add_argument("--rounds", type=int, default=30, help="rounds of each variant (30)")
    parser.add_argument("--only", choices=(EMBEDDED, SERVERS), help="default: both, if installed")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    places = [EMBEDDED, SERVERS] if installed() and shutil.which("redis-server") else [EMBEDDED]
    runs = {}
    for where in places if options.only is None else [options.only]:
        print(f"on {where}", file=sys.stderr, flush=True)
        with seeded(where) as fixture:
            runs[where] = run(fixture, options.seconds, options.rounds)
        _print(where, runs[where])
    exceeded = [f"on {where}: {each}" for where, run in runs.items() for each in run["exceeded"]]
    result = {
        "bench": "load",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} processors, Python {platform.python_version()}",
        "products": PRODUCTS,
        "orders": ORDERS,
        "budget": budget.of("load"),
        "runs": runs,
        "within_budget": not exceeded,
    }
    print(json.dumps(result))
    if options.write:
        write(result, ROOT / "docs")
    raise SystemExit("; ".join(exceeded) or 0)


def _rounded(outcome: ScenarioResult) -> dict[str, float]:
    return {name: round(figure, 2) for name, figure in asdict(outcome).items()}


def _print(where: str, run: Mapping[str, Any]) -> None:
    columns = ["responses/s", "p50 ms", "p95 ms", "p99 ms", "CPU µs per response"]
    rows = [
        [name, *(f"{each:,.0f}" if each > 100 else f"{each:g}" for each in outcome.values())]
        for name, outcome in run["scenarios"].items()
    ]
    show(f"The service under load, on {where}", ["", *columns], rows)
    limits = budget.of("load")
    rows = [[n, f"{r:.3f}", str(limits.get(n, ""))] for n, r in run["ratios"].items()]
    show("After / before", ["", "ratio", "at most"], rows)


if __name__ == "__main__":
    main()
