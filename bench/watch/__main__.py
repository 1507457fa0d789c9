"""What the watch costs: series, the time of its rules, the time of its boards and alerts.

``python -m bench.watch`` asks a real Prometheus with a made past: by default 10 instances and two
days of recorded signals; ``--full`` makes 50 instances and 30 days, which takes minutes. The past
is kept in var/bench and used again until ``--fresh``.
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
from bench.watch.query import ask
from bench.watch.synthetic_history import ROOT, RULES, Past, on_terminal
from dashboards.rendered_queries import CHOICES, fill_in, panels
from stack.installation.paths import CHECKOUT
from stack.tsdb_replay import TsdbReplay

_BOARDS = ROOT / "grafana" / "dashboards"
_CHOICES = {**CHOICES, "__rate_interval": "2m"}
_HOUR = 3600
_INTERVAL = 15
"""Seconds between two evaluations of the rules."""


class Cost(NamedTuple):
    """What a query costs.

    Attributes:
        of: The board or the group of rules.
        name: The panel, the record or the alert.
        seconds: The median of the rounds.
        samples: What Prometheus read to answer.
        series: In the answer.
    """

    of: str
    name: str
    seconds: float
    samples: int
    series: int


def cost(url: str, of: str, name: str, promql: str, *, at: float, back: float) -> Cost:
    """Ask a few times; the first also fills the machine's caches."""
    answers = [ask(url, promql, at=at, back=back) for _ in range(6)][1:]
    median = statistics.median(answer.seconds for answer in answers)
    return Cost(of, name, median, answers[0].samples, len(answers[0].result))


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
    """Every rule, as the rule manager asks it."""
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                name = rule.get("record") or rule["alert"]
                yield cost(url, group["name"], name, rule["expr"], at=at, back=0)


def table(title: str, costs: list[Cost]) -> None:
    """Print the sum and the dearest of each board or group."""
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


def measure(past: Past, folder: Path) -> dict[str, float]:
    """Ask, print, and return what the budget speaks of."""
    with TsdbReplay(folder) as prometheus:
        url = prometheus.url
        drawn, ruled = list(boards(url, past.end)), list(rules(url, past.end))
        scraped = ask(url, 'count({job="api",__name__!~".+:.+"})', at=past.end).result
        recorded = ask(url, 'count({__name__=~".+:.+:.+"})', at=past.end).result
    table("boards, over an hour", drawn)
    table("rules, one evaluation", ruled)
    alerts = [each for each in ruled if each.of.endswith("-alerts")]
    table("alerts", [each._replace(of=each.name) for each in alerts])
    overview = max(each.seconds for each in drawn if each.of == "svc-overview")
    evaluation = sum(each.seconds for each in ruled)
    figures = {
        "series an instance": float(scraped[0]["value"][1]) / past.instances,
        "recorded series": float(recorded[0]["value"][1]),
        "overview, slowest query, ms": overview * 1000,
        "rules, share of their interval": evaluation / _INTERVAL,
    }
    print(json.dumps({"instances": past.instances, "days": past.days, **figures}))
    return figures


def _past(instances: int, days: int, *, fresh: bool) -> tuple[Past, Path]:
    """The past in var/bench, made unless it is there."""
    folder = CHECKOUT / "var" / "bench" / f"watch-{instances}x{days}"
    made = folder / "end"
    if fresh or not made.exists():
        past = Past(instances, days, int(time.time()) // 60 * 60)
        past.make(folder, on_terminal(f"{instances} instances x {days} days"))
        made.write_text(str(past.end))
    return Past(instances, days, int(made.read_text())), folder


def main() -> None:
    """Measure, and say in the exit code whether the budget holds."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.watch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--instances", type=int, default=10, help="of the service (10)")
    parser.add_argument("--days", type=int, default=2, help="of recorded signals (2)")
    parser.add_argument("--full", action="store_true", help="50 instances, 30 days")
    parser.add_argument("--fresh", action="store_true", help="make the past anew")
    chosen = parser.parse_args()
    size = (50, 30) if chosen.full else (chosen.instances, chosen.days)
    figures = measure(*_past(*size, fresh=chosen.fresh))
    if broken := budget.broken(figures, budget.of("watch")):
        raise SystemExit("; ".join(broken))


if __name__ == "__main__":
    main()
