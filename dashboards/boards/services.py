"""Services board: the state of every service, worst first; the viewer's home page.

It reads recorded series of jobs only, so that it is as fast with hundreds of services.
"""

from dashboards.board import Board, Row
from dashboards.links import TO_OVERVIEW, TO_OVERVIEW_OF_SERIES
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, instant_query, table_query
from dashboards.panels.stat_panels import Stat
from dashboards.panels.table_panels import Table
from dashboards.style import Colour, Step, column, falling, missing, rising
from dashboards.variables import SOURCE
from rules.requests import LATENCY_P95, REQUEST_RATE_BY_CLASS
from rules.services import BURN_RATE, DEPLOYED, DOWN, LISTED, PAGES, TICKETS
from rules.slo import BAD_RATIO, BUDGET_LEFT

DRAWN = 20
"""Lines of a graph: those of the services that are worst at its end."""
FAST_BURN = 14.4
"""The burn rate that pages, see ``alerts.burn_rate``."""


def _of_services(expr: str) -> Query:
    return table_query(f"({expr}) and on (job) {LISTED.by_own_labels}")


_ERRORS = BAD_RATIO["5m"].select(slo="availability", http_route="")

SERVICES = Table(
    id=1,
    title="Services",
    description="Every service that ran within a day, the worst first: by instances that are down, "
    "then by firing pages and tickets, then by how fast the error budget burns (1 uses it up "
    "within 30 days), by errors and by p95. Click a service to open its board.",
    unit="short",
    width=24,
    height=10,
    queries=(
        _of_services(DOWN.by_own_labels),
        _of_services(PAGES.by_own_labels),
        _of_services(TICKETS.by_own_labels),
        _of_services(BURN_RATE.by_own_labels),
        _of_services(f"min by (job) (last_over_time({BUDGET_LEFT}[15m]))"),
        _of_services(REQUEST_RATE_BY_CLASS.sum("job")),
        _of_services(f"max by (job) ({_ERRORS})"),
        _of_services(f"max by (job) ({LATENCY_P95})"),
        _of_services(f"{DEPLOYED.by_own_labels} * 1000"),
    ),
    columns={
        "job": "Service",
        "Value #A": "Down",
        "Value #B": "Pages",
        "Value #C": "Tickets",
        "Value #D": "Burn rate",
        "Value #E": "Budget left",
        "Value #F": "Requests",
        "Value #G": "Errors",
        "Value #H": "p95",
        "Value #I": "Deployed",
    },
    sort=(
        *(("Down", True), ("Pages", True), ("Tickets", True)),
        *(("Burn rate", True), ("Errors", True), ("p95", True)),
    ),
    overrides=(
        column("Service", link=TO_OVERVIEW),
        column("Down", "short", width=90, steps=(Step(Colour.GOOD), Step(Colour.BAD, 1))),
        column("Pages", "short", width=90, steps=(Step(Colour.GOOD), Step(Colour.BAD, 1))),
        column("Tickets", "short", width=90, steps=(Step(Colour.GOOD), Step(Colour.WARNING, 1))),
        column("Burn rate", "short", width=110, steps=rising(1, FAST_BURN)),
        column("Budget left", "percentunit", width=120, steps=falling(0.0, 0.25)),
        column("Requests", "reqps", width=110),
        column("Errors", "percentunit", width=100, steps=rising(0.001, 0.01)),
        column("p95", "s", width=100),
        column("Deployed", "dateTimeFromNow", width=140),
        missing("Down", "no targets"),
        missing("Budget left", "no data yet"),
        *(missing(name, "no traffic") for name in ("Burn rate", "Requests", "Errors", "p95")),
        missing("Deployed", "no data yet"),
    ),
    empty="no service ran within a day: see the targets of Prometheus",
)


def _count(number: int, title: str, description: str, expr: str, *steps: Step) -> Stat:
    return Stat(
        id=number,
        title=title,
        description=description,
        unit="short",
        decimals=0,
        width=6,
        height=3,
        counts_targets=True,
        steps=steps or (Step(Colour.MUTED),),
        queries=(instant_query(f"{expr} or sum({LISTED.by_own_labels}) * 0"),),
        empty="no service",
    )


_BAD = (Step(Colour.GOOD), Step(Colour.BAD, 1))
COUNT = _count(
    2,
    "All services",
    f"Services that ran within a day. The table has all of them, each graph the {DRAWN} that are "
    "worst in it.",
    f"count({LISTED.by_own_labels})",
)
NOT_WHOLE = _count(
    3,
    "With instances down",
    "Services of which an instance does not answer.",
    f"count({DOWN.by_own_labels} > 0)",
    *_BAD,
)
FIRING = _count(
    4,
    "With firing pages",
    "Services for which an alert fires that pages someone.",
    f"count({PAGES.by_own_labels} > 0)",
    *_BAD,
)
BURNING = _count(
    5,
    "Burning their budget",
    "Services that use their error budget up faster than they may.",
    f"count({BURN_RATE.by_own_labels} > 1)",
    *(Step(Colour.GOOD), Step(Colour.WARNING, 1)),
)


def _worst(number: int, title: str, description: str, unit: str, selector: str) -> TimeSeries:
    expr, last = (f"max by (job) ({each})" for each in (selector, f"{selector} @ end()"))
    return TimeSeries(
        id=number,
        title=f"{title}, {DRAWN} worst",
        description=f"{description} Of the {DRAWN} services where it is highest at the end of the "
        "time range. Click a line to open the service.",
        unit=unit,
        queries=(Query(f"{expr} and on (job) topk({DRAWN}, {last})", "{{job}}"),),
        links=(TO_OVERVIEW_OF_SERIES,),
        empty="no traffic",
    )


BURN = _worst(
    11,
    "Burn rate",
    "How many times the sustainable rate the error budget burns, by the last hour.",
    "short",
    str(BURN_RATE),
)
ERRORS = _worst(12, "Errors", "The share of requests that fail.", "percentunit", _ERRORS)
P95 = _worst(13, "p95", "95 % of requests take no longer than this.", "s", str(LATENCY_P95))

BOARD = Board(
    uid="svc-services",
    title="Services",
    description="How is every service? The worst first.",
    variables=(SOURCE,),
    rows=(
        Row((COUNT, NOT_WHOLE, FIRING, BURNING)),
        Row((SERVICES,)),
        Row((BURN, ERRORS, P95)),
    ),
)
