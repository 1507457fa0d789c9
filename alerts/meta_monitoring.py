"""Alerts on the watch itself: a silent watch looks like a healthy service."""

from alerts.alert import Alert, Severity
from alerts.enrichment import OF_PROCESSES
from rules.monitoring import (
    ALERTMANAGER_CONFIG_GOOD,
    NOTIFICATIONS_DROPPED,
    NOTIFICATIONS_FAILED,
    PROMETHEUS_CONFIG_GOOD,
    RULE_FAILURES,
    RULES_MISSED,
    SCRAPE_LIMIT,
    SCRAPE_SAMPLES,
    SCRAPE_SECONDS,
    SCRAPE_TIMEOUT,
    UP,
)
from vitals.metrics.catalogue import BUILD_INFO, DROPPED

TOO_MANY_DOWN = "1 / 3"
"""The share of a job's instances above which the rest cannot be trusted to carry the load."""
HALF = 0.5
"""The share of its time-out that a scrape may take; at all of it the target counts as down."""
NEARLY_FULL = 0.8
"""The share of the limit of series that leaves room for a day's growth."""
BURST = 2
"""How many times its usual number of series a job has when something grows without bound."""
MANY_SERIES = 5000
"""Fewer cost nothing, however fast they came: a new service grows from none."""

TARGET_DOWN = Alert(
    name="TargetDown",
    expr=f"count by (job) ({UP.select()} == 0) / count by (job) ({UP.select()}) > {TOO_MANY_DOWN}",
    severity=Severity.PAGE,
    lasting="2m",
    keep_firing="5m",
    summary="{{ $labels.job }} is down: {{ $value | humanizePercentage }} of its instances",
    description="They do not answer Prometheus. Users may see errors, and nothing else about "
    "those instances is known.",
    clues=OF_PROCESSES,
)

INSTANCE_DOWN = Alert(
    name="InstanceDown",
    expr=f"{UP.select()} == 0",
    severity=Severity.TICKET,
    lasting="10m",
    summary="{{ $labels.instance }} of {{ $labels.job }} is down",
    description="It has not answered Prometheus for ten minutes.",
    board="svc-runtime",
)

TARGETS_GONE = Alert(
    name="TargetsGone",
    expr=f"count by (job) (count_over_time({UP.select('', '1h')})) "
    f"unless count by (job) ({UP.select()})",
    severity=Severity.TICKET,
    lasting="5m",
    summary="{{ $labels.job }} is no longer watched",
    description="Within the last hour Prometheus knew {{ $value | humanize }} of its instances, "
    "now none. If that was meant, this ends by itself within the hour.",
)

METRICS_GONE = Alert(
    name="MetricsGone",
    # What every service of the kit says from its first moment; traffic need not have come.
    expr=f"count by (job) (count_over_time({BUILD_INFO.select('', '1h')})) "
    f"unless on (job) count by (job) ({BUILD_INFO.select()}) "
    f"and on (job) count by (job) ({UP.select()} == 1)",
    # As long as this lasts, no other alert of the service can fire: the night would pass unseen.
    severity=Severity.PAGE,
    lasting="15m",
    keep_firing="5m",
    summary="{{ $labels.job }} answers, but says nothing about itself",
    description="Within the last hour {{ $value | humanize }} of its instances exported the kit's "
    "metrics, now none. No alert on its requests can fire meanwhile.",
    board="svc-runtime",
)

SCRAPE_SLOW = Alert(
    name="ScrapeSlow",
    expr=f"avg_over_time({SCRAPE_SECONDS.select('', '5m')}) > {HALF} * {SCRAPE_TIMEOUT.select()}",
    severity=Severity.TICKET,
    lasting="5m",
    summary="Scraping {{ $labels.instance }} of {{ $labels.job }} takes "
    "{{ $value | humanizeDuration }}",
    description="That is more than half of the time-out. Beyond it the instance counts as down.",
    board="svc-runtime",
    clues=OF_PROCESSES,
)

