"""The service overview: is it well, and if not, since when, where, and what is behind it?

Read from the top: verdicts on what was promised, then the shape of the trouble over time, then
which routes and which alerts, then what the service depends on. It draws recorded signals, the
same series that alerts judge, so that a graph shows exactly what pages. Those speak of the whole
service; what differs by instance is drawn by instance.
"""

from dataclasses import replace

from alerts.signals.datastores import CACHE_HIT_RATIO, POOL_USE, QUERY_P95, SLOW_QUERY_RATIO
from alerts.signals.promises import (
    BAD_RATIO,
    BUDGET_LEFT,
    GOOD_RATIO,
    LATENCY_P95_UNDER_SERVICE_PROMISE,
    TARGET,
    THRESHOLD,
    THRESHOLD_BY_ROUTE,
)
from alerts.signals.requests import (
    ERROR_RATIO,
    ERROR_RATIO_BY_ROUTE,
    LATENCY_P50,
    LATENCY_P95_BY_ROUTE,
    LOOP_LAG_P99,
    MATCHED,
    REQUEST_RATE_BY_CLASS,
    REQUEST_RATE_BY_ROUTE,
)
from dashboards.board import Board, Row
from dashboards.figures import BarGauge, Stat
from dashboards.firing import FIRING_ALERTS
from dashboards.links import TO_ENDPOINT
from dashboards.lists import Table
from dashboards.look import Colour, Step, column, falling, figure, painted, promise, rising
from dashboards.marks import DEPLOYS, FIRING
from dashboards.panel import Heatmap, TimeSeries
from dashboards.prometheus import UP
from dashboards.query import Query, now, rows
from dashboards.variables import CHOSEN_JOB, JOB, SOURCE, STEP
from vitals.catalogue import HTTP_ACTIVE_REQUESTS, HTTP_REQUEST_DURATION, SLO_EVENTS

# -- Verdicts -----------------------------------------------------------------------------------

KEPT, BROKEN = "kept", "broken"
VERDICT = (
    figure(KEPT, Colour.GOOD),
    figure(BROKEN, Colour.BAD),
    figure("promised", Colour.QUIET),
)
"""Every service promises its own figures, so no fixed threshold can colour them: the query itself
compares and says the verdict as a word."""


def _verdict(well: str, ill: str) -> Query:
    """Name the one of two filtered queries that has an answer."""
    return now(
        f'label_replace({well}, "verdict", "{KEPT}", "", "") or '
        f'label_replace({ill}, "verdict", "{BROKEN}", "", "")',
        "{{verdict}}",
    )


def _within(value: str, limit: str, on: str = "on (job) ") -> Query:
    return _verdict(f"{value} <= {on}{limit}", f"{value} > {on}{limit}")


_GOOD = GOOD_RATIO.select(job=CHOSEN_JOB, slo="availability")
_AVAILABILITY = TARGET.select(job=CHOSEN_JOB, slo="availability")
AVAILABILITY = Stat(
    id=1,
    title="Availability",
    description="Share of requests answered without failure over the last five minutes, against "
    "what the service promises. A request fails when it is answered with 5xx. Broken: see which "
    "routes fail below, and whether a deploy is marked just before.",
    unit="percentunit",
    decimals=2,
    queries=(
        _verdict(f"{_GOOD} >= {_AVAILABILITY}", f"{_GOOD} < {_AVAILABILITY}"),
        now(_AVAILABILITY, "promised"),
    ),
    overrides=VERDICT,
    empty="no traffic",
)

_P95 = LATENCY_P95_UNDER_SERVICE_PROMISE.select(job=CHOSEN_JOB)
_LATENCY = THRESHOLD.select(job=CHOSEN_JOB, slo="latency")
LATENCY = Stat(
    id=2,
    title="Latency, p95",
    description="95 of 100 requests of the last five minutes were answered within this time, "
    "against the time the service promises. Routes with a promise of their own are judged in the "
    "table of routes.",
    unit="s",
    queries=(_within(_P95, _LATENCY), now(_LATENCY, "promised")),
    overrides=VERDICT,
    empty="no traffic",
)

_SLOW = SLOW_QUERY_RATIO.select(job=CHOSEN_JOB)
_MAY_BE_SLOW = f"(1 - {TARGET.select(job=CHOSEN_JOB, slo='queries')})"
SLOW_QUERIES = Stat(
    id=3,
    title="Slow queries",
    description="Share of database queries slower than the service promises, over ten minutes, "
    "against the share that may be.",
    unit="percentunit",
    decimals=2,
    queries=(_within(_SLOW, _MAY_BE_SLOW), now(_MAY_BE_SLOW, "promised")),
    overrides=VERDICT,
    empty="no queries",
)

