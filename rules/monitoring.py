"""What Prometheus and Alertmanager say of themselves and of what they watch, as far as it is used.

Declared like our own metrics, so that queries of them are checked too. Every series of a target
also has ``job`` and ``instance``.
"""

from typing import NamedTuple

from vitals.metrics.declarations import Counter, Gauge, NoLabels


class Active(NamedTuple):
    """An active alert; the labels of ours that boards use."""

    alertname: str
    severity: str
    http_route: str
    slo: str


class ActiveState(NamedTuple):
    """An active alert and whether it is ``pending`` or ``firing``."""

    alertname: str
    severity: str
    http_route: str
    slo: str
    alertstate: str


class Integration(NamedTuple):
    """A way of Alertmanager to reach people."""

    integration: str


class RuleGroup(NamedTuple):
    """A group of rules by file and name."""

    rule_group: str


# -- Of each target ------------------------------------------------------------------------

UP = Gauge("up", "1 where the last scrape succeeded.", NoLabels)
SCRAPE_SECONDS = Gauge("scrape_duration_seconds", "How long the last scrape took.", NoLabels)
SCRAPE_TIMEOUT = Gauge(
    "scrape_timeout_seconds",
    "How long a scrape may take; needs the feature extra-scrape-metrics.",
    NoLabels,
)
SCRAPE_SAMPLES = Gauge(
    "scrape_samples_post_metric_relabeling", "Series that the last scrape brought.", NoLabels
)
SCRAPE_LIMIT = Gauge(
    "scrape_sample_limit",
    "Series that a scrape may bring, 0 for any number; needs the feature extra-scrape-metrics.",
    NoLabels,
)

# -- Of alerts -----------------------------------------------------------------------------

ALERTS = Gauge("ALERTS", "1 for each active alert.", ActiveState)
ALERTS_FOR_STATE = Gauge(
    "ALERTS_FOR_STATE", "Since when each active alert's condition holds, as Unix time.", Active
)

# -- Of the watch itself -------------------------------------------------------------------

RULE_FAILURES = Counter(
    "prometheus_rule_evaluation_failures_total", "Rules that Prometheus cannot answer.", RuleGroup
)
RULES_MISSED = Counter(
    "prometheus_rule_group_iterations_missed_total",
    "Evaluations left out because the one before took too long.",
    RuleGroup,
)
PROMETHEUS_CONFIG_GOOD = Gauge(
    "prometheus_config_last_reload_successful", "0 while a new configuration is refused.", NoLabels
)
ALERTMANAGER_CONFIG_GOOD = Gauge(
    "alertmanager_config_last_reload_successful", "The same of Alertmanager.", NoLabels
)
NOTIFICATIONS_DROPPED = Counter(
    "prometheus_notifications_dropped_total", "Alerts Prometheus could not hand over.", NoLabels
)
NOTIFICATIONS_FAILED = Counter(
    "alertmanager_notifications_failed_total", "Notifications not delivered.", Integration
)

OF_THE_WATCH = tuple(
    declared for declared in tuple(globals().values()) if isinstance(declared, Counter | Gauge)
)
"""Every one of them."""
