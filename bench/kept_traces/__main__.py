"""Bad requests and their traces: which of them the store has, whole and with their log lines.

Starts ``make demo`` with a second service beside it (``bench.kept_traces.target``), both with two
workers, injects faults one after another, and sends requests with trace ids of its own that are not
sampled.
Every one that was answered 5xx, broke off, exceeded its objective, was N+1 or failed in the
background must be in the store within ten seconds: one server span below the client's, no span
without its parent, all of its queries, and as many log lines as the service has printed.

``python -m bench.kept_traces --minutes 10``
"""

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from bench.gameday.stack import Stack
from bench.kept_traces.comparison import WITHIN, Comparison, Stored, lines, printed_lines
from bench.kept_traces.faults import FAULTS
from bench.kept_traces.target import NAME, TIMES
from bench.kept_traces.witness import (
    API,
    WAITED,
    Seen,
    Witness,
    add_times,
    of_api,
    of_target,
    unanswered,
)
from stack.drills.drill import background
from stack.readiness import LOOPBACK, free_port, http_answers
from stack.text_table import text_table

RATES = {API: 8.0, NAME: 8.0}
"""Requests a second, besides the demo's traffic."""
_HEADER = ("service", "bad because", "requests", "stored whole", "within 10 s", "median", "longest")
_WARM_SECONDS = 5.0


@contextmanager
def _target(folder: Path, store: str, port: int) -> Iterator[int]:
    """The second service; yields its process."""
    env = {"KEPT_PORT": str(port), "KEPT_FOLDER": str(folder), "OTEL_EXPORTER_OTLP_ENDPOINT": store}
    with (folder / "kept.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.kept_traces.target"],
            env={**os.environ, **env},
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 120
            while not http_answers(port, "/ok"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the target did not start: see {log.name}")
                time.sleep(0.2)
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)


async def _inject(stack: Stack, target: int, seconds: float, seen: Comparison) -> None:
    """Inject all faults within a time, each for a third of its share."""
    share = seconds / len(FAULTS)
    began = time.monotonic()
    for number, (name, inject) in enumerate(FAULTS.items()):
        await asyncio.sleep(max(0.0, began + (number + 0.3) * share - time.monotonic()))
        missing = sum(each.after is None for _, each in seen.found.values())
        spent = time.monotonic() - began
        print(f"{spent:5.0f} s  {name}; {len(seen.found)} bad, {missing} open", flush=True)
        fault = inject(stack, target)
        await asyncio.to_thread(fault.__enter__)
        try:
            await asyncio.sleep(min(share / 3, 20))
        finally:
            await asyncio.to_thread(fault.__exit__, None, None, None)
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))


async def _run(stack: Stack, target: int, port: int, seconds: float, logs: Path) -> int:
    dice = random.Random(1)
    here = stack.here.with_recorded_ports()
    store = f"http://{LOOPBACK}:{here.ports.store}"
    api = Witness(API, f"http://{LOOPBACK}:{here.ports.api}", of_api(dice), RATES[API])
    other = Witness(NAME, f"http://{LOOPBACK}:{port}", of_target(dice), RATES[NAME])
    compared = Comparison(store, lambda: [*api.seen, *other.seen])
    async with background(compared.run()):
        async with background(api.run(), other.run(), other.open_sockets()):
            await asyncio.sleep(_WARM_SECONDS)
            await _inject(stack, target, seconds, compared)
        print("waiting for the last ones", flush=True)
        await asyncio.sleep(WITHIN + 2)
    files = [here.log / "api.log", here.log / "api.log.1", logs]
    await _count_lines(compared, store, files)
    seen = [*api.seen, *other.seen]
    add_times(other.seen, logs.with_name(TIMES))
    print(_report(list(compared.found.values())))
    print(f"{len(seen)} requests, {unanswered(seen)} of them without any answer")
    late = _failures(list(compared.found.values()))
    print("\n".join(late[:30]))
    return 1 if late else 0


async def _count_lines(compared: Comparison, store: str, files: Sequence[Path]) -> None:
    """Compare the store's lines of each request with those that its service has printed."""
    printed = printed_lines(files)
    async with httpx.AsyncClient(base_url=store, timeout=15, trust_env=False) as client:
        for seen, stored in compared.found.values():
            if stored.after is not None and stored.lines < printed[seen.trace_id]:
                stored.lines = len(await lines(seen, client))
                if stored.lines < printed[seen.trace_id]:
                    stored.after = None
                    stored.problem = f"{stored.lines} of {printed[seen.trace_id]} lines"


def _report(found: Sequence[tuple[Seen, Stored]]) -> str:
    groups: dict[tuple[str, str], list[Stored]] = {}
    for seen, stored in found:
        groups.setdefault((seen.service, seen.bad), []).append(stored)
        if seen.bad != WAITED:
            groups.setdefault(("", "all but those"), []).append(stored)
    rows = []
    for (service, bad), each in sorted(groups.items(), reverse=True):
        after = [one.after for one in each if one.after is not None]
        soon = sum(seconds <= WITHIN for seconds in after)
        times = (f"{statistics.median(after):.1f} s", f"{max(after):.1f} s") if after else ("", "")
        whole = f"{len(after) / len(each):.2%}"
        rows.append((service, bad, len(each), whole, f"{soon / len(each):.2%}", *times))
    return text_table(rows, _HEADER, right=range(2, 7))


def _failures(found: Sequence[tuple[Seen, Stored]]) -> list[str]:
    return [
        f"{seen.service} {seen.kind} {seen.bad} ({seen.status}, {seen.seconds:.3f} s) "
        f"{time.strftime('%H:%M:%S', time.gmtime(seen.ended))} {seen.trace_id}: "
        + (stored.problem if stored.after is None else f"only after {stored.after:.1f} s")
        for seen, stored in found
        if seen.bad != WAITED and (stored.after is None or stored.after > WITHIN)
    ]


def main() -> int:
    """Run it and print the table; 1 if anything is missing or late."""
    parser = argparse.ArgumentParser(prog="python -m bench.kept_traces", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of traffic with faults (10)")
    parser.add_argument("--orders", type=int, default=5000, help="of the sample data (5000)")
    options = parser.parse_args()
    os.environ.setdefault("WORKERS", "2")
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="vitals-kept-")))
        folder.chmod(0o755)
        stack = Stack(folder / "data", options.orders)
        opened.callback(stack.close)
        print("starting the demo", flush=True)
        stack.wait_ready()
        here, port = stack.here.with_recorded_ports(), free_port()
        store = f"http://{LOOPBACK}:{here.ports.store}"
        target = opened.enter_context(_target(folder, store, port))
        with suppress(KeyboardInterrupt):
            return asyncio.run(_run(stack, target, port, options.minutes * 60, folder / "kept.log"))
    return 130


if __name__ == "__main__":
    sys.exit(main())
