"""Alerts on the watch itself: a silent watch looks like a healthy service."""

from alerts.alert import Alert, Severity
from alerts.signals.watch import NOTIFICATIONS_DROPPED, NOTIFICATIONS_FAILED, RULE_FAILURES, UP
from vitals.catalogue import DROPPED

TOO_MANY_DOWN = "1 / 3"
"""The share of a job's instances above which the rest cannot be trusted to carry the load."""

TARGET_DOWN = Alert(
    name="TargetDown",
    expr=f"count by (job) ({UP.select()} == 0) / count by (job) ({UP.select()}) > {TOO_MANY_DOWN}",
    severity=Severity.PAGE,
    lasting="2m",
    keep_firing="5m",
    summary="{{ $labels.job }} is down: {{ $value | humanizePercentage }} of its instances",
    description="They do not answer Prometheus. Users may see errors, and nothing else about "
    "those instances is known.",
)

INSTANCE_DOWN = Alert(
    name="InstanceDown",
    expr=f"{UP.select()} == 0",
    severity=Severity.TICKET,
    lasting="10m",
    summary="{{ $labels.instance }} of {{ $labels.job }} is down",
    description="It has not answered Prometheus for ten minutes.",
)

TARGETS_GONE = Alert(
    name="TargetsGone",
    expr=f"count by (job) ({UP.select()} offset 1h) unless count by (job) ({UP.select()})",
    severity=Severity.TICKET,
    lasting="5m",
    summary="{{ $labels.job }} is no longer watched",
    description="An hour ago Prometheus knew {{ $value | humanize }} of its instances, now none. "
    "If that was meant, this ends by itself within the hour.",
)

RULES_FAIL = Alert(
    name="RulesFail",
    expr=f"{RULE_FAILURES.increase('job', 'rule_group')} > 0",
    severity=Severity.TICKET,
    lasting="5m",
    summary="Prometheus cannot evaluate rules",
    description="Signals and alerts of {{ $labels.rule_group }} may be missing.",
)

NOTIFICATIONS_FAIL = Alert(
    name="NotificationsFail",
    expr=f"{NOTIFICATIONS_FAILED.increase('job', 'integration')} > 0",
    severity=Severity.PAGE,
    lasting="2m",
    summary="Alerts do not get through by {{ $labels.integration }}",
    description="{{ $value | humanize }} notifications failed within five minutes; another way, "
    "if there is one, brought this.",
)

ALERTS_DROPPED = Alert(
    name="AlertsDropped",
    # A reload of Prometheus drops a few: two minutes later that is past, and nobody is woken.
    expr=f"{NOTIFICATIONS_DROPPED.increase('job', window='90s')} > 0",
    severity=Severity.PAGE,
    lasting="2m",
    summary="Prometheus cannot hand alerts to Alertmanager",
    description="{{ $value | humanize }} alerts were dropped within 90 seconds.",
)

TELEMETRY_DROPPED = Alert(
    name="TelemetryDropped",
    expr=f"{DROPPED.increase('job', 'reason', window='10m')} > 0",
    severity=Severity.TICKET,
    lasting="30m",
    summary="{{ $labels.job }} drops telemetry: {{ $labels.reason }}",
    description="{{ $value | humanize }} were dropped within ten minutes to stay bounded; "
    "figures may be incomplete.",
)

WATCHDOG = Alert(
    name="Watchdog",
    expr="vector(1)",
    severity=Severity.NONE,
    summary="The way of an alert is open",
    description="This always fires. Whoever stops receiving it knows that alerts are not "
    "delivered.",
)
