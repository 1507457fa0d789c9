"""Which alerts would have fired in a simulated month, and whether each fault fires one in time.

``python -m bench.watch.month`` simulates the month, records it with the rules in a real Prometheus,
and replays each alert over it. Takes minutes; the month is stored in var/bench until ``--fresh``.
"""

import argparse
import math
import shutil
import time
from pathlib import Path

from alerts.alert import Severity
from alerts.rule_files import every_alert
from bench.watch.simulated_month import BETWEEN, DAY, MINUTE, Month
from bench.watch.synthetic_history import print_progress, write_blocks
from stack.backtest.datasource import open_datasource
from stack.backtest.report import replay
from stack.installation.paths import CHECKOUT
from stack.text_table import text_table

TOLD = 10
"""Minutes within which a fault should be told."""


def _make(folder: Path, month: Month) -> None:
    progress = print_progress(f"{month.days} days")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for day in range(month.days):
        first = month.begin + day * DAY
        write_blocks(folder, month.minutes(first, first + DAY))
        if day % 5 == 0:
            progress(f"day {day + 1}")


def report(folder: Path, month: Month) -> int:
    """Replay all alerts and print what they told; the number of faults told late or not at all."""
    alerts = [alert for alert in every_alert() if alert.severity is not Severity.NONE]
    progress = print_progress("replay")
    queries = [alert.expr for alert in alerts]
    with open_datasource(str(folder), queries, MINUTE, progress) as recorded:
        outcomes = list(replay(alerts, recorded, MINUTE, progress))
    fired = sorted(
        (firing.start, outcome.alert.name, firing.labels)
        for outcome in outcomes
        for firing in outcome.fired
    )
    late, rows, explained = 0, [], set[tuple[float, str, str]]()
    for begin, fault in month.faults:
        during = [each for each in fired if begin <= each[0] < begin + BETWEEN * MINUTE]
        explained |= {*during}
        told = min(
            ((at - begin) / MINUTE for at, name, _ in during if name in fault.alerts),
            default=math.inf,
        )
        late += told > TOLD
        rows.append((fault.name, f"{told:.0f}", ", ".join(dict.fromkeys(n for _, n, _ in during))))
    print(text_table(rows, ("fault", "told, min", "by"), right={1}))
    noise = [each for each in fired if each not in explained]
    print(f"without a fault: {len(noise)} firings in {month.days} days")
    for at, name, labels in noise:
        print(f"  {time.strftime('%a %d %H:%M', time.gmtime(at))}  {name} {labels}")
    return late


def main() -> None:
    """Simulate, record, replay; exit code 1 if a fault was told late."""
    parser = argparse.ArgumentParser(prog="python -m bench.watch.month", description=__doc__)
    parser.add_argument("--days", type=int, default=30, help="length (30)")
    parser.add_argument("--fresh", action="store_true", help="simulate again")
    options = parser.parse_args()
    folder = CHECKOUT / "var" / "bench" / f"month-{options.days}"
    end_file = folder / "end"
    fresh = options.fresh or not end_file.exists()
    end = int(time.time()) // DAY * DAY if fresh else int(end_file.read_text())
    month = Month(options.days, end)
    if fresh:
        _make(folder, month)
        end_file.write_text(str(end))
    raise SystemExit(1 if report(folder, month) else 0)


if __name__ == "__main__":
    main()
