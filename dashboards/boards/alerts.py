"""The alerts: what fires, how fast promises are being broken, and which alerts are only noise."""

from dataclasses import replace

from dashboards.annotations import DEPLOYS
from dashboards.board import Board, Row
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, rows
from dashboards.panels.table_panels import AlertList, Table
from dashboards.sections.alert_table import FIRING_ALERTS
from dashboards.sections.slo_panels import BUDGET, BURN
from dashboards.style import Colour, column, painted, rising
from dashboards.variables import CHOSEN_JOB, JOB, SOURCE
from rules.monitoring import ALERTS
from rules.slo import BAD_RATIO, TARGET
from vitals.metrics.declarations import matching

_URGENT = matching("page|ticket")

LIST = AlertList(
    id=2,
    title="Alerts with their runbooks",
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
    title="Firing alerts by urgency",
    empty="none",
    description="How many alerts of this service fire. A page wakes somebody, a ticket waits for "
    "the morning.",
    unit="short",
    stacked=True,
    width=12,
    queries=(
        Query(
            ALERTS.sum("severity", job=CHOSEN_JOB, alertstate="firing", severity=_URGENT),
            "{{severity}}",
        ),
    ),
    overrides=(painted("page", Colour.BAD), painted("ticket", Colour.WATCH)),
)
PACES = TimeSeries(
    id=11,
    title="Budget burn by window",
    description="How many times faster than promised each budget is spent, over one hour and over "
    "six. The long window says that it matters, the short one that it goes on.",
    unit="suffix:x",
    width=12,
    limits=True,
    steps=rising(1, 14.4),
    queries=tuple(
        Query(
            f"{BAD_RATIO[window].select(job=CHOSEN_JOB)} / (1 - {TARGET.select(job=CHOSEN_JOB)})",
            f"{{{{slo}}}} {window}",
        )
        for window in ("1h", "6h")
    ),
)
NOISE = Table(
    id=20,
    title="Noisiest alerts, 7 days",
    empty="none",
    description="Hours that each alert of this service fired within the week. What fires often and "
    "is not acted upon teaches people to look away: mend the cause or change the alert.",
    unit="h",
    width=12,
    queries=(
        rows(
            "topk(10, sum by (alertname, severity) (sum_over_time(("
            f"{ALERTS.select(job=CHOSEN_JOB, alertstate='firing', severity=_URGENT)})[7d:5m]))) "
            "/ 12"
        ),
    ),
    columns={"alertname": "Alert", "severity": "Urgency", "Value": "Hours"},
    sort=(("Hours", True),),
    overrides=(column("Hours", "h", width=120),),
)

BOARD = Board(
    uid="svc-alerts",
    title="Alerts",
    description="What fires, how fast are promises being broken, which alerts are noise?",
    variables=(SOURCE, JOB),
    annotations=(DEPLOYS,),
    rows=(
        Row((replace(FIRING_ALERTS, id=1, width=14, height=9), LIST)),
        Row((COUNT, PACES)),
        Row(
            (
                NOISE,
                replace(BUDGET, id=21, width=6, height=8),
                replace(BURN, id=22, width=6, height=8),
            )
        ),
    ),
)
