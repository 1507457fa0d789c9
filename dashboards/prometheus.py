"""Series that Prometheus writes by itself, declared so that queries of them are checked too."""

from typing import NamedTuple

from vitals.metric import Gauge, NoLabels


class Target(NamedTuple):
    """Nothing beyond job and instance."""


class Rule(NamedTuple):
    """An active alert; the labels of ours that boards use."""

    alertname: str
    severity: str
    http_route: str
    slo: str


class RuleState(NamedTuple):
    """An active alert and whether it is ``pending`` or ``firing``."""

    alertname: str
    severity: str
    http_route: str
    slo: str
    alertstate: str


UP = Gauge("up", "1 where the last scrape succeeded.", NoLabels)
ALERTS = Gauge("ALERTS", "1 for each active alert.", RuleState)
ALERTS_FOR_STATE = Gauge(
    "ALERTS_FOR_STATE", "Since when each active alert's condition holds, as Unix time.", Rule
)
BUILT_IN = (UP, ALERTS, ALERTS_FOR_STATE)
