"""SLO panels: actual against target, error budget, burn rate, instances."""

from dashboards.panels.query import instant_query
from dashboards.panels.stat_panels import BarGauge, Stat
from dashboards.sections.slo_status import SLO_STATUS, at_least, at_most, judged
from dashboards.style import Colour, falling, rising, value_colour
from dashboards.variables import CHOSEN_JOB
from rules.datastores import SLOW_QUERY_RATIO
from rules.monitoring import UP
from rules.slo import (
    BAD_RATIO,
    BUDGET_AGE,
    BUDGET_LEFT,
    GOOD_RATIO,
    LATENCY_P95_UNDER_SERVICE_OBJECTIVE,
    OBJECTIVE,
    TARGET,
    THRESHOLD,
)

AVAILABILITY_TARGET = TARGET.select(job=CHOSEN_JOB, slo="availability", http_route="")
AVAILABILITY = Stat(
    id=1,
    title="Availability",
    description="Share of requests without failure over the last five minutes, against the "
    "availability target. A 5xx response or an exception is a failure. If the target is missed: "
    "see which routes fail below, and whether a deploy is marked just before.",
    unit="percentunit",
    decimals=2,
    queries=at_least(
        GOOD_RATIO.select(job=CHOSEN_JOB, slo="availability", http_route=""),
        "target",
        AVAILABILITY_TARGET,
    ),
    overrides=SLO_STATUS,
    empty="no traffic",
)

LATENCY_NOW = LATENCY_P95_UNDER_SERVICE_OBJECTIVE.select(job=CHOSEN_JOB)
LATENCY_THRESHOLD = THRESHOLD.select(job=CHOSEN_JOB, slo="latency", http_route="")
SLOW_SHARE_ALLOWED = f"(1 - {TARGET.select(job=CHOSEN_JOB, slo='latency', http_route='')})"
_LATENCY_MISSED = (
    f"{BAD_RATIO['5m'].select(job=CHOSEN_JOB, slo='latency', http_route='')} > {SLOW_SHARE_ALLOWED}"
)
LATENCY = Stat(
    id=2,
    title="Latency, p95",
    description="95 % of requests over the last five minutes finished within this time, against "
    "the threshold of the service's latency objective. It is red when more requests exceed the "
    "threshold than the objective allows, which need not be 5 %. Routes with their own objective "
    "are in the table of routes.",
    unit="s",
    queries=judged(LATENCY_NOW, "threshold", LATENCY_THRESHOLD, _LATENCY_MISSED),
    overrides=SLO_STATUS,
    empty="no traffic",
)

SLOW_NOW = SLOW_QUERY_RATIO.select(job=CHOSEN_JOB)
SLOW_ALLOWED = f"(1 - {TARGET.select(job=CHOSEN_JOB, slo='queries', http_route='')})"
SLOW_QUERIES = Stat(
    id=3,
    title="Slow queries",
    description="Share of database queries slower than the threshold of their objective over ten "
    "minutes, against the share that it allows.",
    unit="percentunit",
    decimals=2,
    queries=at_most(SLOW_NOW, "allowed", SLOW_ALLOWED),
    overrides=SLO_STATUS,
    empty="no queries",
)

_BURN_RATE = f"{BAD_RATIO['1h'].select(job=CHOSEN_JOB)} / (1 - {TARGET.select(job=CHOSEN_JOB)})"
_DAY = 86400
_AGES = {0: "in the first hour", 3600: "in the first day", _DAY: "in the first week",
         7 * _DAY: "in less than 30 days", 29 * _DAY: ""}  # fmt: skip
"""Ages of the data in seconds from which on a budget over data that young is named so."""


def _with_age(budget: str) -> str:
    """Name in the label ``data`` how young the data of a budget are; those of 30 days have none."""
    age = f"last_over_time({BUDGET_AGE.select(job=CHOSEN_JOB)}[15m])"
    until = [*_AGES][1:]
    young = (
        f'label_replace({budget} and on ({OBJECTIVE}) ({age} >= {since} < {end}), "data", '
        f'"{name}", "", "")'
        for (since, name), end in zip(_AGES.items(), until, strict=False)
    )
    return " or ".join((*young, f"({budget} unless on ({OBJECTIVE}) {age} < {until[-1]})"))


BUDGET = BarGauge(
    id=4,
    title="Budget left, 30 days",
    description="Share of the error budget of the last 30 days that is left. Below 25 %, postpone "
    "risky deploys; at 0 the objective is missed. Of a service with less than 30 days of data, the "
    "name says how little it is: what is left if the days go on like those.",
    unit="percentunit",
    decimals=0,
    steps=falling(0.0, 0.25),
    queries=(
        # The 30 days are added up every five minutes only, so look back for the latest sum; a
        # service younger than that has only its first hour.
        instant_query(
            _with_age(
                f"(last_over_time({BUDGET_LEFT.select(job=CHOSEN_JOB)}[15m]) "
                f"or clamp_min(1 - {_BURN_RATE}, -1))"
            ),
            "{{slo}} {{http_route}} {{data}}",
        ),
    ),
    empty="no traffic",
)

BURN = BarGauge(
    id=5,
    title="Burn rate, 1 hour",
    description="How fast the error budget was spent over the last hour: at 1 it lasts exactly 30 "
    "days, at 14.4 two days, which pages.",
    unit="suffix:x",
    decimals=1,
    high=15,
    steps=rising(1, 14.4),
    queries=(instant_query(_BURN_RATE, "{{slo}} {{http_route}}"),),
    empty="no traffic",
)

_INSTANCES = f"count({UP.select(job=CHOSEN_JOB)})"
INSTANCES = Stat(
    id=6,
    title="Instances up",
    counts_targets=True,
    empty="no data: nothing scraped",
    description="Instances whose last scrape succeeded, of those that Prometheus knows. No other "
    "panel shows an instance that is down.",
    unit="short",
    decimals=0,
    queries=(
        instant_query(
            f'label_replace({UP.sum(job=CHOSEN_JOB)} == {_INSTANCES}, "status", "up", "", "") or '
            f'label_replace({UP.sum(job=CHOSEN_JOB)} < {_INSTANCES}, "status", "only", "", "")',
            "{{status}}",
        ),
        instant_query(_INSTANCES, "total"),
    ),
    overrides=(
        value_colour("up", Colour.GOOD),
        value_colour("only", Colour.BAD),
        value_colour("total", Colour.MUTED),
    ),
)
