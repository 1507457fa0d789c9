"""What happens to the service under load: locust's visitors, and wrk where it is installed."""

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

from bench.load.server import PRODUCTS, USERS, Running, Stage

VISITORS = Path(__file__).with_name("visitors.py")


class LoadError(Exception):
    """The visitors could not do what they came for."""


@dataclass(frozen=True)
class Outcome:
    """What a scenario brought.

    Attributes:
        rate: Answers a second.
        p50: Milliseconds, likewise the others.
        cpu_us: Microseconds of the service's processor time for each answer.
    """

    rate: float
    p50: float
    p95: float
    p99: float
    cpu_us: float


def run(
    stage: Stage,
    server: Running,
    visitors: Iterable[str],
    *,
    users: int,
    seconds: int,
    only: str = "",
) -> Outcome:
    """Let visitors come.

    Args:
        stage: What they must know.
        server: Where they go.
        visitors: Names of classes in `bench.load.visitors`.
        users: How many.
        seconds: For how long.
        only: The name of the requests to look at; else all.

    Raises:
        LoadError: A request failed, or locust did.
    """
    program = [sys.executable, "-m", "locust", "--locustfile", str(VISITORS), "--headless"]
    options = ["--users", str(users), "--spawn-rate", "1000", "--run-time", f"{seconds}s"]
    said = ["--json", "--skip-log", "--host", server.url]
    told = {"LOAD_PASSWORD": stage.password, "LOAD_USERS": str(USERS)}
    before = server.cpu_seconds()
    done = subprocess.run(  # noqa: S603 - locust, from our own environment
        [*program, *options, *said, *visitors],
        env=os.environ | told | {"LOAD_PRODUCTS": str(PRODUCTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 60,
    )
    taken = server.cpu_seconds() - before
    try:
        entries = json.loads(done.stdout)
    except ValueError:
        raise LoadError(f"locust says: {done.stderr[-2000:]}") from None
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
    return Outcome(times.total() / seconds, p50, p95, p99, taken / every * 1e6)


def _percentile(times: Counter[float], share: float) -> float:
    seen = 0
    for milliseconds in sorted(times):
        seen += times[milliseconds]
        if seen >= times.total() * share:
            return milliseconds
    return 0.0


def wrk(server: Running, path: str, seconds: int) -> float | None:
    """Requests a second that wrk gets from a path; None where it is not installed."""
    program = shutil.which("wrk")
    if program is None:
        return None
    command = [program, "-t1", "-c16", f"-d{seconds}s", server.url + path]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return rate_of(said)


def rate_of(said: str) -> float:
    """Requests a second, as wrk says it.

    Raises:
        LoadError: It does not.
    """
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None:
        raise LoadError(f"wrk says: {said[-500:]}")
    return float(found[1])
