"""Services board: the state of every service, worst first; the viewer's home page."""

from dashboards.board import Board, Row
from dashboards.links import TO_OVERVIEW
from dashboards.panels.query import Query, table_query
from dashboards.panels.table_panels import Table
from dashboards.style import Colour, Step, column, falling, missing, rising
from dashboards.variables import SOURCE
from rules.monitoring import ALERTS, UP
from rules.releases import VERSIONS, deployed
from rules.requests import LATENCY_P95, REQUEST_RATE_BY_CLASS
from rules.slo import BAD_RATIO, BUDGET_LEFT

_SERVICES = f"max by (job) (last_over_time({VERSIONS}[1d]))"
"""Those that ran within a day, so that one that is down stays in the table."""
_FEW_DAYS = "7d"


def _of_services(expr: str) -> Query:
    return table_query(f"({expr}) and on (job) {_SERVICES}")


def _firing(severity: str) -> Query:
    firing = ALERTS.sum("job", alertstate="firing", severity=severity)
    return _of_services(f"{firing} or {_SERVICES} * 0")


SERVICES = Table(
    id=1,
    title="Services",
    description="Every service that ran within a day, the worst first: by instances that are down, "
    "then by firing pages and tickets, then by the error budget that is left. Click a service to "
    "open its board.",
    unit="short",
    width=24,
    height=7,
    queries=(
        _of_services(f"count by (job) ({UP.select()}) - {UP.sum('job')}"),
        _firing("page"),
        _firing("ticket"),
        _of_services(f"min by (job) (last_over_time({BUDGET_LEFT}[15m]))"),
        _of_services(REQUEST_RATE_BY_CLASS.sum("job")),
        _of_services(f"max by (job) ({BAD_RATIO['5m'].select(slo='availability', http_route='')})"),
        _of_services(f"max by (job) ({LATENCY_P95})"),
        _of_services(
            f"max by (job) (max_over_time(timestamp({deployed()})[{_FEW_DAYS}:5m])) * 1000"
        ),
    ),
    columns={
        "job": "Service",
        "Value #A": "Down",
        "Value #B": "Pages",
        "Value #C": "Tickets",
        "Value #D": "Budget left",
        "Value #E": "Requests",
        "Value #F": "Errors",
        "Value #G": "p95",
        "Value #H": "Deployed",
    },
    sort=(("Down", True), ("Pages", True), ("Tickets", True), ("Budget left", False)),
    overrides=(
        column("Service", link=TO_OVERVIEW),
        column("Down", "short", width=90, steps=(Step(Colour.GOOD), Step(Colour.BAD, 1))),
        column("Pages", "short", width=90, steps=(Step(Colour.GOOD), Step(Colour.BAD, 1))),
        column("Tickets", "short", width=90, steps=(Step(Colour.GOOD), Step(Colour.WARNING, 1))),
        column("Budget left", "percentunit", width=120, steps=falling(0.0, 0.25)),
        column("Requests", "reqps", width=120),
        column("Errors", "percentunit", width=100, steps=rising(0.001, 0.01)),
        column("p95", "s", width=100),
        column("Deployed", "dateTimeFromNow", width=140),
        missing("Down", "no targets"),
        missing("Budget left", "no data yet"),
        *(missing(name, "no traffic") for name in ("Requests", "Errors", "p95")),
        missing("Deployed", f"over {_FEW_DAYS} ago"),
    ),
    empty="no service ran within a day: see the targets of Prometheus",
)

BOARD = Board(
    uid="svc-services",
    title="Services",
    description="How is every service? The worst first.",
    variables=(SOURCE,),
    rows=(Row((SERVICES,)),),
)
