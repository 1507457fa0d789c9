"""Cost of the monitoring: series, and query times of rules, boards and alerts.

``python -m bench.watch`` queries a real Prometheus with a synthetic history: by default 10
instances and two days of recorded series; ``--full`` makes 50 instances and 30 days, which takes
minutes. The history is stored in var/bench and reused until ``--fresh``.

``--jobs 200 --instances 5`` fills a Prometheus with that many services instead and lets it evaluate
the rules itself; ``--jobs 1 --instances 500 --hours 1`` also fills an hour, for queries of boards.
1,000 instances need 10 GB of memory on Prometheus 2.42.
"""

import argparse
import json
import os
import time
from pathlib import Path

from bench import budget
from bench.watch import fleet_report
from bench.watch.costs import boards, rules, table
from bench.watch.fleet import Fleet
from bench.watch.query import run_query
from bench.watch.synthetic_history import SyntheticHistory, print_progress
from stack.install import debian_suites
from stack.installation.paths import CHECKOUT
from stack.tsdb_replay import TsdbReplay

_INTERVAL = 15
"""Seconds between two evaluations of the rules."""


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
    parser.add_argument("--jobs", type=int, help="services of a fleet, each with its instances")
    parser.add_argument("--hours", type=int, default=0, help="of samples of a fleet, for boards")
    parser.add_argument(
        "--suite", choices=debian_suites.NEWER, help="the Prometheus of a newer Debian"
    )
    options = parser.parse_args()
    if options.suite:
        programs = debian_suites.fetch(options.suite)
        os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
    if options.jobs:
        fleet_report.measure(Fleet(options.jobs, options.instances, options.hours * 3600))
        return
    size = (50, 30) if options.full else (options.instances, options.days)
    figures = measure(*_history(*size, fresh=options.fresh))
    if exceeded := budget.exceeded(figures, budget.of("watch")):
        raise SystemExit("; ".join(exceeded))


if __name__ == "__main__":
    main()
