"""The command `python -m stack backtest`."""

import argparse
import sys
from math import inf

from alerts.rule_files import every_alert
from stack.backtest.datasource import open_datasource
from stack.backtest.prometheus_api import UnusableError
from stack.backtest.report import firings, replay, table

EPILOG = """The rules are those of this checkout: change an alert, run it again, compare.
Recording rules whose series the data lack are recorded first, in a temporary copy; nothing is
written to DATA."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        *("--from", "-f"),
        dest="data",
        metavar="DATA",
        required=True,
        help="a Prometheus's data folder or snapshot; a file of OpenMetrics with timestamps or of "
        "`promtool tsdb dump`; or the address of a Prometheus, http://...",
    )
    parser.add_argument("--days", type=float, help="only the last days (all; 7 of an address)")
    parser.add_argument("--step", type=int, default=60, help="seconds between evaluations (60)")
    parser.add_argument("--only", nargs="+", metavar="ALERT", help="these alerts")
    parser.add_argument("--each", action="store_true", help="list every firing, too")


def run(arguments: argparse.Namespace) -> int:
    """Replay the data and print the table; the exit code."""
    only = arguments.only or ()
    alerts = [alert for alert in every_alert() if not only or alert.name in only]
    if unknown := {*only} - {alert.name for alert in alerts}:
        print(f"no such alert: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    try:
        queries = [alert.expr for alert in alerts]
        with open_datasource(arguments.data, queries, arguments.step, _progress) as everything:
            days = arguments.days or (7 if arguments.data.startswith("http") else inf)
            recorded = everything.since(days)
            outcomes = list(replay(alerts, recorded, arguments.step, _progress))
    except (UnusableError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    for line in table(outcomes, recorded):
        print(line)
    if arguments.each:
        print(firings(outcomes))
    return 0


def _progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
