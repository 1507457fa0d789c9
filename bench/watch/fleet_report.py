"""Report of a fleet: what rule groups and boards cost.

The machine may be busy: of each group the fastest evaluation counts, and the processor time of all
evaluations together does not depend on what else runs.
"""

import tempfile
import time
from pathlib import Path

from bench.watch.costs import boards, table
from bench.watch.fleet import SCRAPE, Fleet, GroupCost, Watch
from bench.watch.synthetic_history import print_progress
from stack.text_table import text_table

_WATCHED = 270
"""Seconds for which the rules are watched: the groups of two minutes are evaluated twice."""
_SHOWN = 12


def measure(fleet: Fleet) -> None:
    """Fill a Prometheus, let it evaluate the rules, and print what that costs."""
    progress = print_progress(f"{fleet.jobs} services of {fleet.instances} instances")
    with (
        tempfile.TemporaryDirectory(prefix="vitals-fleet-") as folder,
        Watch(fleet, Path(folder) / "data") as watch,
    ):
        progress(f"{watch.fill():,} series")
        if fleet.history:
            watch.record(progress)
        time.sleep(max(0, watch.now - time.time()))
        before, begun = watch.own("process_cpu_seconds_total"), time.monotonic()
        watch.start_rules()
        progress("rules")
        costs = watch.group_costs(_WATCHED)
        used = watch.own("process_cpu_seconds_total") - before
        _print_groups(costs, used / (time.monotonic() - begun))
        memory = watch.own("process_resident_memory_bytes") / 1e9
        print(f"memory {memory:.1f} GB, {watch.own('prometheus_tsdb_head_series'):,.0f} series")
        # Of one job, an hour of everything; of many, what the board of all services reads.
        chosen = None if fleet.history else {"svc-services"}
        table("boards", [*boards(watch.url, min(time.time(), watch.end), chosen)])


def _print_groups(costs: list[GroupCost], cores: float) -> None:
    costs.sort(key=lambda cost: cost.seconds, reverse=True)
    rows = [
        (cost.name, f"{cost.interval:.0f}", f"{cost.seconds:.2f}", f"{cost.median:.2f}")
        for cost in costs[:_SHOWN]
    ]
    print(text_table(rows, ("group", "every s", "fastest s", "median s"), right={1, 2, 3}))
    slowest = sorted(
        ((seconds, rule, cost.name) for cost in costs for rule, seconds in cost.rules.items()),
        reverse=True,
    )
    rules = [(rule.partition(" ")[2], group, f"{took:.2f}") for took, rule, group in slowest]
    print(text_table(rules[:_SHOWN], ("rule", "group", "fastest s"), right={2}))
    each = sum(cost.seconds * SCRAPE / cost.interval for cost in costs)
    print(f"all rules: {each:.1f} s of each {SCRAPE} s, {cores:.2f} cores")