BUDGET = BarGauge(
    id=4,
    title="Error budget left, 30 days",
    description="How much may still go wrong this month before the promise is broken. Below a "
    "quarter, leave risky deploys for later; at zero, the month's promise is broken.",
    unit="percentunit",
    decimals=0,
    steps=falling(0.0, 0.25),
    queries=(now(BUDGET_LEFT.select(job=CHOSEN_JOB), "{{slo}}"),),
    empty="no traffic",
)

BURN = BarGauge(
    id=5,
    title="Budget burn, 1 hour",
    description="How many times faster than promised the budget was spent over the last hour. "
    "1 spends it exactly within the month; at 14.4 the month's budget is gone in two days, "
    "and somebody is paged.",
    unit="suffix: x",
    decimals=1,
    high=15,
    steps=rising(1, 14.4),
    queries=(
        now(
            f"{BAD_RATIO['1h'].select(job=CHOSEN_JOB)} / (1 - {TARGET.select(job=CHOSEN_JOB)})",
            "{{slo}}",
        ),
    ),
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

# -- The shape of the trouble -------------------------------------------------------------------

RATE = TimeSeries(
    id=10,
    title="Requests by status",
    description="Requests per second by class of status. A fall to nothing is as bad as a wall of "
    "5xx; many 4xx are usually one client or a scanner.",
    unit="reqps",
    stacked=True,
    queries=(Query(REQUEST_RATE_BY_CLASS.select(job=CHOSEN_JOB), "{{status_class}}"),),
    overrides=(
        painted("1xx", Colour.QUIET),
        painted("2xx", Colour.GOOD),
        painted("3xx", Colour.CALM),
        painted("4xx", Colour.WATCH),
        painted("5xx", Colour.BAD),
    ),
)

ERRORS = TimeSeries(
    id=11,
    title="Error ratio",
    description="Share of requests answered with 5xx, against the share that may fail. Unknown "
    "addresses that scanners ask for are left out.",
    unit="percentunit",
    soft_high=0.01,
    queries=(
        Query(ERROR_RATIO.select(job=CHOSEN_JOB), "failed"),
        Query(f"1 - {_AVAILABILITY}", "promised"),
    ),
    overrides=(painted("failed", Colour.STRONG, width=2), promise()),
)

DURATIONS = TimeSeries(
    id=12,
    title="Latency",
    description="Half, 95 and 99 of 100 requests are answered within these times. p95 is the "
    "series that LatencyP95High judges: routes with a promise of their own are not in it. Each dot "
    "is a request: click it to open its trace.",
    unit="s",
    queries=(
        Query(LATENCY_P50.select(job=CHOSEN_JOB), "p50"),
        Query(_P95, "p95"),
        # Not the recorded p99: exemplars are kept with raw buckets only.
        Query(
            HTTP_REQUEST_DURATION.quantile(0.99, job=CHOSEN_JOB, http_route=MATCHED),
            "p99",
            exemplar=True,
        ),
        Query(_LATENCY, "promised"),
    ),
    overrides=(
        painted("p50", Colour.CALM),
        painted("p95", Colour.STRONG, width=2),
        painted("p99", Colour.ODD),
        promise(),
    ),
)

# -- Where --------------------------------------------------------------------------------------

WORST = 10
_BROKEN_BY_ROUTE = SLO_EVENTS.rate("http_route", job=CHOSEN_JOB, outcome="bad")
_P95_BY_ROUTE = LATENCY_P95_BY_ROUTE.select(job=CHOSEN_JOB)
_RATE_BY_ROUTE = REQUEST_RATE_BY_ROUTE.sum("http_route", job=CHOSEN_JOB)
_SLOWNESS = f"max by (http_route) ({_P95_BY_ROUTE}) / 1e6"
_RANKED = f"topk({WORST}, {_BROKEN_BY_ROUTE} + {_SLOWNESS} or {_SLOWNESS})"
"""Who hurts most users first; while nobody does, the slowest, by a figure too small to matter."""
_PROMISED_BY_ROUTE = (
    f"(max by (http_route) ({THRESHOLD_BY_ROUTE.select(job=CHOSEN_JOB, slo='latency')}) "
    f"or {_RATE_BY_ROUTE} * 0 + scalar(max({_LATENCY})))"
)


def _of_worst(expr: str) -> Query:
    return rows(f"max by (http_route) ({expr}) and on (http_route) {_RANKED}")


ROUTES = Table(
    id=20,
    title="Worst routes",
    description="The ten routes that break promises for most requests, by failing or by being too "
    "slow; while none does, the slowest. Click a route for its own board.",
    unit="short",
    width=14,
    queries=(
        _of_worst(f"{_BROKEN_BY_ROUTE} * 60"),
        _of_worst(_RATE_BY_ROUTE),
        _of_worst(ERROR_RATIO_BY_ROUTE.select(job=CHOSEN_JOB)),
        _of_worst(_P95_BY_ROUTE),
        _of_worst(f"max by (http_route) ({_P95_BY_ROUTE}) / {_PROMISED_BY_ROUTE}"),
    ),
    columns={
        "http_route": "Route",
        "Value #A": "Broken / min",
        "Value #B": "Rate",
        "Value #C": "Errors",
        "Value #D": "p95",
        "Value #E": "p95 of promise",
    },
    sort=(("Broken / min", True), ("p95 of promise", True)),
    overrides=(
        column("Route", link=TO_ENDPOINT, words={"": ("(no route)", Colour.QUIET)}),
        column("Broken / min", "short", width=110, steps=(Step(Colour.GOOD), Step(Colour.BAD, 1))),
        column("Rate", "reqps", width=100),
        column("Errors", "percentunit", width=90, steps=rising(0.001, 0.01)),
        column("p95", "s", width=90),
        column("p95 of promise", "percentunit", width=130, steps=rising(0.8, 1)),
    ),
)

HEAT = Heatmap(
    id=22,
    title="Latency distribution",
    description="Requests per second by how long they took. Two bands are two kinds of requests; "
    "a band that rises as a whole is the service, one that frays upwards is one route or one "
    "query.",
    unit="s",
    width=12,
    queries=(
        Query(
            HTTP_REQUEST_DURATION.buckets_rate(window=STEP, job=CHOSEN_JOB, http_route=MATCHED),
            "{{le}}",
            form="heatmap",
        ),
    ),
)

IN_FLIGHT = TimeSeries(
    id=23,
    title="In flight",
    description="Requests being answered right now, by instance. A line that climbs while the rate "
    "stays is a queue: something behind the service is slow.",
    unit="short",
    width=6,
    queries=(Query(HTTP_ACTIVE_REQUESTS.sum("instance", job=CHOSEN_JOB), "{{instance}}"),),
)

LOOP_LAG = TimeSeries(
    id=24,
    title="Event loop lag, p99",
    description="How late each instance's event loop runs: every request there waits this long for "
    "nothing. Above 100 ms something blocks the loop.",
    unit="s",
    width=6,
    limits=True,
    steps=rising(0.05, 0.1),
    queries=(Query(LOOP_LAG_P99.select(job=CHOSEN_JOB), "{{instance}}"),),
)

# -- What is behind it --------------------------------------------------------------------------

QUERIES = TimeSeries(
    id=31,
    title="Query time, p95",
    description="95 of 100 database queries are answered within this time; beyond the promised "
    "time a query counts as slow. The database board says which statement.",
    unit="s",
    width=6,
    queries=(
        Query(QUERY_P95.select(job=CHOSEN_JOB), "p95"),
        Query(THRESHOLD.select(job=CHOSEN_JOB, slo="queries"), "promised"),
    ),
    overrides=(painted("p95", Colour.STRONG, width=2), promise()),
)

SLOW_RATIO = TimeSeries(
    id=32,
    title="Slow queries",
    description="Share of queries slower than promised, against the share that may be.",
    unit="percentunit",
    width=6,
    queries=(Query(_SLOW, "slow"), Query(_MAY_BE_SLOW, "promised")),
    overrides=(painted("slow", Colour.STRONG, width=2), promise()),
)

POOL = TimeSeries(
    id=33,
    title="Connection pool use",
    description="Share of each pool's connections that are taken. At 100 % requests wait for a "
    "connection and then fail: look for slow queries or sessions held too long before making the "
    "pool larger.",
    unit="percentunit",
    width=6,
    high=1,
    limits=True,
    steps=rising(0.7, 0.9),
    queries=(
        Query(POOL_USE.select(job=CHOSEN_JOB), "{{instance}} {{db_client_connection_pool_name}}"),
    ),
)

CACHE = TimeSeries(
    id=34,
    title="Cache hit ratio",
    description="Share of look-ups that each cache answers. A sudden fall sends its traffic to the "
    "database: was the cache emptied, was it restarted, is it reachable?",
    unit="percentunit",
    width=6,
    high=1,
    queries=(Query(CACHE_HIT_RATIO.select(job=CHOSEN_JOB), "{{cache}}"),),
)

BOARD = Board(
    uid="svc-overview",
    title="Service overview",
    description="Is the service well? If not: since when, where, and what is behind it?",
    variables=(SOURCE, JOB),
    annotations=(DEPLOYS, replace(FIRING, enabled=False)),
    rows=(
        Row((AVAILABILITY, LATENCY, SLOW_QUERIES, BUDGET, BURN, INSTANCES)),
        Row((RATE, ERRORS, DURATIONS)),
        Row((ROUTES, replace(FIRING_ALERTS, id=21, width=10))),
        Row((HEAT, IN_FLIGHT, LOOP_LAG)),
        Row((QUERIES, SLOW_RATIO, POOL, CACHE), title="What it depends on", id=30),
    ),
)
