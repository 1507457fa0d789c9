"""Table of firing alerts, shared by several boards."""

from dashboards.panels.query import table_query
from dashboards.panels.table_panels import Table
from dashboards.style import Colour, blank_cells, column
from dashboards.variables import CHOSEN_JOB
from rules.alert_states import FIRING_SINCE, SAME_ALERT
from rules.monitoring import ALERTS, ALERTS_FOR_STATE
from vitals.metrics.declarations import matching

_JOB_OR_NONE = matching(f"{CHOSEN_JOB}|")
FIRING_ALERTS = Table(
    id=1,
    title="Firing alerts",
    empty="none: not even the watchdog",
    description="Alerts of this service that are firing, and since when. The watchdog always "
    "fires: an empty table means that alerts are not evaluated.",
    unit="short",
    queries=(
        table_query(
            # Until it is recorded, for one evaluation, since when the condition is true.
            "label_replace(max by (alertname, severity, http_route, slo) ("
            f"{FIRING_SINCE.select(job=_JOB_OR_NONE)} or on ({SAME_ALERT}) "
            f"{ALERTS_FOR_STATE.select(job=_JOB_OR_NONE)} and ignoring (alertstate) "
            f"{ALERTS.select(alertstate='firing', job=_JOB_OR_NONE)}) * 1000, "
            '"severity", "watchdog", "severity", "none")'
        ),
    ),
    columns={
        "severity": "Severity",
        "alertname": "Alert",
        "http_route": "Route",
        "slo": "SLO",
        "Value": "Since",
    },
    sort=(("Severity", False), ("Since", True)),
    overrides=(
        column(
            "Severity",
            width=100,
            words={
                "page": ("page", Colour.BAD),
                "ticket": ("ticket", Colour.WARNING),
                "watchdog": ("watchdog", Colour.MUTED),
            },
        ),
        blank_cells("Route"),
        blank_cells("SLO"),
        column("Since", "dateTimeFromNow", width=130),
    ),
)
"""Boards replace its id and width."""
