"""Alerts board: firing alerts, burn rates, the noisiest alerts."""

from dataclasses import replace

from dashboards.annotations import DEPLOYS, DOWN
from dashboards.board import Board, Row
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, table_query
from dashboards.panels.table_panels import AlertList, Table
from dashboards.sections.alert_table import FIRING_ALERTS
from dashboards.sections.slo_panels import BUDGET, BURN
from dashboards.style import Colour, column, rising, series_colour
from dashboards.variables import CHOSEN_JOB, JOB, SOURCE
from rules.monitoring import ALERTS
from rules.slo import BAD_RATIO, TARGET
from vitals.metrics.declarations import matching

_URGENT = matching("page|ticket")

LIST = AlertList(
    id=2,
    title="Alerts and runbooks",
    description="Grafana's own list of this service's alerts, pending ones included. Open one for "
    "its description, its runbook and a silence.",
    unit="short",
    queries=(),
    width=10,
    height=9,
    labels='{job="$job"}',
)
COUNT = TimeSeries(
    id=10,
    title="Firing alerts by severity",
    empty="none recorded",
    description="Number of firing alerts of this service. A page wakes the person on call, a "
    "ticket waits for working hours.",
    unit="short",
    stacked=True,
    width=12,
    queries=(
        Query(
            ALERTS.sum("severity", job=CHOSEN_JOB, alertstate="firing", severity=_URGENT),
            "{{severity}}",
        ),
    ),
    overrides=(series_colour("page", Colour.BAD), series_colour("ticket", Colour.WARNING)),
)
BURN_RATES = TimeSeries(
    id=11,
    title="Burn rate by window",
    description="How fast each error budget is spent, over one hour and over six; 1 spends it in "
    "exactly 30 days. The long window shows that it matters, the short one that it still goes on.",
    unit="suffix:x",
    width=12,
    limits=True,
    steps=rising(1, 14.4),
    queries=tuple(
        Query(
            f"{BAD_RATIO[window].select(job=CHOSEN_JOB)} / (1 - {TARGET.select(job=CHOSEN_JOB)})",
            f"{{{{slo}}}} {{{{http_route}}}} {window}",
        )
        for window in ("1h", "6h")
    ),
)
NOISE = Table(
    id=20,
    title="Noisiest alerts, 7 days",
    empty="none recorded",
    description="Hours that each alert of this service fired within the last seven days. Alerts "
    "that fire often without action get ignored: fix the cause or change the alert.",
    unit="h",
    width=12,
    queries=(
        table_query(
            "topk(10, sum by (alertname, severity) (sum_over_time(("
            f"{ALERTS.select(job=CHOSEN_JOB, alertstate='firing', severity=_URGENT)})[7d:5m]))) "
            "/ 12"
        ),
    ),
    columns={"alertname": "Alert", "severity": "Severity", "Value": "Hours"},
    sort=(("Hours", True),),
    overrides=(column("Hours", "h", width=120),),
)

BOARD = Board(
    uid="svc-alerts",
    title="Alerts",
    description="Which alerts fire, how fast are error budgets spent, which alerts are noise?",
    variables=(SOURCE, JOB),
    annotations=(DEPLOYS, DOWN),
    rows=(
        Row((replace(FIRING_ALERTS, id=1, width=14, height=9), LIST)),
        Row((COUNT, BURN_RATES)),
        Row(
            (
                NOISE,
                replace(BUDGET, id=21, width=6, height=8),
                replace(BURN, id=22, width=6, height=8),
            )
        ),
    ),
)
