"""What all signals cost a request: ours, OpenTelemetry, Logfire, Sentry, ddtrace and Elastic APM.

``python -m bench.price``. One service with a query, a Redis GET and a log line a request runs bare
and with each, by turns, and sends to a collector that answers. Each turn is a process of its own,
on a CPU of its own: by where its parts happen to lie in memory, two processes of one service differ
by up to 15 % for as long as they live, so that what one process of each used would tell of luck.
The figure is the processor time of a service's process, all threads, from before the first request
of a turn until what it exports has left. Each has an environment of its own, installed from PyPI
when it runs for the first time.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from operator import truediv
from pathlib import Path
from threading import Thread

from bench.databases import own_redis, postgresql
from bench.interleave import report
from bench.price.environments import interpreter
from bench.price.page import write
from stack import readiness

ROOT = Path(__file__).parents[2]
NAMES = {
    "bare": "bare",
    "vitals-metrics": "Vitals, metrics only",
    "vitals-unprofiled": "Vitals, metrics without loop watch and profile",
    "vitals-without-parts": "Vitals, metrics without the parts of requests' time",
    "vitals-tail": "Vitals, 10 % and all bad",
    "vitals-all": "Vitals, everything",
    "vitals-otel": 'Vitals, everything, tracer="opentelemetry"',
    "opentelemetry-10": "OpenTelemetry, 10 %",
    "opentelemetry-all": "OpenTelemetry, everything",
    "elastic": "Elastic APM",
    "ddtrace": "ddtrace",
    "sentry": "Sentry",
    "logfire": "Logfire",
}
BUDGETS = {"vitals-tail": 1.08, "vitals-all": 1.12}
"""Most processor time of a request, against bare."""
OTEL_SHARE = 0.2
"""Most of what OpenTelemetry adds that ours may add, with everything kept."""
CPUS = os.sched_getaffinity(0)
"""Of several, the service has the first one, and all others the rest."""
CLIENTS = 4
WARM_UP = 400
"""Requests before the first one that counts."""
DRAIN_SECONDS = 1.4
"""How long exporters may take after the last request; their delays are set to a second."""
START_SECONDS = 60


@contextmanager
def serving(variant: str, environment: Mapping[str, str], logs: Path) -> Iterator[tuple[int, int]]:
    """Run a variant; its pid and port."""
    port = readiness.free_port()
    with (logs / f"{variant}.log").open("w") as output:
        process = subprocess.Popen(  # noqa: S603
            [interpreter(variant), str(Path(__file__).with_name("service.py")), variant, str(port)],
            env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
            cwd=logs,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        if len(cpus := sorted(CPUS)) > 1:
            os.sched_setaffinity(process.pid, cpus[:1])
        try:
            wait_until_served(process, port, logs / f"{variant}.log")
            yield process.pid, port
        finally:
            process.kill()
            process.wait()


def wait_until_served(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Wait until a service answers.

    Raises:
        RuntimeError: It does not; the message holds its output.
    """
    deadline = time.monotonic() + START_SECONDS
    while not readiness.http_answers(port, "/products/1"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"it does not start: {log.read_text()[-2_000:]}")
        time.sleep(0.1)


def processor_seconds(pid: int) -> float:
    """Processor time of all threads of a process, ended ones included (``clock_getcpuclockid``)."""
    return time.clock_gettime((~pid << 3) | 2)


