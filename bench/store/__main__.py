"""The store of traces and logs: what 500 requests a second cost, and how long searches take.

It sends 2,500 spans and 1,000 log lines a second to a store of its own, at a steady pace, and takes
the store's processor time and resident memory meanwhile. Then it fills it up to a million spans, as
fast as it takes them, and searches, alone and while it is filled further.

``python -m bench.store``
"""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx
import psutil

from bench.budget import exceeded, of
from bench.interleave import report
from bench.store.telemetry import LINES, NEEDLE, QUERIES, REQUESTS, batch
from stack import readiness

RATE = 500
"""Requests a second."""
_PROTOBUF = {"Content-Type": "application/x-protobuf"}
_SEARCHES = {
    "a trace by its id": "",
    "newest failures of a route": '{ span.http.route = "/orders" && status = error }',
    "slow, by duration": "{ kind = server && duration > 400ms }",
    "a user's requests": f'{{ span.enduser.id = "{NEEDLE}" }}',
    "by a pattern of names": '{ name =~ ".*users.*" }',
    "a user who is not there": '{ span.enduser.id = "nobody" }',
    "a word that nothing has": '{ kind = server } && { span.url.path =~ "(?i).*nothing.*" }',
    "a pattern that nothing matches": '{ span.url.path =~ "/[a-n]othing.*" }',
}
_LOGS = {
    "newest lines": '{service_name="shop"}',
    "lines of a trace": "",
    "a word that is rare": f'{{service_name="shop"}} |= "of {NEEDLE} failed"',
    "a word that is not there": '{service_name="shop"} |= "no such word"',
    "a word, whatever its case": '{service_name="shop"} |~ "(?i)CONNECTION REFUSED"',
    "a pattern that nothing matches": '{service_name="shop"} |~ "no such w[aeiou]rd"',
    "lines by level, a minute each": 'sum by (level) (count_over_time({service_name="shop"}[1m]))',
}


class Store:
    """A store in a process of its own, and telemetry to send to it."""

    def __init__(self, folder: Path) -> None:
        port = readiness.free_port()
        command = ["-m", "stack.store", f"--listen=127.0.0.1:{port}", f"--data={folder}"]
        options = ["--limit=4GB", "--timeout=60s"]
        self._process = subprocess.Popen([sys.executable, *command, *options])  # noqa: S603
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=90)
        self._usage = psutil.Process(self._process.pid)
        self._dice = random.Random(1)
        while not readiness.http_answers(port, "/ready"):
            time.sleep(0.05)

    def batch(self) -> tuple[bytes, bytes]:
        """Telemetry of `REQUESTS` requests that began within the last second."""
        return batch(self._dice, 1.0)

    def send(self, bodies: tuple[bytes, bytes]) -> float:
        """Send a batch; returns the seconds until both parts were acknowledged."""
        began = time.perf_counter()
        for path, body in zip(("/v1/traces", "/v1/logs"), bodies, strict=True):
            self.client.post(path, content=body, headers=_PROTOBUF).raise_for_status()
        return time.perf_counter() - began

    @property
    def processor_seconds(self) -> float:
        """Processor time of all its threads."""
        times = self._usage.cpu_times()
        return float(times.user + times.system)

    @property
    def resident(self) -> float:
        """Resident memory, in MB."""
        return float(self._usage.memory_info().rss) / 1e6

    def close(self) -> None:
        """End it."""
        self.client.close()
        self._process.terminate()
        self._process.wait(30)


def steady(store: Store, seconds: float) -> dict[str, float]:
    """Send at the rate; returns the share of a core, the most memory in MB and latencies in ms."""
    waiting = [store.batch() for _ in range(int(RATE / REQUESTS * seconds))]
    waits, most = [], 0.0
    used, began = store.processor_seconds, time.perf_counter()
    for number, bodies in enumerate(waiting):
        time.sleep(max(0.0, began + number * REQUESTS / RATE - time.perf_counter()))
        waits.append(store.send(bodies))
        most = max(most, store.resident)
    elapsed = time.perf_counter() - began
    return {
        "share of a core": (store.processor_seconds - used) / elapsed,
        "requests a second": len(waiting) * REQUESTS / elapsed,
        "resident, MB": most,
        "acknowledged after, ms": statistics.median(waits) * 1e3,
        "acknowledged after, ms, p99": statistics.quantiles(waits, n=100)[98] * 1e3,
    }


