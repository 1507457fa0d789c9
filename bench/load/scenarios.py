"""Load scenarios: locust users, and wrk if installed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.load.server import PRODUCTS, USERS, Running, SeededDatabase

VISITORS = Path(__file__).with_name("visitors.py")


class LoadError(Exception):
    """A load test failed."""


@dataclass(frozen=True)
class ScenarioResult:
    """Result of a scenario.

    Attributes:
        rate: Responses per second.
        p50: Median in milliseconds, likewise the other percentiles.
        cpu_us: Processor time of the service per response, in microseconds.
    """

    rate: float
    p50: float
    p95: float
    p99: float
    cpu_us: float


def run(
    fixture: SeededDatabase,
    server: Running,
    visitors: Iterable[str],
    *,
    users: int,
    seconds: int,
    only: str = "",
) -> ScenarioResult:
    """Run a scenario.

    Args:
        fixture: The seeded shop.
        server: The running service.
        visitors: Names of classes in `bench.load.visitors`.
        users: Number of concurrent users.
        seconds: Duration.
        only: Name of the requests to evaluate; all by default.

    Raises:
        LoadError: A request failed, or locust did.
    """
    program = [sys.executable, "-m", "locust", "--locustfile", str(VISITORS), "--headless"]
    options = ["--users", str(users), "--spawn-rate", "1000", "--run-time", f"{seconds}s"]
    flags = ["--json", "--skip-log", "--host", server.url]
    environment = {"LOAD_PASSWORD": fixture.password, "LOAD_USERS": str(USERS)}
    before = server.cpu_seconds()
    done = subprocess.run(  # noqa: S603 - locust
        [*program, *options, *flags, *visitors],
        env=os.environ | environment | {"LOAD_PRODUCTS": str(PRODUCTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    taken = server.cpu_seconds() - before
    try:
        entries = json.loads(done.stdout)
    except ValueError:
        raise LoadError(f"locust failed: {done.stderr[-2000:]}") from None
    failed = sum(entry["num_failures"] for entry in entries)
    if failed or not entries:
        raise LoadError(f"{failed} requests of {', '.join(visitors)} failed: {done.stderr[-500:]}")
    times: Counter[float] = Counter()
    for entry in entries:
        if not only or entry["name"] == only:
            for milliseconds, number in entry["response_times"].items():
                times[float(milliseconds)] += number
    every = sum(entry["num_requests"] for entry in entries)
    p50, p95, p99 = (_percentile(times, share) for share in (0.5, 0.95, 0.99))
    return ScenarioResult(times.total() / seconds, p50, p95, p99, taken / every * 1e6)


def _percentile(times: Counter[float], share: float) -> float:
    seen = 0
    for milliseconds in sorted(times):
        seen += times[milliseconds]
        if seen >= times.total() * share:
            return milliseconds
    return 0.0


def wrk(server: Running, path: str, seconds: int) -> float | None:
    """Requests per second of a path, measured by wrk; None if it is not installed."""
    program = shutil.which("wrk")
    if program is None:
        return None
    command = [program, "-t1", "-c16", f"-d{seconds}s", server.url + path]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return rate_of(output)


def rate_of(output: str) -> float:
    """Parse the requests per second of wrk's output.

    Raises:
        LoadError: The output has none.
    """
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if found is None:
        raise LoadError(f"unexpected output of wrk: {output[-500:]}")
    return float(found[1])
