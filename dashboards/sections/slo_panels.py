"""What a service promises, against what it does: verdicts, budgets, instances."""

from dashboards.panels.query import now
from dashboards.panels.stat_panels import BarGauge, Stat
from dashboards.sections.slo_status import VERDICT, at_least, at_most
from dashboards.style import Colour, falling, figure, rising
from dashboards.variables import CHOSEN_JOB
from rules.datastores import SLOW_QUERY_RATIO
from rules.monitoring import UP
from rules.slo import (
    BAD_RATIO,
    BUDGET_LEFT,
    GOOD_RATIO,
    LATENCY_P95_UNDER_SERVICE_PROMISE,
    TARGET,
    THRESHOLD,
)

AVAILABILITY_PROMISED = TARGET.select(job=CHOSEN_JOB, slo="availability")
AVAILABILITY = Stat(
    id=1,
    title="Availability",
    description="Share of requests answered without failure over the last five minutes, against "
    "what the service promises. A request fails by 5xx or an exception. Broken: see which "
    "routes fail below, and whether a deploy is marked just before.",
    unit="percentunit",
    decimals=2,
    queries=at_least(GOOD_RATIO.select(job=CHOSEN_JOB, slo="availability"), AVAILABILITY_PROMISED),
    overrides=VERDICT,
    empty="no traffic",
)

LATENCY_NOW = LATENCY_P95_UNDER_SERVICE_PROMISE.select(job=CHOSEN_JOB)
LATENCY_PROMISED = THRESHOLD.select(job=CHOSEN_JOB, slo="latency")
LATENCY = Stat(
    id=2,
    title="Latency, p95",
    description="95 of 100 requests of the last five minutes were answered within this time, "
    "against the time the service promises. Routes with a promise of their own are judged in the "
    "table of routes.",
    unit="s",
    queries=at_most(LATENCY_NOW, LATENCY_PROMISED),
    overrides=VERDICT,
    empty="no traffic",
)

SLOW_NOW = SLOW_QUERY_RATIO.select(job=CHOSEN_JOB)
SLOW_ALLOWED = f"(1 - {TARGET.select(job=CHOSEN_JOB, slo='queries')})"
SLOW_QUERIES = Stat(
    id=3,
    title="Slow queries",
    description="Share of database queries slower than the service promises, over ten minutes, "
    "against the share that may be.",
    unit="percentunit",
    decimals=2,
    queries=at_most(SLOW_NOW, SLOW_ALLOWED),
    overrides=VERDICT,
    empty="no queries",
)

_PACE = f"{BAD_RATIO['1h'].select(job=CHOSEN_JOB)} / (1 - {TARGET.select(job=CHOSEN_JOB)})"
BUDGET = BarGauge(
    id=4,
    title="Budget left, 30 days",
    description="How much may still go wrong this month before the promise is broken. Below a "
    "quarter, leave risky deploys for later; at zero, the month's promise is broken.",
    unit="percentunit",
    decimals=0,
    steps=falling(0.0, 0.25),
    queries=(
        # The month is added up every five minutes only, so look back for the latest sum; a service
        # younger than that has no month but its first hour.
        now(f"last_over_time({BUDGET_LEFT.select(job=CHOSEN_JOB)}[15m]) or 1 - {_PACE}", "{{slo}}"),
    ),
    empty="no traffic",
)

BURN = BarGauge(
    id=5,
    title="Budget burn, 1 hour",
    description="How many times faster than promised the budget was spent over the last hour. "
    "1 spends it exactly within the month; at 14.4 the month's budget is gone in two days, "
    "and somebody is paged.",
    unit="suffix:x",
    decimals=1,
    high=15,
    steps=rising(1, 14.4),
    queries=(now(_PACE, "{{slo}}"),),
    empty="no traffic",
)

_INSTANCES = f"count({UP.select(job=CHOSEN_JOB)})"
INSTANCES = Stat(
    id=6,
    title="Instances up",
    description="Instances that answer Prometheus, of those it knows. What is down tells nothing "
    "else on this board.",
    unit="short",
    decimals=0,
    queries=(
        now(
            f'label_replace({UP.sum(job=CHOSEN_JOB)} == {_INSTANCES}, "verdict", "up", "", "") or '
            f'label_replace({UP.sum(job=CHOSEN_JOB)} < {_INSTANCES}, "verdict", "only", "", "")',
            "{{verdict}}",
        ),
        now(_INSTANCES, "known"),
    ),
    overrides=(
        figure("up", Colour.GOOD),
        figure("only", Colour.BAD),
        figure("known", Colour.QUIET),
    ),
)
