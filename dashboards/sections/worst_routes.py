"""Table of the routes with the most bad requests."""

from dashboards.links import TO_ENDPOINT, TO_FAILED_OF_ROUTE, TO_SLOW_OF_ROUTE
from dashboards.panels.query import Query, table_query
from dashboards.panels.table_panels import Table
from dashboards.sections.slo_panels import SLOW_SHARE_ALLOWED
from dashboards.style import Colour, Step, column, rising
from dashboards.variables import CHOSEN_JOB
from rules.requests import (
    ERROR_RATIO_BY_ROUTE,
    EVENTS_BY_OUTCOME,
    LATENCY_P95_BY_ROUTE,
    MATCHED,
    REQUEST_RATE_BY_ROUTE,
    WINDOW,
)
from rules.slo import BAD_EVENTS_BY_ROUTE, EVENTS_BY_ROUTE, TARGET

ROUTE_LIMIT = 10
_BAD_BY_ROUTE = f"({EVENTS_BY_OUTCOME.sum('http_route', job=CHOSEN_JOB, outcome='bad')} / {WINDOW})"
_P95_BY_ROUTE = LATENCY_P95_BY_ROUTE.select(job=CHOSEN_JOB)
_RATE_BY_ROUTE = REQUEST_RATE_BY_ROUTE.sum("http_route", job=CHOSEN_JOB)
_SLOWNESS = f"max by (http_route) ({_P95_BY_ROUTE}) / 1e6"
_WORST = f"topk({ROUTE_LIMIT}, {_BAD_BY_ROUTE} + {_SLOWNESS} or {_SLOWNESS})"
"""By bad requests; the latency is scaled down so far that it only breaks ties."""
_SLOW, _TIMED = (
    signal.select(job=CHOSEN_JOB, slo="latency")
    for signal in (BAD_EVENTS_BY_ROUTE, EVENTS_BY_ROUTE)
)
_OWN_TARGET = TARGET.select(job=CHOSEN_JOB, slo="latency", http_route=MATCHED)
_SLOW_ALLOWED = (
    f"(1 - max by (http_route) ({_OWN_TARGET}) "
    f"or {_RATE_BY_ROUTE} * 0 + scalar(max({SLOW_SHARE_ALLOWED})))"
)
_SLOW_SHARE = f"max by (http_route) ({_SLOW} / ({_TIMED} > 0))"


def _of_worst(expr: str) -> Query:
    return table_query(f"max by (http_route) ({expr}) and on (http_route) {_WORST}")


ROUTES = Table(
    id=20,
    title="Worst routes",
    description="The ten routes with the most bad requests (failed or too slow); if there are "
    "none, the slowest. Click a route to open its board, its errors or its p95 for their traces.",
    unit="short",
    width=14,
    queries=(
        _of_worst(f"{_BAD_BY_ROUTE} * 60"),
        _of_worst(_RATE_BY_ROUTE),
        _of_worst(ERROR_RATIO_BY_ROUTE.select(job=CHOSEN_JOB)),
        _of_worst(_P95_BY_ROUTE),
        _of_worst(f"{_SLOW_SHARE} / {_SLOW_ALLOWED}"),
    ),
    columns={
        "http_route": "Route",
        "Value #A": "Bad / min",
        "Value #B": "Rate",
        "Value #C": "Errors",
        "Value #D": "p95",
        "Value #E": "Slow / allowed",
    },
    sort=(("Bad / min", True), ("Slow / allowed", True)),
    overrides=(
        column("Route", link=TO_ENDPOINT, words={"": ("(no route)", Colour.MUTED)}),
        column("Bad / min", "short", width=115, steps=(Step(Colour.GOOD), Step(Colour.BAD, 1))),
        column("Rate", "reqps", width=100),
        column(
            "Errors", "percentunit", width=90, steps=rising(0.001, 0.01), link=TO_FAILED_OF_ROUTE
        ),
        column("p95", "s", width=90, link=TO_SLOW_OF_ROUTE),
        column("Slow / allowed", "percentunit", width=140, steps=rising(0.8, 1)),
    ),
)
