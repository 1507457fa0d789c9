"""What queries of boards and rules cost on a Prometheus."""

import json
import statistics
from collections.abc import Collection, Iterator
from typing import NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from bench.watch.query import run_query
from bench.watch.synthetic_history import ROOT, RULES
from dashboards.rendered_queries import CHOICES, fill_in, panels

_BOARDS = ROOT / "grafana" / "dashboards"
_CHOICES = {**CHOICES, "__rate_interval": "2m"}
_HOUR = 3600


class Cost(NamedTuple):
    """Cost of a query.

    Attributes:
        of: The board or the rule group.
        name: The panel, the recording rule or the alert.
        seconds: Median of the rounds.
        samples: Number of samples that Prometheus read.
        series: Number of series in the result.
    """

    of: str
    name: str
    seconds: float
    samples: int
    series: int


def cost(url: str, of: str, name: str, promql: str, *, at: float, back: float) -> Cost:
    """Run a query several times, without the first, which warms caches."""
    results = [run_query(url, promql, at=at, back=back) for _ in range(6)][1:]
    median = statistics.median(each.seconds for each in results)
    return Cost(of, name, median, results[0].samples, len(results[0].result))


def boards(url: str, at: float, only: Collection[str] | None = None) -> Iterator[Cost]:
    """Every query of every board, or of some, over the last hour."""
    for path in sorted(_BOARDS.glob("*.json")):
        if only is not None and path.stem not in only:
            continue
        board = json.loads(path.read_text())
        for panel in panels(board):
            for target in panel["targets"]:
                expr = fill_in(target["expr"], _CHOICES)
                back = 0 if target["instant"] else _HOUR
                yield cost(url, path.stem, panel["title"], expr, at=at, back=back)


def rules(url: str, at: float) -> Iterator[Cost]:
    """Every rule, as the rule manager evaluates it."""
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                name = rule.get("record") or rule["alert"]
                yield cost(url, group["name"], name, rule["expr"], at=at, back=0)


def table(title: str, costs: list[Cost]) -> None:
    """Print the sum and the slowest query of each board or group."""
    shown = Table(title=title)
    for column in ("", "queries", "together", "samples", "slowest", "ms"):
        shown.add_column(column, justify="right" if column not in {"", "slowest"} else "left")
    for of in sorted({each.of for each in costs}):
        own = [each for each in costs if each.of == of]
        worst = max(own, key=lambda each: each.seconds)
        shown.add_row(
            of,
            str(len(own)),
            f"{sum(each.seconds for each in own) * 1000:.0f} ms",
            f"{sum(each.samples for each in own):,}",
            worst.name,
            f"{worst.seconds * 1000:.0f}",
        )
    Console().print(shown)
