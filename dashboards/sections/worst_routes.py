"""The routes that hurt most users."""

from dashboards.links import TO_ENDPOINT
from dashboards.panels.query import Query, rows
from dashboards.panels.table_panels import Table
from dashboards.sections.slo_panels import LATENCY_PROMISED
from dashboards.style import Colour, Step, column, rising
from dashboards.variables import CHOSEN_JOB
from rules.requests import ERROR_RATIO_BY_ROUTE, LATENCY_P95_BY_ROUTE, REQUEST_RATE_BY_ROUTE
from rules.slo import THRESHOLD_BY_ROUTE
from vitals.metrics.catalogue import SLO_EVENTS

HOW_MANY = 10
_BROKEN_BY_ROUTE = SLO_EVENTS.rate("http_route", job=CHOSEN_JOB, outcome="bad")
_P95_BY_ROUTE = LATENCY_P95_BY_ROUTE.select(job=CHOSEN_JOB)
_RATE_BY_ROUTE = REQUEST_RATE_BY_ROUTE.sum("http_route", job=CHOSEN_JOB)
_SLOWNESS = f"max by (http_route) ({_P95_BY_ROUTE}) / 1e6"
_WORST = f"topk({HOW_MANY}, {_BROKEN_BY_ROUTE} + {_SLOWNESS} or {_SLOWNESS})"
"""Who hurts most users first; while nobody does, the slowest, by a figure too small to matter."""
_PROMISED_OF_ROUTE = (
    f"(max by (http_route) ({THRESHOLD_BY_ROUTE.select(job=CHOSEN_JOB, slo='latency')}) "
    f"or {_RATE_BY_ROUTE} * 0 + scalar(max({LATENCY_PROMISED})))"
)


def _of_worst(expr: str) -> Query:
    return rows(f"max by (http_route) ({expr}) and on (http_route) {_WORST}")


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
        _of_worst(f"max by (http_route) ({_P95_BY_ROUTE}) / {_PROMISED_OF_ROUTE}"),
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
        column("Broken / min", "short", width=115, steps=(Step(Colour.GOOD), Step(Colour.BAD, 1))),
        column("Rate", "reqps", width=100),
        column("Errors", "percentunit", width=90, steps=rising(0.001, 0.01)),
        column("p95", "s", width=90),
        column("p95 of promise", "percentunit", width=140, steps=rising(0.8, 1)),
    ),
)
