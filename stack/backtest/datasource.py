"""Data sources of the backtest: recorded data, served by a Prometheus.

A data folder is never written to: its blocks are linked or copied to a temporary one. Recorded
series that the data lack are computed there, with the recording rules of this checkout.
"""

import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from alerts.rule_files import every_signal
from stack.backtest.prometheus_api import Progress, UnusableError, query_api
from stack.backtest.recording import needed_records, record
from stack.tsdb_replay import TsdbReplay, promtool
from vitals.metrics.catalogue import CATALOGUE

# Not by the parser: a line is a sample, not a query, and there are millions.
_DUMPED = re.compile(r'^\{__name__="(?P<name>[^"]+)"(?:, )?(?P<labels>.*)\} (?P<rest>\S+) (\d+)$')


class Recorded(NamedTuple):
    """A Prometheus, and the range of its data in Unix time."""

    url: str
    first: float
    last: float

    def since(self, days: float) -> "Recorded":
        """The same, limited to the last days."""
        return self._replace(first=max(self.first, self.last - days * 86400))


@contextmanager
def open_datasource(
    source: str, queries: Iterable[str], step: int, progress: Progress
) -> Iterator[Recorded]:
    """Serve recorded data with a Prometheus.

    Args:
        source: URL of a Prometheus, its data folder, or a file of samples with timestamps:
            OpenMetrics, or the output of ``promtool tsdb dump``.
        queries: The queries to come; recorded series that they need are computed if missing.
        step: Seconds between two evaluations of recording rules.
        progress: Called with messages about slow steps.

    Raises:
        UnusableError: There are no data to replay.
    """
    if source.startswith(("http://", "https://")):
        yield _served(source.rstrip("/"))
        return
    path = Path(source)
    if not path.exists():
        raise UnusableError(f"{source}: no such file or folder, and not an http:// URL")
    with tempfile.TemporaryDirectory(prefix="backtest-") as made:
        data = Path(made)
        progress(f"reading {path}")
        _link(path, data) if path.is_dir() else _import_samples(path, data)
        with TsdbReplay(data) as prometheus:
            span = _span(data, prometheus.url)
            present = set(query_api(prometheus.url, "label/__name__/values"))
        _require_kit_series(present)
        record(needed_records(queries) - present, data, span, step, progress)
        with TsdbReplay(data) as prometheus:
            yield Recorded(prometheus.url, *span)


def _served(url: str) -> Recorded:
    """A running Prometheus; the caller limits the range."""
    query_api(url, "status/buildinfo")
    return Recorded(url, 0, time.time() // 60 * 60)


def _link(source: Path, data: Path) -> None:
    """Link blocks, which are immutable, and copy the WAL."""
    blocks = [meta.parent for meta in source.glob("*/meta.json")]
    if not blocks and not (source / "wal").exists():
        raise UnusableError(
            f"{source} has no TSDB blocks: "
            "pass the folder of --storage.tsdb.path, or a snapshot of it"
        )
    for block in blocks:
        try:
            shutil.copytree(block, data / block.name, copy_function=_hard_link)
        except (OSError, shutil.Error):  # another file system
            shutil.copytree(block, data / block.name, dirs_exist_ok=True)
    for log in ("wal", "chunks_head"):
        if (source / log).exists():
            shutil.copytree(source / log, data / log)


def _hard_link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _import_samples(file: Path, data: Path) -> None:
    text = data / "samples.om"
    with file.open() as lines, text.open("w") as written:
        for line in lines:
            if line.strip() != "# EOF":
                written.write(_DUMPED.sub(_as_openmetrics, line.rstrip("\n")) + "\n")
        written.write("# EOF\n")
    try:
        promtool("create-blocks-from", "openmetrics", str(text), str(data))
    except RuntimeError as error:
        raise UnusableError(f"{file} is neither OpenMetrics nor a dump: {error}") from None
    text.unlink()
    if not list(data.glob("*/meta.json")):
        raise UnusableError(f"{file} has no samples with timestamps")


def _as_openmetrics(dumped: re.Match[str]) -> str:
    labels = dumped["labels"].replace('", ', '",')
    return f"{dumped['name']}{{{labels}}} {dumped['rest']} {int(dumped[4]) / 1000:.3f}"


def _span(data: Path, url: str) -> tuple[float, float]:
    """The time range of blocks and head."""
    metas = [json.loads(meta.read_text()) for meta in data.glob("*/meta.json")]
    head = query_api(url, "status/tsdb")["headStats"]
    times = [(meta["minTime"], meta["maxTime"]) for meta in metas]
    if head["numSeries"]:
        times.append((head["minTime"], head["maxTime"]))
    return min(first for first, _ in times) / 1000, max(last for _, last in times) / 1000


def _require_kit_series(present: set[str]) -> None:
    known = {"up", *every_signal(), *CATALOGUE, *(f"{name}_count" for name in CATALOGUE)}
    if not present & known:
        raise UnusableError("no series of a service with the kit: nothing to replay")
