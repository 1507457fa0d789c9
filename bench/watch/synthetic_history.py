"""A past to ask about: a service of many instances, scraped for an hour, recorded for a month.

The hour is made from one real page of our service's metrics: each counter grows towards its figure,
on every instance. Then the recording rules are evaluated over its end, and what they recorded is
carried back over the month. All of it goes through promtool's backfill into a real Prometheus.
"""

import gzip
import math
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.watch.query import ask
from stack.tsdb_replay import TsdbReplay, promtool

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "tests" / "browser" / "metrics.txt.gz"
RULES = ROOT / "prometheus" / "rules"
_HOUR, _DAY = 3600, 86400
_SCRAPE = 30
_RECORDED = 60
_RECORDED_LAST_HOUR = 15
_PASSES = 3
"""Recorded series read one another, three deep."""
_RECORDED_SERIES = '{__name__=~".+:.+:.+"}'
_SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_COUNTED = re.compile(r"_(total|bucket|count|sum)$")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Past:
    """How much there is to ask about.

    Attributes:
        instances: Of one service, each with all the series of a real page.
        days: That the recorded signals reach back.
        end: Unix time of the last sample.
    """

    instances: int
    days: int
    end: int

    def make(self, folder: Path, say: Say) -> None:
        """Write the blocks of a Prometheus into a folder; takes minutes for a month."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        say(f"an hour of {self.instances} instances")
        _write(folder, self._scraped())
        for number in range(_PASSES):
            say(f"recording, pass {number + 1} of {_PASSES}")
            with TsdbReplay(folder) as prometheus:
                self._record(folder, prometheus.url)
        with TsdbReplay(folder) as prometheus:
            recorded = [
                (found["metric"], float(found["value"][1]))
                for found in ask(prometheus.url, _RECORDED_SERIES, at=self.end).result
            ]
        for day in range(self.days, 0, -1):
            say(f"{len(recorded)} recorded series, {day} days ago")
            _write(folder, self._recorded(recorded, day))

    def _scraped(self) -> Iterator[str]:
        moments = range(self.end - _HOUR, self.end + 1, _SCRAPE)
        for line in gzip.decompress(PAGE.read_bytes()).decode().splitlines():
            found = None if line.startswith("#") else _SAMPLE.match(line)
            if found:
                name, labels, value = found["name"], found["labels"], float(found["value"])
                grows = bool(_COUNTED.search(name))
                for number in range(self.instances):
                    own = f'job="api",instance="api-{number}:8000"'
                    series = f"{name}{{{labels},{own}}}" if labels else f"{name}{{{own}}}"
                    share = 0.5 + number / self.instances
                    for at in moments:
                        part = (at - moments[0]) / _HOUR if grows else 1.0
                        yield f"{series} {value * share * part:.9g} {at}"
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
        """One day of what was recorded, each series in a wave of its own."""
        first, last = self.end - day * _DAY, self.end - (day - 1) * _DAY
        if day == 1:
            last -= 90  # there the real evaluations are
        moments = [*range(first, last, _RECORDED)]
        if day == 1:
            moments = [at for at in moments if at < self.end - _HOUR]
            moments += range(self.end - _HOUR, last, _RECORDED_LAST_HOUR)
        for labels, value in recorded:
            own = (f'{k}="{_escape(v)}"' for k, v in labels.items() if k != "__name__")
            series = f"{labels['__name__']}{{{','.join(own)}}}"
            phase = zlib.crc32(series.encode()) % 628 / 100
            for at in moments:
                yield f"{series} {value * (0.8 + 0.2 * math.sin(at / 7200 + phase)):.9g} {at}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _write(folder: Path, lines: Iterator[str]) -> None:
    text = folder / "samples.om"
    with text.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.write("# EOF\n")
    promtool(
        "create-blocks-from", "openmetrics", "--max-block-duration=24h", str(text), str(folder)
    )
    text.unlink()


def on_terminal(what: str) -> Say:
    """Tell what is being made, and for how long it has been."""
    begun = time.monotonic()
    return lambda words: print(f"{what}: {words} ({time.monotonic() - begun:.0f} s)", flush=True)
