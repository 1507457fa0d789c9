"""Cost of the monitoring: series, and query times of rules, boards and alerts.

``python -m bench.watch`` queries a real Prometheus with a synthetic history: by default 10
instances and two days of recorded series; ``--full`` makes 50 instances and 30 days, which takes
minutes. The history is stored in var/bench and reused until ``--fresh``.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from bench import budget
from bench.watch.query import run_query
from bench.watch.synthetic_history import ROOT, RULES, SyntheticHistory, print_progress
from dashboards.rendered_queries import CHOICES, fill_in, panels
from stack.installation.paths import CHECKOUT
from stack.tsdb_replay import TsdbReplay

_BOARDS = ROOT / "grafana" / "dashboards"
_CHOICES = {**CHOICES, "__rate_interval": "2m"}
_HOUR = 3600
_INTERVAL = 15
"""Seconds between two evaluations of the rules."""


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


def boards(url: str, at: float) -> Iterator[Cost]:
    """Every query of every board, over the last hour."""
    for path in sorted(_BOARDS.glob("*.json")):
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


def measure(history: SyntheticHistory, folder: Path) -> dict[str, float]:
    """Measure and print; returns the figures with a budget."""
    with TsdbReplay(folder) as prometheus:
        url = prometheus.url
        drawn, ruled = list(boards(url, history.end)), list(rules(url, history.end))
        scraped = run_query(url, 'count({job="api",__name__!~".+:.+"})', at=history.end).result
        recorded = run_query(url, 'count({__name__=~".+:.+:.+"})', at=history.end).result
    table("boards, over an hour", drawn)
    table("rules, one evaluation", ruled)
    alerts = [each for each in ruled if each.of.endswith("-alerts")]
    table("alerts", [each._replace(of=each.name) for each in alerts])
    overview = max(each.seconds for each in drawn if each.of == "svc-overview")
    evaluation = sum(each.seconds for each in ruled)
    figures = {
        "series an instance": float(scraped[0]["value"][1]) / history.instances,
        "recorded series": float(recorded[0]["value"][1]),
        "overview, slowest query, ms": overview * 1000,
        "rules, share of their interval": evaluation / _INTERVAL,
    }
    print(json.dumps({"instances": history.instances, "days": history.days, **figures}))
    return figures


def _history(instances: int, days: int, *, fresh: bool) -> tuple[SyntheticHistory, Path]:
    """The history in var/bench, created if missing."""
    folder = CHECKOUT / "var" / "bench" / f"watch-{instances}x{days}"
    end_file = folder / "end"
    if fresh or not end_file.exists():
        history = SyntheticHistory(instances, days, int(time.time()) // 60 * 60)
        history.make(folder, print_progress(f"{instances} instances x {days} days"))
        end_file.write_text(str(history.end))
    return SyntheticHistory(instances, days, int(end_file.read_text())), folder


def main() -> None:
    """Measure; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.watch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--instances", type=int, default=10, help="of the service (10)")
    parser.add_argument("--days", type=int, default=2, help="of recorded series (2)")
    parser.add_argument("--full", action="store_true", help="50 instances, 30 days")
    parser.add_argument("--fresh", action="store_true", help="recreate the history")
    options = parser.parse_args()
    size = (50, 30) if options.full else (options.instances, options.days)
    figures = measure(*_history(*size, fresh=options.fresh))
    if exceeded := budget.exceeded(figures, budget.of("watch")):
        raise SystemExit("; ".join(exceeded))


if __name__ == "__main__":
    main()
