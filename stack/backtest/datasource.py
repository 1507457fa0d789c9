"""What was recorded, wherever it is, behind a Prometheus that can be asked.

A folder is never written to: its blocks are linked or copied to a temporary one. Signals that the
data do not hold are recorded there from what they do hold, with the rules as they are now.
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
from stack.tsdb_replay import TsdbReplay, promtool
from vitals.metrics.catalogue import CATALOGUE

PASSES = 3
"""Recorded series read one another, three deep; a pass reads only what is on disk before it."""
_DUMPED = re.compile(r'^\{__name__="(?P<name>[^"]+)"(?:, )?(?P<labels>.*)\} (?P<rest>\S+) (\d+)$')
_SERIES = re.compile(r"[a-zA-Z_:][\w:]*")

Say = Callable[[str], None]


class UnusableError(RuntimeError):
    """There is nothing to replay; the message says what to give instead."""


class Recorded(NamedTuple):
    """A Prometheus, and the Unix times between which it has data."""

    url: str
    first: float
    last: float

    def since(self, days: float) -> "Recorded":
        """The same, but only the last days."""
        return self._replace(first=max(self.first, self.last - days * 86400))


def ask(url: str, path: str, **parameters: object) -> Any:
    """Ask Prometheus's API, by GET unless there are parameters; the ``data`` of its answer.

    Raises:
        UnusableError: It does not answer, or is no Prometheus.
    """
    address = f"{url}/api/v1/{path}"
    try:
        with urlopen(address, urlencode(parameters).encode() or None, timeout=600) as answer:  # noqa: S310
            return json.loads(answer.read())["data"]
    except (URLError, ValueError, KeyError, OSError) as error:
        raise UnusableError(f"{address} does not answer as Prometheus does: {error}") from None


@contextmanager
def opened(where: str, queries: Iterable[str], step: int, say: Say) -> Iterator[Recorded]:
    """Make recorded data ready to be asked.

    Args:
        where: A Prometheus's address, its data folder, or a file of samples with timestamps:
            OpenMetrics, or what ``promtool tsdb dump`` writes.
        queries: What will be asked; the signals that they read are recorded if they are missing.
        step: Seconds between two evaluations of what has to be recorded first.
        say: Is told what takes long.

    Raises:
        UnusableError: There is nothing to replay.
    """
    if where.startswith(("http://", "https://")):
        yield _served(where.rstrip("/"))
        return
    path = Path(where)
    if not path.exists():
        raise UnusableError(f"{where}: no such file or folder, and no http:// address")
    with tempfile.TemporaryDirectory(prefix="backtest-") as made:
        data = Path(made)
        say(f"reading {path}")
        _link(path, data) if path.is_dir() else _import(path, data)
        _record_missing(data, queries, step, say)
        with TsdbReplay(data) as prometheus:
            yield Recorded(prometheus.url, *_span(data, prometheus.url))


def _served(url: str) -> Recorded:
    """As it is now; how far back it reaches is for the person to say."""
    ask(url, "status/buildinfo")
    return Recorded(url, 0, time.time() // 60 * 60)


def _link(source: Path, data: Path) -> None:
    """Take over blocks and the log of the latest samples; a block's files never change."""
    blocks = [meta.parent for meta in source.glob("*/meta.json")]
    if not blocks and not (source / "wal").exists():
        raise UnusableError(
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
        raise UnusableError(f"{file} is neither OpenMetrics nor a dump: {error}") from None
    text.unlink()
    if not list(data.glob("*/meta.json")):
        raise UnusableError(f"{file} holds no samples with timestamps")


def _as_openmetrics(dumped: re.Match[str]) -> str:
    labels = dumped["labels"].replace('", ', '",')
    return f"{dumped['name']}{{{labels}}} {dumped['rest']} {int(dumped[4]) / 1000:.3f}"


def _span(data: Path, url: str) -> tuple[float, float]:
    """From the blocks, and from what is in memory."""
    metas = [json.loads(meta.read_text()) for meta in data.glob("*/meta.json")]
    head = ask(url, "status/tsdb")["headStats"]
    times = [(meta["minTime"], meta["maxTime"]) for meta in metas]
    if head["numSeries"]:
        times.append((head["minTime"], head["maxTime"]))
    return min(first for first, _ in times) / 1000, max(last for _, last in times) / 1000


def _record_missing(data: Path, queries: Iterable[str], step: int, say: Say) -> None:
    groups: list[dict[str, Any]] = []
    for number in range(PASSES):
        with TsdbReplay(data) as prometheus:
            first, last = _span(data, prometheus.url)
            if not number:
                held = set(ask(prometheus.url, "label/__name__/values"))
                _demand_ours(held)
                groups = _groups_of(_needed(queries) - held)
            if not groups:
                return
            rules = data / "missing.rules"
            rules.write_text(yaml.safe_dump({"groups": groups}))
            missing = sum(len(group["rules"]) for group in groups)
            say(f"recording {missing} signals that the data do not hold, {number + 1} of {PASSES}")
            span = [f"--start={int(first)}", f"--end={int(last)}", f"--eval-interval={step}s"]
            where = [f"--url={prometheus.url}", f"--output-dir={data}"]
            promtool("create-blocks-from", "rules", *where, *span, str(rules))


def _demand_ours(held: set[str]) -> None:
    ours = {"up", *every_signal(), *CATALOGUE, *(f"{name}_count" for name in CATALOGUE)}
    if not held & ours:
        raise UnusableError("the data hold no series of a service with the kit: nothing to replay")


def _needed(queries: Iterable[str]) -> set[str]:
    """The signals that queries read, and those that these are recorded from."""
    known, found = every_signal(), set[str]()
    asked = [*queries]
    while asked:
        query = asked.pop()
        new = {name for name in _SERIES.findall(query) if name in known} - found
        found |= new
        asked += [known[name].query for name in new]
    return found


def _groups_of(records: set[str]) -> list[dict[str, Any]]:
    """The rules that record these."""
    groups = (group for text in render().values() for group in yaml.safe_load(text)["groups"])
    chosen = (
        (group["name"], [rule for rule in group["rules"] if rule.get("record") in records])
        for group in groups
    )
    return [{"name": name, "rules": rules} for name, rules in chosen if rules]
