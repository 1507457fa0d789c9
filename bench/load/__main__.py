"""The service under load, and what each optimisation brings: ``python -m bench.load``.

Ratios above `bench/budget.json` fail the run.
"""

import argparse
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import budget
from bench.load import optimisations, scenarios, storm
from bench.load.report import write
from bench.load.scenarios import Outcome
from bench.load.server import ORDERS, PRODUCTS, ROOT, Running, Stage, prepare, serving
from bench.rounds import report


def under_load(stage: Stage, server: Running, seconds: int) -> dict[str, Outcome]:
    """Run every scenario."""

    def go(*visitors: str, users: int, only: str = "") -> Outcome:
        return scenarios.run(stage, server, visitors, users=users, seconds=seconds, only=only)

    return {
        "cold reads": go("Cold", users=8),
        "warm reads": go("Warm", users=8),
        "list": go("Whole", users=8),
        "list, 304": go("Again", users=8, only="again"),
        "logins": go("Login", users=8),
        "mixed": go("Shopper", users=8),
    }


def main() -> None:
    """Measure, tell, and say in the exit code whether the budget holds."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--seconds", type=int, default=6, help="of each scenario (6)")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each way (30)")
    parser.add_argument("--database-url", default="", help="an empty one; else SQLite")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    with tempfile.TemporaryDirectory() as folder:
        stage = prepare(Path(folder), options.database_url)
        seconds, ratios = optimisations.measure(stage.settings, options.rounds)
        with serving(stage) as server:
            outcomes = under_load(stage, server, options.seconds)
            calm, stormy = storm.measure(stage, server)
            path = "/api/products"
            rate = scenarios.wrk(server, path, options.seconds)
    seconds |= {"p99 of reads, calm": calm, "p99 of reads, login storm": stormy}
    # Of the process, with the server's own work.
    ratios["list, 304, processor"] = outcomes["list, 304"].cpu_us / outcomes["list"].cpu_us
    ratios["p99 of reads, login storm"] = stormy / calm
    limits = budget.of("load")
    broken = budget.broken(ratios, limits)
    result = {
        "bench": "load",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} processors, Python {platform.python_version()}",
        "database": stage.settings.database().get_backend_name(),
        "products": PRODUCTS,
        "orders": ORDERS,
        "seconds": {name: round(each, 6) for name, each in seconds.items()},
        "ratios": {name: round(each, 4) for name, each in ratios.items()},
        "scenarios": {name: _rounded(outcome) for name, outcome in outcomes.items()},
        "wrk": {} if rate is None else {path: rate},
        "budget": limits,
        "holds": not broken,
    }
    _tell(result)
    if options.write:
        write(result, ROOT / "docs")
    raise SystemExit("; ".join(broken) or 0)


def _rounded(outcome: Outcome) -> dict[str, float]:
    return {name: round(figure, 2) for name, figure in asdict(outcome).items()}


def _tell(result: Mapping[str, Any]) -> None:
    columns = ["answers/s", "p50 ms", "p95 ms", "p99 ms", "CPU µs an answer"]
    rows = [
        [
            name,
            *(f"{figure:,.0f}" if figure > 100 else f"{figure:g}" for figure in outcome.values()),
        ]
        for name, outcome in result["scenarios"].items()
    ]
    report("The service under load", ["", *columns], rows, {"bench": "load, scenarios"})
    limits = result["budget"]
    rows = [[n, f"{r:.3f}", str(limits.get(n, ""))] for n, r in result["ratios"].items()]
    report("After / before", ["", "ratio", "at most"], rows, result)


if __name__ == "__main__":
    main()
