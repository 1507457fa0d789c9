"""Cost of a metric update and of the metrics page, against prometheus_client in the same run.

``python -m bench.meter``
"""

import argparse
import gc
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import exposition as openmetrics

from bench.interleave import report
from vitals.metrics.aggregation import SeriesRegistry
from vitals.metrics.catalogue import (
    HTTP_REQUEST_DURATION,
    SLO_EVENTS,
    RequestLabels,
    SloEventLabels,
)
from vitals.metrics.meter import Meter
from vitals.metrics.text_format import render
from vitals.metrics.worker_directory import WorkerDirectory
from vitals.metrics.worker_sharing import join

ROUTES, STATUSES = 50, ("200", "201", "404", "422", "500")
UPDATES = 20_000
BUDGET = {"update": 0.35, "page": 0.1, "page of 8 workers": 0.05}
"""Budgets as shares of prometheus_client's cost: of its observe in one process, of its page, and of
its page of 8 workers."""
SERIES_MEGABYTES = 20
"""Memory budget of 10,000 series."""

Variant = Callable[[], None]


def requests() -> list[RequestLabels]:
    """The label sets of the rendered page."""
    return [
        RequestLabels("GET", f"/api/things/{number}/{{id}}", status, "")
        for number in range(ROUTES)
        for status in STATUSES
    ]


def ours(meter: Meter) -> None:
    """Fill a meter: every bucket of every series, and its exemplar."""
    family = meter.histogram(HTTP_REQUEST_DURATION)
    for labels in requests():
        child = family.bind(labels)
        for bound in HTTP_REQUEST_DURATION.buckets:
            child.observe(bound, lambda: "ab" * 16)


def theirs(registry: CollectorRegistry) -> Any:
    """The same with prometheus_client."""
    family = prometheus_client.Histogram(
        HTTP_REQUEST_DURATION.name,
        HTTP_REQUEST_DURATION.help,
        HTTP_REQUEST_DURATION.label_names,
        buckets=HTTP_REQUEST_DURATION.buckets,
        registry=registry,
    )
    for labels in requests():
        child = family.labels(*labels)
        for bound in HTTP_REQUEST_DURATION.buckets:
            child.observe(bound, {"trace_id": "ab" * 16} if "MULTI" not in os.environ else None)
    return family


def repeated(update: Callable[[], object]) -> Variant:
    """Many updates in one call."""

    def variant() -> None:
        for _ in range(UPDATES):
            update()

    return variant


def compare(variants: dict[str, Variant], rounds: int) -> dict[str, float]:
    """Seconds per call of each variant: the 20th percentile of interleaved rounds."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        gc.collect()
        for name, variant in variants.items():
            started = perf_counter()
            variant()
            taken[name].append(perf_counter() - started)
    return {name: statistics.quantiles(each, n=5)[0] for name, each in taken.items()}


def updates(folder: Path) -> dict[str, Variant]:
    """Variants of one update, ours also as one of several workers."""
    alone, shared = Meter(), Meter()
    join(shared, "bench", folder)
    registry = CollectorRegistry()
    labels = requests()[0]
    histogram = theirs(registry)
    event = SloEventLabels("latency", "/", "good")
    counter = prometheus_client.Counter("slo_events", "Events.", event._fields, registry=registry)
    child, counted = histogram.labels(*labels), counter.labels(*event)
    variants: dict[str, Variant] = {"an empty call": repeated(lambda: None)}
    for name, meter in (("", alone), (", shared", shared)):
        observed = meter.histogram(HTTP_REQUEST_DURATION).bind(labels)
        hit = meter.counter(SLO_EVENTS).bind(event)
        variants[f"observe{name}"] = repeated(lambda observed=observed: observed.observe(0.03))  # type: ignore[misc]
        variants[f"inc{name}"] = repeated(lambda hit=hit: hit.inc())  # type: ignore[misc]
    events = alone.counter(SLO_EVENTS)
    variants["bind and inc"] = repeated(
        lambda: events.bind(SloEventLabels("latency", "/", "good")).inc()
    )
    variants["prometheus_client observe"] = repeated(lambda: child.observe(0.03))
    variants["prometheus_client inc"] = repeated(counted.inc)
    variants["prometheus_client labels and inc"] = repeated(
        lambda: counter.labels("latency", "/", "good").inc()
    )
    return variants


def pages() -> dict[str, Variant]:
    """Variants of rendering one process's page."""
    meter, registry = Meter(), CollectorRegistry()
    ours(meter)
    theirs(registry)
    return {
        "text": lambda: _ours(meter, exemplars=False),
        "OpenMetrics": lambda: _ours(meter, exemplars=True),
        "prometheus_client text": lambda: _use(prometheus_client.generate_latest(registry)),
        "prometheus_client OpenMetrics": lambda: _use(openmetrics.generate_latest(registry)),  # type: ignore[no-untyped-call]
    }