SERIES_BURST = Alert(
    name="SeriesBurst",
    # By job, because a new deployment's instances have no yesterday.
    expr=f"{SCRAPE_SAMPLES.max('job')} > {BURST} * max by (job) "
    f"(quantile_over_time(0.5, {SCRAPE_SAMPLES.select('', '1d')} offset 10m)) "
    f"and {SCRAPE_SAMPLES.max('job')} > {MANY_SERIES} "
    f"or max by (job) ({SCRAPE_SAMPLES.select()} > {NEARLY_FULL} * ({SCRAPE_LIMIT.select()} > 0))",
    severity=Severity.TICKET,
    lasting="10m",
    summary="{{ $labels.job }} exports {{ $value | humanize }} series an instance",
    description="That is twice its usual number, or four fifths of what a scrape may bring. "
    "Beyond the limit the whole scrape is refused and the instance counts as down.",
    board="svc-runtime",
    clues=OF_PROCESSES,
)

RULES_FAIL = Alert(
    name="RulesFail",
    expr=f"{RULE_FAILURES.increase('job', 'rule_group')} > 0",
    severity=Severity.TICKET,
    lasting="5m",
    summary="Prometheus cannot evaluate rules",
    description="Signals and alerts of {{ $labels.rule_group }} may be missing.",
    board="svc-alerts",
)

RULES_LATE = Alert(
    name="RulesLate",
    expr=f"{RULES_MISSED.increase('job', 'rule_group')} > 0",
    severity=Severity.TICKET,
    lasting="5m",
    summary="{{ $labels.job }} evaluates rules too slowly",
    description="{{ $labels.rule_group }} takes longer than its interval: "
    "{{ $value | humanize }} evaluations were left out within five minutes. Signals have gaps and "
    "alerts come late.",
    board="svc-alerts",
)

CONFIG_REJECTED = Alert(
    name="ConfigRejected",
    expr=f"{PROMETHEUS_CONFIG_GOOD.select()} == 0 or {ALERTMANAGER_CONFIG_GOOD.select()} == 0",
    severity=Severity.TICKET,
    lasting="5m",
    summary="{{ $labels.job }} refuses its new configuration",
    description="{{ $labels.instance }} goes on with the old one; whatever was changed is not in "
    "force.",
    board="svc-alerts",
)

NOTIFICATIONS_FAIL = Alert(
    name="NotificationsFail",
    expr=f"{NOTIFICATIONS_FAILED.increase('job', 'integration')} > 0",
    severity=Severity.PAGE,
    lasting="2m",
    summary="Alerts do not get through by {{ $labels.integration }}",
    description="{{ $value | humanize }} notifications failed within five minutes; another way, "
    "if there is one, brought this.",
    board="svc-alerts",
)

ALERTS_DROPPED = Alert(
    name="AlertsDropped",
    # A reload of Prometheus drops a few: two minutes later that is past, and nobody is woken.
    expr=f"{NOTIFICATIONS_DROPPED.increase('job', window='90s')} > 0",
    severity=Severity.PAGE,
    lasting="2m",
    # It can only be told once the way is open again, when its cause is over.
    keep_firing="5m",
    summary="Prometheus cannot hand alerts to Alertmanager",
    description="{{ $value | humanize }} alerts were dropped within 90 seconds.",
    board="svc-alerts",
)

TELEMETRY_DROPPED = Alert(
    name="TelemetryDropped",
    expr=f"{DROPPED.increase('job', 'reason', window='10m')} > 0",
    severity=Severity.TICKET,
    lasting="30m",
    summary="{{ $labels.job }} drops telemetry: {{ $labels.reason }}",
    description="{{ $value | humanize }} were dropped within ten minutes to stay bounded; "
    "figures may be incomplete.",
    board="svc-runtime",
)

WATCHDOG = Alert(
    name="Watchdog",
    expr="vector(1)",
    severity=Severity.NONE,
    summary="The way of an alert is open",
    description="This always fires. Whoever stops receiving it knows that alerts are not "
    "delivered.",
)
