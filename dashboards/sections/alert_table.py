"""The table of firing alerts, as it stands on several boards."""

from dashboards.panels.query import rows
from dashboards.panels.table_panels import Table
from dashboards.style import Colour, blank, column
from dashboards.variables import CHOSEN_JOB
from rules.monitoring import ALERTS, ALERTS_FOR_STATE
from vitals.metrics.declarations import matching

_OURS_OR_NOBODYS = matching(f"{CHOSEN_JOB}|")
FIRING_ALERTS = Table(
    id=1,
    title="Firing alerts",
    empty="none: not even the watchdog",
    description="Alerts of this service that fire now, and since when. The watchdog always fires: "
    "without it, alerts are not evaluated, and an empty list means nothing.",
    unit="short",
    queries=(
        rows(
            "label_replace(max by (alertname, severity, http_route, slo) ("
            f"{ALERTS_FOR_STATE.select(job=_OURS_OR_NOBODYS)} and ignoring (alertstate) "
            f"{ALERTS.select(alertstate='firing', job=_OURS_OR_NOBODYS)}) * 1000, "
            '"severity", "watchdog", "severity", "none")'
        ),
    ),
    columns={
        "severity": "Urgency",
        "alertname": "Alert",
        "http_route": "Route",
        "slo": "Promise",
        "Value": "Since",
    },
    sort=(("Urgency", False), ("Since", True)),
    overrides=(
        column(
            "Urgency",
            width=100,
            words={
                "page": ("page", Colour.BAD),
                "ticket": ("ticket", Colour.WATCH),
                "watchdog": ("watchdog", Colour.QUIET),
            },
        ),
        blank("Route"),
        blank("Promise"),
        column("Since", "dateTimeFromNow", width=130),
    ),
)
"""Boards give it an id and a width of their own."""
