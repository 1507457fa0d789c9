"""Synthetic history: a service with many instances, scraped for an hour, recorded for a month.

The hour is made from one real metrics page of our service: each counter grows to its value, on
every instance. Then the recording rules are evaluated at its end, and their results are extended
over the month. All of it is loaded into a real Prometheus with promtool's backfill.
"""

import gzip
import math
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from alerts.rule_files import recording_passes
from bench.watch.query import run_query
from stack.tsdb_replay import TsdbReplay, promtool

ROOT = Path(__file__).parents[2]
METRICS_PAGE = ROOT / "tests" / "browser" / "metrics.txt.gz"
RULES = ROOT / "prometheus" / "rules"
_HOUR, _DAY = 3600, 86400
_SCRAPE = 30
_RECORDED = 60
_RECORDED_LAST_HOUR = 15
_RECORDED_SERIES = '{__name__=~".+:.+:.+"}'
_COUNTED = {"counter", "histogram", "summary"}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class SyntheticHistory:
    """A synthetic history.

    Attributes:
        instances: Number of instances, each with all series of a real page.
        days: Length of the recorded series in days.
        end: Unix time of the last sample.
    """

    instances: int
    days: int
    end: int

    def make(self, folder: Path, progress: Progress) -> None:
        """Write Prometheus blocks to a folder; takes minutes for a month."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        progress(f"an hour of {self.instances} instances")
        write_blocks(folder, self._scraped())
        passes = recording_passes()
        for number in range(passes):
            progress(f"recording, pass {number + 1} of {passes}")
            with TsdbReplay(folder) as prometheus:
                self._record(folder, prometheus.url)
        with TsdbReplay(folder) as prometheus:
            recorded = [
                (found["metric"], float(found["value"][1]))
                for found in run_query(prometheus.url, _RECORDED_SERIES, at=self.end).result
            ]
        for day in range(self.days, 0, -1):
            progress(f"{len(recorded)} recorded series, {day} days ago")
            write_blocks(folder, self._recorded(recorded, day))

    def _scraped(self) -> Iterator[str]:
        moments = range(self.end - _HOUR, self.end + 1, _SCRAPE)
        page = gzip.decompress(METRICS_PAGE.read_bytes()).decode()
        for family in text_string_to_metric_families(page):
            grows = family.type in _COUNTED
            for sample in family.samples:
                for number in range(self.instances):
                    own = {"job": "api", "instance": f"api-{number}:8000"}
                    series = _series(sample.name, {**sample.labels, **own})
                    share = 0.5 + number / self.instances
                    for at in moments:
                        part = (at - moments[0]) / _HOUR if grows else 1.0
                        yield f"{series} {sample.value * share * part:.9g} {at}"
        for number in range(self.instances):
            for at in moments:
                yield f'up{{job="api",instance="api-{number}:8000"}} 1 {at}'

    def _record(self, folder: Path, url: str) -> None:
        groups = [
            {**group, "rules": [rule for rule in group["rules"] if "record" in rule]}
            for file in sorted(RULES.glob("*.yml"))
            for group in yaml.safe_load(file.read_text())["groups"]
        ]
        rules = folder / "recording.rules"
        rules.write_text(yaml.safe_dump({"groups": [g for g in groups if g["rules"]]}))
        span = [f"--start={self.end - 60}", f"--end={self.end}", f"--eval-interval={_SCRAPE}s"]
        where = [f"--url={url}", f"--output-dir={folder}"]
        promtool("create-blocks-from", "rules", *where, *span, str(rules))

    def _recorded(self, recorded: list[tuple[dict[str, str], float]], day: int) -> Iterator[str]:
        """One day of recorded series, each as a sine wave."""
        first, last = self.end - day * _DAY, self.end - (day - 1) * _DAY
        if day == 1:
            last -= 90  # the real evaluations follow
        moments = [*range(first, last, _RECORDED)]
        if day == 1:
            moments = [at for at in moments if at < self.end - _HOUR]
            moments += range(self.end - _HOUR, last, _RECORDED_LAST_HOUR)
        for labels, value in recorded:
            own = {name: text for name, text in labels.items() if name != "__name__"}
            series = _series(labels["__name__"], own)
            phase = zlib.crc32(series.encode()) % 628 / 100
            for at in moments:
                yield f"{series} {value * (0.8 + 0.2 * math.sin(at / 7200 + phase)):.9g} {at}"


def _series(name: str, labels: Mapping[str, str]) -> str:
    written = [f'{label}="{_escape(text)}"' for label, text in labels.items()]
    return f"{name}{{{','.join(written)}}}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def write_blocks(folder: Path, lines: Iterator[str]) -> None:
    """Add lines of OpenMetrics to a folder of blocks, a block a day."""
    text = folder / "samples.om"
    with text.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.write("# EOF\n")
    promtool(
        "create-blocks-from", "openmetrics", "--max-block-duration=24h", str(text), str(folder)
    )
    text.unlink()


def print_progress(what: str) -> Progress:
    """Print progress messages with the elapsed time."""
    begun = time.monotonic()
    return lambda message: print(
        f"{what}: {message} ({time.monotonic() - begun:.0f} s)", flush=True
    )