def pages_of_workers(folder: Path, count: int) -> dict[str, Variant]:
    """Variants of rendering the page of all workers in one of them."""
    started = []
    for kind in ("ours", "theirs"):
        place = folder / f"{kind}-{count}"
        place.mkdir(mode=0o700)
        started += [
            subprocess.Popen(  # noqa: S603  # ourselves
                [sys.executable, "-m", "bench.meter", f"--fill-{kind}", str(place)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "MULTI": "1", "PROMETHEUS_MULTIPROC_DIR": str(place)},
            )
            for _ in range(count - (kind == "ours"))
        ]
    for process in started:
        assert process.stdout  # noqa: S101
        process.stdout.readline()
    _STARTED.extend(started)
    meter = Meter()
    ours(meter)
    join(meter, "bench", folder / f"ours-{count}")
    seen = WorkerDirectory(folder / f"ours-{count}" / "bench")
    assert len(seen.sources(SeriesRegistry())) == count  # noqa: S101
    return {
        f"text of {count}": lambda: _ours(meter, exemplars=False),
        f"OpenMetrics of {count}": lambda: _ours(meter, exemplars=True),
        f"prometheus_client text of {count}": lambda: _multiprocess(folder / f"theirs-{count}"),
    }


_STARTED: list[subprocess.Popen[bytes]] = []
"""The other workers; they end when their standard input does."""


def _multiprocess(folder: Path) -> None:
    from prometheus_client import multiprocess  # noqa: PLC0415  # wants the folder at import

    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    _use(prometheus_client.generate_latest(registry))


def _ours(meter: Meter, *, exemplars: bool) -> None:
    _use("".join(render(meter.collect(exemplars=exemplars), as_openmetrics=exemplars)).encode())


def _use(page: bytes) -> None:
    if len(page) < 100_000:
        raise RuntimeError("the page is too short")


def fill(kind: str, folder: str) -> None:
    """Run as one of several workers, until standard input ends."""
    if kind == "ours":
        meter = Meter()
        join(meter, "bench", folder)
        ours(meter)
    else:
        theirs(CollectorRegistry())
    print("ready", flush=True)
    sys.stdin.read()


MEMORY = """
import resource, sys
from vitals.metrics.meter import Meter
from vitals.metrics.worker_sharing import join
from vitals.metrics.catalogue import CACHE_LOAD_DURATION, HTTP_REQUEST_DURATION, RequestLabels
from vitals.metrics.text_format import render
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
meter = Meter(series_per_metric=10_000)
join(meter, "bench", sys.argv[1])
"".join(render(meter.collect()))
before = resident()
family = meter.histogram(HTTP_REQUEST_DURATION)
children = [
    family.bind(RequestLabels("GET", f"/api/things/{number}/{{id}}", "200", ""))
    for number in range(9_990)
]
for child in children:
    child.observe(0.03)
filled = resident()
list(meter.collect())
print(filled - before, resident() - before)
"""


def memory(folder: Path) -> tuple[float, float]:
    """Megabytes that 10,000 histogram series take: recorded, and once they were scraped."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", MEMORY, str(folder)], capture_output=True, text=True, check=True
    )
    recorded, scraped = map(int, done.stdout.split())
    return recorded / 1e6, scraped / 1e6


def main() -> None:
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.meter", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each variant (15)")
    parser.add_argument("--fill-ours", help=argparse.SUPPRESS)
    parser.add_argument("--fill-theirs", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fill_ours or options.fill_theirs:
        fill("ours" if options.fill_ours else "theirs", options.fill_ours or options.fill_theirs)
        return
    with tempfile.TemporaryDirectory(dir=_memory_folder()) as folder:
        try:
            measure(Path(folder), options.rounds)
        finally:
            for process in _STARTED:
                process.communicate()


def measure(folder: Path, rounds: int) -> None:
    """Measure and report."""
    each = compare(updates(folder), rounds)
    empty = each.pop("an empty call")
    update = {name: (seconds - empty) / UPDATES for name, seconds in each.items()}
    page = compare(pages(), rounds)
    for count in (4, 8):
        page |= compare(pages_of_workers(folder, count), max(4, rounds // 3))
    recorded, scraped = memory(folder)
    alternative = update["prometheus_client observe"]
    ratios = {
        "update": max(update["observe"], update["observe, shared"]) / alternative,
        "page": max(
            page["text"] / page["prometheus_client text"],
            page["OpenMetrics"] / page["prometheus_client OpenMetrics"],
        ),
        "page of 8 workers": page["text of 8"] / page["prometheus_client text of 8"],
    }
    within_budget = all(ratios[name] <= most for name, most in BUDGET.items())
    within_budget = within_budget and scraped <= SERIES_MEGABYTES
    rows = [
        [name, f"{seconds * 1e9:.0f} ns", f"{seconds / alternative:.3f} x its observe"]
        for name, seconds in update.items()
    ]
    rows += [[name, f"{seconds * 1e3:.2f} ms", ""] for name, seconds in page.items()]
    rows += [
        [f"{name}, ratio", f"{ratio:.3f}", f"budget {BUDGET[name]}"]
        for name, ratio in ratios.items()
    ]
    rows.append(["10,000 histograms", f"{recorded:.1f} MB", f"{scraped:.1f} MB once scraped"])
    figures = {name: round(seconds * 1e9) for name, seconds in update.items()}
    report(
        f"The meter ({ROUTES} routes x {len(STATUSES)} statuses x 14 buckets a page)",
        ["", "", ""],
        rows,
        {
            "bench": "meter",
            "update_ns": figures,
            "page_ms": {name: round(seconds * 1e3, 2) for name, seconds in page.items()},
            "ratios": {name: round(ratio, 4) for name, ratio in ratios.items()},
            "budget": BUDGET,
            "megabytes": round(scraped, 1),
            "within_budget": within_budget,
        },
    )
    raise SystemExit(not within_budget)


def _memory_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # a folder is made in it


if __name__ == "__main__":
    main()