def fill(store: Store, spans: int) -> tuple[float, float]:
    """Send until it has so many spans; returns spans a second, and the most memory in MB."""
    already = int(_metric(store, 'vitals_store_stored_total{kind="spans"}'))
    sent, took, most = 0, 0.0, 0.0
    while already + sent < spans:
        took += store.send(store.batch())
        sent += REQUESTS * (1 + QUERIES)
        most = max(most, store.resident)
    return sent / took if took else 0.0, most


def searches(store: Store, turns: int) -> dict[str, float]:
    """Median duration of each search, in ms."""
    newest = store.client.get("/api/search", params={"limit": 1}).json()["traces"][0]["traceID"]
    found = {}
    for name, query in _SEARCHES.items():
        path = "/api/search" if query else f"/api/traces/{newest}"
        found[f"traces: {name}"] = _median(store, turns, path, {"q": query} if query else {})
    start = str(time.time_ns() - 3_600 * 10**9)
    for name, query in _LOGS.items():
        asked = query or f'{{service_name="shop"}} | trace_id="{newest}"'
        given = {"query": asked, "start": start, "step": "60s", "limit": "100"}
        found[f"logs: {name}"] = _median(store, turns, "/loki/api/v1/query_range", given)
    return found


def _median(store: Store, turns: int, path: str, given: dict[str, str]) -> float:
    waits = []
    for _ in range(turns):
        began = time.perf_counter()
        store.client.get(path, params=given).raise_for_status()
        waits.append((time.perf_counter() - began) * 1e3)
    return statistics.median(waits)


@contextmanager
def sending(store: Store) -> Iterator[Callable[[], float]]:
    """Send at the rate meanwhile; yields how late the slowest batch was, in ms."""
    waiting = [store.batch() for _ in range(50)]
    stop, worst = Event(), [0.0]

    def send() -> None:
        began, number = time.perf_counter(), 0
        while not stop.wait(max(0.0, began + number * REQUESTS / RATE - time.perf_counter())):
            worst[0] = max(worst[0], store.send(waiting[number % len(waiting)]) * 1e3)
            number += 1

    thread = Thread(target=send)
    thread.start()
    try:
        yield lambda: worst[0]
    finally:
        stop.set()
        thread.join()


def _metric(store: Store, name: str) -> float:
    lines = store.client.get("/metrics").text.splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


def main() -> None:
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="at the steady rate (60)")
    parser.add_argument("--spans", type=int, default=1_000_000, help="searched (1000000)")
    parser.add_argument("--turns", type=int, default=3, help="of each search (3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        try:
            at_rate = steady(store, options.seconds)
            rate, most = fill(store, options.spans)
            alone = searches(store, options.turns)
            size = _metric(store, "vitals_store_size_bytes") / 1e6
            with sending(store) as worst:
                beside = searches(store, options.turns)
                latest = worst()
            most = max(most, store.resident)
        finally:
            store.close()
    measured = {
        "share of a core": at_rate["share of a core"],
        "resident, MB": max(most, at_rate["resident, MB"]),
        "acknowledged beside searches, ms": latest,
    }
    failures = exceeded(measured, of("store"))
    report(
        f"{RATE} requests a second ({RATE * (1 + QUERIES)} spans, {RATE * LINES} lines)",
        ["", "measured"],
        [[name, f"{value:.3g}"] for name, value in at_rate.items()]
        + [["spans a second, at most", f"{rate:.0f}"], ["resident at last, MB", f"{most:.0f}"]]
        + [["size of it all, MB", f"{size:.0f}"]]
        + [["slowest acknowledgement beside searches, ms", f"{latest:.0f}"]],
        {"bench": "store", "rate": at_rate, "measured": measured, "exceeded": failures},
    )
    report(
        f"Searches of {options.spans} spans, ms",
        ["", "alone", "while it is sent to"],
        [[name, f"{alone[name]:.1f}", f"{beside[name]:.1f}"] for name in alone],
        {"bench": "store", "searches": alone, "beside": beside},
    )
    raise SystemExit("; ".join(failures) or 0)


if __name__ == "__main__":
    main()
