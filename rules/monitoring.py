"""Declarations of the metrics of Prometheus and Alertmanager that rules and boards use.

Declared like our own metrics, so that queries of them are checked too. Every series of a target
also has ``job`` and ``instance``.
"""

from typing import NamedTuple

from vitals.metrics.declarations import Counter, Gauge, NoLabels


class AlertLabels(NamedTuple):
    """Labels of an active alert that boards use."""

    alertname: str
    severity: str
    http_route: str
    slo: str


class AlertStateLabels(NamedTuple):
    """Labels of an active alert and its state, ``pending`` or ``firing``."""

    alertname: str
    severity: str
    http_route: str
    slo: str
    service: str
    alertstate: str


class IntegrationLabels(NamedTuple):
    """The label of a notification integration of Alertmanager."""

    integration: str


class UpLabels(NamedTuple):
    """The label of a target that prometheus/targets declares, see ``rules.watched``."""

    watched_by: str


class RuleGroupLabels(NamedTuple):
    """The label of a rule group: its file and name."""

    rule_group: str


class RefusalLabels(NamedTuple):
    """What a store of traces and logs refused, and why: ``busy``, ``disk`` or ``invalid``."""

    signal: str
    reason: str


class KindLabels(NamedTuple):
    """What a store keeps: ``spans`` or ``lines``."""

    kind: str


class IssueStateLabels(NamedTuple):
    """The label of a state: ``open``, ``resolved`` or ``ignored``."""

    state: str


class IssueLabels(NamedTuple):
    """Labels of an issue that is new or reopened, as of the occurrence that made it so.

    At most 50 of them have series at once, each for fifteen minutes.
    """

    service: str
    fingerprint: str
    type: str
    place: str
    http_route: str
    release: str


class FailureLabels(NamedTuple):
    """The label of a failure: ``store`` or ``disk``."""

    reason: str


class ServiceLabels(NamedTuple):
    """The label of a service that the stack's runner supervises."""

    service: str


# -- Of each target ------------------------------------------------------------------------

UP = Gauge("up", "1 where the last scrape succeeded.", UpLabels)
SCRAPE_SECONDS = Gauge("scrape_duration_seconds", "How long the last scrape took.", NoLabels)
SCRAPE_TIMEOUT = Gauge(
    "scrape_timeout_seconds",
    "How long a scrape may take; needs the feature extra-scrape-metrics.",
    NoLabels,
)
SCRAPE_SAMPLES = Gauge(
    "scrape_samples_post_metric_relabeling", "Samples of the last scrape.", NoLabels
)
SCRAPE_LIMIT = Gauge(
    "scrape_sample_limit",
    "Sample limit of a scrape, 0 for none; needs the feature extra-scrape-metrics.",
    NoLabels,
)

# -- Of alerts -----------------------------------------------------------------------------

ALERTS = Gauge("ALERTS", "1 for each active alert.", AlertStateLabels)
ALERTS_FOR_STATE = Gauge(
    "ALERTS_FOR_STATE",
    "Since when each active alert's condition is true, as Unix time.",
    AlertLabels,
)

# -- Of Prometheus and Alertmanager --------------------------------------------------------

RULE_FAILURES = Counter(
    "prometheus_rule_evaluation_failures_total",
    "Rules that Prometheus failed to evaluate.",
    RuleGroupLabels,
)
RULES_MISSED = Counter(
    "prometheus_rule_group_iterations_missed_total",
    "Evaluations skipped because the one before took too long.",
    RuleGroupLabels,
)
PROMETHEUS_CONFIG_GOOD = Gauge(
    "prometheus_config_last_reload_successful", "0 while a new configuration is rejected.", NoLabels
)
ALERTMANAGER_CONFIG_GOOD = Gauge(
    "alertmanager_config_last_reload_successful", "The same for Alertmanager.", NoLabels
)
NOTIFICATIONS_DROPPED = Counter(
    "prometheus_notifications_dropped_total", "Alerts that Prometheus could not send.", NoLabels
)
NOTIFICATIONS_FAILED = Counter(
    "alertmanager_notifications_failed_total",
    "Notifications that could not be delivered.",
    IntegrationLabels,
)

# -- Of the stack's runner -----------------------------------------------------------------

SERVICE_ENDS = Counter(
    "runner_service_ends_total",
    "How often a service ended without having been asked to; the runner starts it again.",
    ServiceLabels,
)
SERVICE_READY = Gauge(
    "runner_service_ready",
    "1 while a service is ready, 0 while it is not; absent until it was ready once.",
    ServiceLabels,
)

# -- Of the stack's store of traces and logs -----------------------------------------------

STORE_STORED = Counter(
    "vitals_store_stored_total", "Spans and log lines that are on the disk.", KindLabels
)
STORE_REJECTED = Counter(
    "vitals_store_rejected_total",
    "Spans and log lines of stored requests that are not kept, such as those without a trace id.",
    KindLabels,
)
STORE_REFUSED = Counter(
    "vitals_store_refused_requests_total",
    "Requests that were not stored; the sender keeps its data if the reason is busy or disk.",
    RefusalLabels,
)
STORE_SIZE = Gauge("vitals_store_size_bytes", "Size of its files.", NoLabels)
STORE_LIMIT = Gauge(
    "vitals_store_limit_bytes", "Size at which the oldest content is removed.", NoLabels
)
STORE_OLDEST = Gauge(
    "vitals_store_oldest_timestamp_seconds", "Time of the oldest content, as Unix time.", NoLabels
)

# -- Of the stack's issue tracker (``stack/issues``) --------------------------------------

ISSUES = Gauge("vitals_issues", "Issues by state.", IssueStateLabels)
ISSUE_NEW = Gauge(
    "vitals_issue_new_time_seconds",
    "When a new issue was first seen, as Unix time; for fifteen minutes.",
    IssueLabels,
)
ISSUE_REOPENED = Gauge(
    "vitals_issue_reopened_time_seconds",
    "When a resolved issue was seen again, as Unix time; for fifteen minutes.",
    IssueLabels,
)
ISSUES_READ = Gauge(
    "vitals_issues_last_read_time_seconds",
    "When errors were last read from the store, as Unix time.",
    NoLabels,
)
ISSUES_READ_FAILURES = Counter(
    "vitals_issues_read_failures_total",
    "Attempts to read errors that failed: the store did not answer, or the disk was full.",
    FailureLabels,
)
