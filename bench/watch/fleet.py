"""Cost of the rules and boards of many jobs and instances, on a real Prometheus.

Each instance has the series of a real metrics page. They are sent by remote write, from before now
until after it; then Prometheus's rule manager evaluates the rules, as it does beside scrapes.
"""

import gzip
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.request import Request, urlopen

import yaml
from prometheus_client.parser import text_string_to_metric_families

from bench.watch import remote_write
from bench.watch.query import run_query
from bench.watch.synthetic_history import METRICS_PAGE, RULES
from stack import readiness
from stack.process.process import Process
from stack.servers import prometheus

SCRAPE = 15
"""Seconds between two samples, and between two evaluations of the rules."""
WINDOW = 345
"""Seconds of samples that the usual window over metrics of a page reads."""
AHEAD = 300
"""Seconds within which the rules can be watched: samples are sent for them too."""
_SERIES_A_SECOND = 6000
"""How many series are sent, on a busy machine."""
_COUNTED = {"counter", "histogram", "summary"}
_FLAGS = (
    "--web.enable-remote-write-receiver",
    "--web.enable-lifecycle",
    # Samples are in memory, as those of the last hours are beside scrapes.
    "--storage.tsdb.min-block-duration=8h",
    "--storage.tsdb.max-block-duration=8h",
    "--query.timeout=10m",
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Fleet:
    """Services and their instances.

    Attributes:
        jobs: Number of services; the first is ``api``.
        instances: Of each.
        history: Seconds of samples that boards read.
    """

    jobs: int
    instances: int
    history: int = 0

    @property
    def back(self) -> int:
        """Seconds of samples before now."""
        return max(self.history, WINDOW)

    def series(self, now: int) -> Iterator[bytes]:
        """Every series of every instance, encoded for remote write."""
        moments = range(now - self.back, now + AHEAD, SCRAPE)
        who = [
            (
                remote_write.encode_label("job", job),
                remote_write.encode_label("instance", f"{job}-{number}:8000"),
            )
            for job in self.names
            for number in range(self.instances)
        ]
        for labels, samples in _page(moments):
            before, between, after = _around(labels)
            for job, instance in who:
                yield b"".join((before, instance, between, job, after, samples))

    @property
    def names(self) -> list[str]:
        """The jobs."""
        return ["api", *(f"api-{number}" for number in range(1, self.jobs))]


def _page(moments: range) -> Iterator[tuple[dict[str, str], bytes]]:
    """The series of a metrics page, and of a scrape of it, with their samples."""
    for name in ("up", "scrape_duration_seconds", "scrape_timeout_seconds"):
        value = {"up": 1.0, "scrape_duration_seconds": 0.05}.get(name, 10.0)
        yield {"__name__": name}, remote_write.encode_samples((at, value) for at in moments)
    page = gzip.decompress(METRICS_PAGE.read_bytes()).decode()
    for family in text_string_to_metric_families(page):
        grows = family.type in _COUNTED
        for number, sample in enumerate(family.samples):
            phase = number % SCRAPE
            yield (
                {"__name__": sample.name, **sample.labels},
                remote_write.encode_samples(
                    (at, _value(sample.value, at - moments[0] + phase, grows)) for at in moments
                ),
            )


def _value(value: float, seconds: int, grows: bool) -> float:  # noqa: FBT001
    """A counter grows to its value within an hour; whole counts remain whole."""
    if not grows:
        return value
    grown = value * (1 + seconds / 3600)
    return float(math.floor(grown)) if value == math.floor(value) else grown


def _around(labels: Mapping[str, str]) -> tuple[bytes, bytes, bytes]:
    """The encoded labels before ``instance``, between it and ``job``, and after."""
    return (
        remote_write.encode_labels({n: v for n, v in labels.items() if n < "instance"}),
        remote_write.encode_labels({n: v for n, v in labels.items() if "instance" < n < "job"}),
        remote_write.encode_labels({n: v for n, v in labels.items() if n > "job"}),
    )


class GroupCost(NamedTuple):
    """Cost of a rule group.

    Attributes:
        name: Its name.
        interval: Seconds between two evaluations.
        seconds: Of its fastest evaluation: others were slowed down by what else the machine did.
        median: Of all evaluations.
        rules: Seconds by rule, of the fastest evaluation of each.
    """

    name: str
    interval: float
    seconds: float
    median: float
    rules: Mapping[str, float]


class Watch:
    """A Prometheus with a fleet's samples; it runs as long as the ``with`` block."""

    def __init__(self, fleet: Fleet, folder: Path, rules: Path = RULES) -> None:
        self.fleet, self._folder, self._rules = fleet, folder, rules
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._port = readiness.free_port()
        self._config = folder / "prometheus.yml"
        self._configure([])
        program = prometheus.server(self._config, folder, self._port, None, _FLAGS)
        self._process = Process(program, log=folder / "prometheus.log")
        self.now = 0

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash."""
        return f"http://{readiness.LOOPBACK}:{self._port}"

    def __enter__(self) -> Self:
        self._process.start()
        self._process.wait_ready(lambda: prometheus.answers(self._port), seconds=60)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _configure(self, rules: list[str]) -> None:
        every = {"scrape_interval": f"{SCRAPE}s", "evaluation_interval": f"{SCRAPE}s"}
        self._config.write_text(yaml.safe_dump({"global": every, "rule_files": rules}))

    def fill(self) -> int:
        """Send the samples; returns the number of series."""
        more = self.fleet.jobs * self.fleet.instances * 1800 / _SERIES_A_SECOND
        self.now = int(time.time() + 15 + more) // SCRAPE * SCRAPE
        return remote_write.push(self._port, self.fleet.series(self.now))

    def record(self, progress: Progress) -> None:
        """Evaluate each recording rule once, and send its result for all the time before now."""
        moments = range(self.now - self.fleet.back, self.now, SCRAPE)
        for rule in _recording(self._rules):
            found = run_query(self.url, rule["expr"], at=self.now)
            progress(f"{rule['record']}: {len(found.result):,} series, {found.seconds:.1f} s")
            remote_write.push(
                self._port,
                (
                    remote_write.encode_labels({**each["metric"], "__name__": rule["record"]})
                    + remote_write.encode_samples(_wave(float(each["value"][1]), moments))
                    for each in found.result
                    if math.isfinite(float(each["value"][1]))
                ),
            )

    def start_rules(self, rules: Path | None = None) -> None:
        """Let Prometheus evaluate the rules."""
        self._configure([str((rules or self._rules) / "*.yml")])
        with urlopen(Request(f"{self.url}/-/reload", method="POST"), timeout=60):  # noqa: S310
            pass

    def group_costs(self, seconds: float) -> list[GroupCost]:
        """Watch the rule manager for a time, at most until the samples end."""
        seen: dict[str, dict[str, dict[str, Any]]] = {}
        until = min(time.time() + seconds, self.end)
        while time.time() < until:
            with urlopen(f"{self.url}/api/v1/rules", timeout=120) as response:  # noqa: S310
                groups = json.load(response)["data"]["groups"]
            for group in groups:
                if not group["lastEvaluation"].startswith("0001"):
                    seen.setdefault(group["name"], {})[group["lastEvaluation"]] = group
            time.sleep(3)
        return [_group_cost(name, [*each.values()]) for name, each in seen.items()]

    @property
    def end(self) -> float:
        """Unix time of the last samples."""
        return self.now + AHEAD

    def own(self, metric: str) -> float:
        """A value of Prometheus's own metrics."""
        with urlopen(f"{self.url}/metrics", timeout=60) as response:  # noqa: S310
            for line in response.read().decode().splitlines():
                if line.startswith(f"{metric} "):
                    return float(line.split()[1])
        return math.nan


def _group_cost(name: str, evaluations: list[dict[str, Any]]) -> GroupCost:
    times = sorted(each["evaluationTime"] for each in evaluations)
    rules: dict[str, float] = {}
    for group in evaluations:
        for number, rule in enumerate(group["rules"]):
            key = f"{number} {rule['name']}"
            rules[key] = min(rules.get(key, math.inf), rule["evaluationTime"])
    return GroupCost(name, evaluations[0]["interval"], times[0], times[len(times) // 2], rules)


def _recording(folder: Path) -> list[dict[str, str]]:
    return [
        rule
        for path in sorted(folder.glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    ]


def _wave(value: float, moments: range) -> Iterator[tuple[int, float]]:
    return ((at, value * (0.9 + 0.1 * math.sin(at / 600))) for at in moments)
