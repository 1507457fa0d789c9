"""Named time: how much of a slow request's time by its client's clock is in parts, the right ones.

``python -m bench.parts`` runs a service on uvicorn with asyncio and with uvloop, PostgreSQL and
Redis. Each of its routes is slow for one reason; the figures are medians.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.databases import own_redis, postgresql
from bench.interleave import report
from bench.parts.target import CHUNK, CHUNKS, SLOW
from stack import readiness

LOOPS = ("asyncio", "uvloop")
ROUTES = {
    "queue": "queue",
    "middleware": "middleware",
    "dependencies": "dependencies",
    "validation": "validation",
    "endpoint": "endpoint",
    "endpoint-in-a-thread": "endpoint",
    "query": "query",
    "cache": "cache",
    "http_call": "http_call",
    "pool_wait": "pool_wait",
    "lock": "lock",
    "thread": "thread",
    "serialisation": "serialisation",
    "sending": "sending",
}
"""Routes, with the part that their time is."""
LEAST_NAMED, LEAST_RIGHT = 0.95, 0.9
"""Shares of the client's time, and of the time that was injected."""
START_SECONDS, END_SECONDS = 60, 10
TARGET = Path(__file__).with_name("target.py")


@contextmanager
def serving(loop: str, environment: dict[str, str]) -> Iterator[int]:
    """Run the service; its port."""
    port = readiness.free_port()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, str(TARGET), loop, str(port)],
        env={**os.environ, "PYTHONPATH": str(TARGET.parents[2]), **environment},
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not readiness.http_answers(port, "/quick"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the service does not start: its output is above")
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


def call(client: httpx.Client, route: str) -> float:
    """Send one request; how long it takes by the client's clock, from the proxy on."""
    began = time.perf_counter()
    if route == "queue":
        header = {"X-Request-Start": f"t={time.time():.6f}"}
        time.sleep(SLOW)
        client.get(f"/{route}", headers=header).raise_for_status()
    elif route == "validation":
        client.post(f"/{route}", json={"number": 1}).raise_for_status()
    else:
        client.get(f"/{route}").raise_for_status()
    return time.perf_counter() - began


def call_slowly(port: int, route: str) -> float:
    """Read an answer late."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(
            f"GET /{route} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        time.sleep(SLOW)
        left = 0
        while received := connection.recv(1 << 20):
            left += len(received)
    if left < CHUNKS * len(CHUNK):
        raise RuntimeError(f"/{route} answers {left} bytes")
    return time.perf_counter() - began


def measure(port: int, turns: int) -> dict[str, tuple[float, float, float]]:
    """Seconds by the client's clock, the share of them in parts, and that of the right part."""
    found = {}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for route, part in ROUTES.items():
            call(client, "quick")
            if route != "sending":
                call(client, route)  # connects
            client.get("/kept", params={"route": f"/{route}"})
            rows = []
            for _ in range(turns):
                took = call_slowly(port, route) if route == "sending" else call(client, route)
                deadline = time.monotonic() + END_SECONDS
                while not (kept := client.get("/kept", params={"route": f"/{route}"}).json()):
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"/{route} has no parts after {END_SECONDS} s")
                named = sum(kept[0].values()) - kept[0]["unattributed"]
                rows.append((took, named / took, kept[0][part] / SLOW))
            found[route] = tuple(map(statistics.median, zip(*rows, strict=True)))
    return found


def main() -> None:
    """Measure and print; the exit code says whether all is named."""
    parser = argparse.ArgumentParser(prog="python -m bench.parts", description=__doc__)
    parser.add_argument("--turns", type=int, default=7, help="requests of each kind (7)")
    options = parser.parse_args()
    rows, results, wrong = [], {}, []
    with postgresql() as database, own_redis() as (redis, _):
        environment = {"DATABASE": database.database("parts"), "REDIS": redis}
        for loop in LOOPS:
            with serving(loop, environment) as port:
                for route, (took, named, right) in measure(port, options.turns).items():
                    rows.append([loop, route, f"{took * 1e3:.1f}", f"{named:.1%}", f"{right:.1%}"])
                    results[f"{loop} {route}"] = [round(named, 4), round(right, 4)]
                    if named < LEAST_NAMED or right < LEAST_RIGHT or named > 1:
                        wrong.append(f"{loop} {route}")
    report(
        f"Slow requests of one reason that takes {SLOW * 1e3:.0f} ms",
        ["loop", "route", "client, ms", "named", "right part"],
        rows,
        {"bench": "parts", "named_and_right": results, "within_budget": not wrong},
    )
    raise SystemExit(f"not named, or wrongly: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
