"""Data source of a backtest: recorded data of any kind behind a Prometheus that can be queried.

A data folder is never written to: its blocks are linked or copied to a temporary one. Signals that
the data lack are recorded there, with the current rules.
"""

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from alerts.rule_files import every_signal, render
from stack.tsdb_replay import Archive, promtool
from vitals.metrics.catalogue import CATALOGUE

RECORDING_PASSES = 3
"""Recorded series depend on one another, three deep; a pass reads only what is already on disk."""
_DUMPED = re.compile(r'^\{__name__="(?P<name>[^"]+)"(?:, )?(?P<labels>.*)\} (?P<rest>\S+) (\d+)$')
_SERIES = re.compile(r"[a-zA-Z_:][\w:]*")

Progress = Callable[[str], None]


class UnusableDataError(RuntimeError):
    """There is nothing to replay; the message names what to give instead."""


class RecordedData(NamedTuple):
    """A Prometheus with recorded data, and the Unix times between which it has data."""

    url: str
    first: float
    last: float

    def since(self, days: float) -> "RecordedData":
        """The last days only."""
        return self._replace(first=max(self.first, self.last - days * 86400))


def query_api(url: str, path: str, **parameters: object) -> Any:
    """Query Prometheus's API, by GET unless there are parameters; the ``data`` of the response.

    Raises:
        UnusableDataError: The server does not respond, or is no Prometheus.
    """
    address = f"{url}/api/v1/{path}"
    try:
        with urlopen(address, urlencode(parameters).encode() or None, timeout=600) as response:  # noqa: S310
            return json.loads(response.read())["data"]
    except (URLError, ValueError, KeyError, OSError) as error:
        raise UnusableDataError(f"{address} does not respond as Prometheus does: {error}") from None


@contextmanager
def open_data(
    where: str, queries: Iterable[str], step: int, progress: Progress
) -> Iterator[RecordedData]:
    """Make recorded data ready to be queried.

    Args:
        where: A Prometheus's address, its data folder, or a file of samples with timestamps:
            OpenMetrics, or what ``promtool tsdb dump`` writes.
        queries: The queries to come; signals that they read are recorded if they are missing.
        step: Seconds between two evaluations of those recording rules.
        progress: Called with a message before each slow step.

    Raises:
        UnusableDataError: There is nothing to replay.
    """
    if where.startswith(("http://", "https://")):
        yield _remote(where.rstrip("/"))
        return
    path = Path(where)
    if not path.exists():
        raise UnusableDataError(f"{where}: no such file or folder, and no http:// address")
    with tempfile.TemporaryDirectory(prefix="backtest-") as temporary:
        data = Path(temporary)
        progress(f"reading {path}")
        _link(path, data) if path.is_dir() else _import(path, data)
        _record_missing(data, queries, step, progress)
        with Archive(data) as archive:
            yield RecordedData(archive.url, *_span(data, archive.url))


def _remote(url: str) -> RecordedData:
    """A running Prometheus; how far back it has data is not known."""
    query_api(url, "status/buildinfo")
    return RecordedData(url, 0, time.time() // 60 * 60)


def _link(source: Path, data: Path) -> None:
    """Link or copy the blocks, whose files never change, and copy the write-ahead log."""
    blocks = [meta.parent for meta in source.glob("*/meta.json")]
    if not blocks and not (source / "wal").exists():
        raise UnusableDataError(
            f"{source} holds no blocks: give the folder that --storage.tsdb.path names, "
            "or a snapshot of it"
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


def _import(file: Path, data: Path) -> None:
    text = data / "samples.om"
    with file.open() as lines, text.open("w") as written:
        for line in lines:
            if line.strip() != "# EOF":
                written.write(_DUMPED.sub(_as_openmetrics, line.rstrip("\n")) + "\n")
        written.write("# EOF\n")
    try:
        promtool("create-blocks-from", "openmetrics", str(text), str(data))
    except RuntimeError as error:
        raise UnusableDataError(f"{file} is neither OpenMetrics nor a dump: {error}") from None
    text.unlink()
    if not list(data.glob("*/meta.json")):
        raise UnusableDataError(f"{file} holds no samples with timestamps")


def _as_openmetrics(dumped: re.Match[str]) -> str:
    labels = dumped["labels"].replace('", ', '",')
    return f"{dumped['name']}{{{labels}}} {dumped['rest']} {int(dumped[4]) / 1000:.3f}"


def _span(data: Path, url: str) -> tuple[float, float]:
    """Time range of the blocks and of the samples in memory."""
    metas = [json.loads(meta.read_text()) for meta in data.glob("*/meta.json")]
    head = query_api(url, "status/tsdb")["headStats"]
    times = [(meta["minTime"], meta["maxTime"]) for meta in metas]
    if head["numSeries"]:
        times.append((head["minTime"], head["maxTime"]))
    return min(first for first, _ in times) / 1000, max(last for _, last in times) / 1000


def _record_missing(data: Path, queries: Iterable[str], step: int, progress: Progress) -> None:
    groups: list[dict[str, Any]] = []
    for number in range(RECORDING_PASSES):
        with Archive(data) as archive:
            first, last = _span(data, archive.url)
            if not number:
                present = set(query_api(archive.url, "label/__name__/values"))
                _require_known_series(present)
                groups = _groups_of(_needed(queries) - present)
            if not groups:
                return
            rules = data / "missing.rules"
            rules.write_text(yaml.safe_dump({"groups": groups}))
            missing = sum(len(group["rules"]) for group in groups)
            progress(
                f"recording {missing} missing signals, pass {number + 1} of {RECORDING_PASSES}"
            )
            span = [f"--start={int(first)}", f"--end={int(last)}", f"--eval-interval={step}s"]
            where = [f"--url={archive.url}", f"--output-dir={data}"]
            promtool("create-blocks-from", "rules", *where, *span, str(rules))


def _require_known_series(present: set[str]) -> None:
    ours = {"up", *every_signal(), *CATALOGUE, *(f"{name}_count" for name in CATALOGUE)}
    if not present & ours:
        raise UnusableDataError(
            "the data have no series of a service with the kit: nothing to replay"
        )


def _needed(queries: Iterable[str]) -> set[str]:
    """The signals that queries read, and the signals that these depend on."""
    known, found = every_signal(), set[str]()
    pending = [*queries]
    while pending:
        query = pending.pop()
        new = {name for name in _SERIES.findall(query) if name in known} - found
        found |= new
        pending += [known[name].query for name in new]
    return found


def _groups_of(records: set[str]) -> list[dict[str, Any]]:
    """The groups and rules that record these."""
    groups = (group for text in render().values() for group in yaml.safe_load(text)["groups"])
    chosen = (
        (group["name"], [rule for rule in group["rules"] if rule.get("record") in records])
        for group in groups
    )
    return [{"name": name, "rules": rules} for name, rules in chosen if rules]