def load(port: int, requests: int) -> None:
    """Send requests over a few connections at once."""

    def send(count: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        for number in range(count):
            connection.request("GET", f"/products/{number % 100}")
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                raise RuntimeError(f"it answers {response.status}")
        connection.close()

    threads = [Thread(target=send, args=(requests // CLIENTS,)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(
    variants: Sequence[str], environments: Mapping[str, Mapping[str, str]], size: tuple[int, int]
) -> dict[str, list[float]]:
    """Seconds of processor time a request, by variant and round.

    Args:
        variants: The variants.
        environments: Their environments.
        size: The rounds, and the requests of a turn.
    """
    rounds, requests = size
    taken: dict[str, list[float]] = {variant: [] for variant in variants}
    with tempfile.TemporaryDirectory() as logs:
        for number in range(rounds):
            shift = number % len(variants)
            for name in (*variants[shift:], *variants[:shift]):
                with serving(name, environments[name], Path(logs)) as (pid, port):
                    load(port, WARM_UP)
                    time.sleep(DRAIN_SECONDS)
                    before = processor_seconds(pid)
                    load(port, requests)
                    time.sleep(DRAIN_SECONDS)
                    taken[name].append((processor_seconds(pid) - before) / requests)
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return taken


def quartiles(shares: list[float]) -> tuple[float, float]:
    """The first and the third quartile."""
    first, _, third = statistics.quantiles(shares, n=4)
    return first, third


def run(variants: list[str], rounds: int, requests: int) -> tuple[dict[str, list[float]], object]:
    """Run the services and measure them; also what arrived at the collector."""
    for variant in variants:
        print(f"environment of {variant}: {interpreter(variant)}", file=sys.stderr, flush=True)
    with ExitStack() as stack:
        if len(cpus := sorted(CPUS)) > 1:
            os.sched_setaffinity(0, cpus[1:])
            stack.callback(os.sched_setaffinity, 0, CPUS)
        database = stack.enter_context(postgresql())
        url = database.database("price")
        database.sql(
            "CREATE TABLE products (number int PRIMARY KEY, name text);"
            "INSERT INTO products SELECT n, 'product ' || n FROM generate_series(0, 999) n;"
            "GRANT ALL ON products TO PUBLIC;",
            "price",
        )
        redis, _ = stack.enter_context(own_redis())
        port = readiness.free_port()
        collector = subprocess.Popen(  # noqa: S603
            [sys.executable, str(Path(__file__).with_name("collector.py")), str(port)]
        )
        stack.callback(collector.wait)
        stack.callback(collector.kill)
        environment = {
            "COLLECTOR": f"http://127.0.0.1:{port}",
            "DATABASE": url,
            "REDIS": redis,
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_BSP_SCHEDULE_DELAY": "1000",
            "OTEL_BLRP_SCHEDULE_DELAY": "1000",
            "DD_TRACE_AGENT_URL": f"http://127.0.0.1:{port}",
            "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
            "DD_REMOTE_CONFIGURATION_ENABLED": "false",
            "DD_LOGS_INJECTION": "true",
            "DD_SERVICE": "shop",
        }
        others = {"OTEL_EXPORTER_OTLP_ENDPOINT": environment["COLLECTOR"]}
        environments = {
            variant: environment if variant.startswith("vitals") else environment | others
            for variant in variants
        }
        taken = measure(variants, environments, (rounds, requests))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=10) as answer:
            return taken, json.load(answer)


def main() -> None:
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.price", description=__doc__)
    parser.add_argument("only", nargs="*", help=f"variants besides bare: {', '.join(NAMES)}")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each variant (12)")
    parser.add_argument("--requests", type=int, default=1_000, help="requests of a turn (1000)")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    chosen = list(dict.fromkeys(["bare", *(options.only or NAMES)]))
    taken, arrived = run(chosen, options.rounds, options.requests)
    bare = statistics.median(taken["bare"])
    # By turns, because what else the machine does changes from one to the next.
    seconds = {
        name: bare * statistics.median(map(truediv, each, taken["bare"]))
        for name, each in taken.items()
    }
    ratios = {name: round(each / bare, 3) for name, each in seconds.items()}
    spread = {
        name: [round(share, 2) for share in quartiles(list(map(truediv, each, taken["bare"])))]
        for name, each in taken.items()
    }
    exceeded = [name for name, most in BUDGETS.items() if ratios.get(name, 0.0) > most]
    if "opentelemetry-all" in seconds and "vitals-all" in seconds:
        share = (seconds["vitals-all"] - bare) / (seconds["opentelemetry-all"] - bare)
        exceeded += ["vitals-all, of what OpenTelemetry adds"] if share > OTEL_SHARE else []
    report(
        "Processor time of a request with a query, a Redis GET and a log line",
        ["", "µs", "added, µs", "of bare"],
        [
            [
                NAMES[name],
                *(f"{each * 1e6:.0f}" for each in (used, used - bare)),
                f"{used / bare:.2f}",
            ]
            for name, used in seconds.items()
        ],
        {
            "bench": "price",
            "us": {name: round(each * 1e6, 1) for name, each in seconds.items()},
            "of_bare": ratios,
            "quartiles_of_bare": spread,
            "arrived": arrived,
            "within_budget": not exceeded,
        },
    )
    if options.write:
        named = {NAMES[name]: each for name, each in seconds.items()}
        spreads = {NAMES[name]: (least, most) for name, (least, most) in spread.items()}
        write(named, spreads, options.rounds, ROOT / "docs")
    raise SystemExit(f"over the budget: {', '.join(exceeded)}" if exceeded else 0)


if __name__ == "__main__":
    main()
