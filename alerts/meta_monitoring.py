"""Meta-monitoring: alerts on scraping, rules, Prometheus and Alertmanager themselves."""

from alerts.alert import Alert, Severity
from alerts.enrichment import FOR_PROCESSES
from alerts.investigation import OF_PROCESSES
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
    SERVICE_ENDS,
    SERVICE_READY,
    UP,
)
from rules.watched import WATCHED
from vitals.metrics.catalogue import BUILD_INFO, DROPPED

DOWN_SHARE = "1 / 3"
"""The share of a job's instances above which the others may not carry the load."""
MIN_ANSWERED = 0.7
"""The share of scrapes below which an instance is not up."""
SLOW_SCRAPE_SHARE = 0.5
"""The share of its timeout that a scrape may take; beyond the timeout the target is down."""
SERIES_LIMIT_SHARE = 0.8
"""The share of the sample limit that leaves room for a day's growth."""
BURST_FACTOR = 2
"""A job with this many times its usual number of series has unbounded growth."""
MIN_SERIES = 5000
"""Fewer cost nothing, however fast they grew: a new service starts from none."""

TARGET_DOWN = Alert(
    name="TargetDown",
    # With the label of ServiceEnded, which explains it.
    expr=f"label_replace(count by (job) ({UP.select()} == 0) / count by (job) ({UP.select()}) "
    f'> {DOWN_SHARE}, "service", "$1", "job", "(.*)")',
    fires_when="scrapes of more than a third of a job's instances fail",
    severity=Severity.PAGE,
    for_="2m",
    keep_firing_for="5m",
    summary="{{ $labels.job }} is down: {{ $value | humanizePercentage }} of its instances",
    description="Their scrapes fail. Users may see errors, and no other metrics of those "
    "instances arrive.",
    enrichments=FOR_PROCESSES,
    investigation=OF_PROCESSES,
)

INSTANCE_DOWN = Alert(
    name="InstanceDown",
    # Over a window: an instance that answers every second scrape is never down for long.
    expr=f"avg_over_time({UP.select('', '5m')}) < {MIN_ANSWERED} "
    f"and min_over_time({UP.select('', '2m')}) == 0",
    fires_when="scrapes of one instance fail, all or some",
    severity=Severity.TICKET,
    for_="8m",
    summary="{{ $labels.instance }} of {{ $labels.job }} is down, or answers only at times",
    description="Some or all scrapes of the last five minutes failed.",
    board="svc-runtime",
    investigation=OF_PROCESSES,
)

SERVICE_ENDED = Alert(
    name="ServiceEnded",
    # Not `up`: a service runs again before two scrapes of it have failed. Not `increase`: it is
    # extrapolated, and a number of ends is whole.
    expr=f"{SERVICE_ENDS.select()} - min_over_time({SERVICE_ENDS.select('', '5m')}) > 0 "
    f"or {SERVICE_READY.select()} == 0",
    fires_when="a service of the native stack ended, or is not ready again",
    not_when="it was stopped with the stack",
    severity=Severity.PAGE,
    # Longer than TargetDown of the same service, which it holds back.
    keep_firing_for="6m",
    summary="{{ $labels.service }} ended"
    "{{ if $value }}; it is started again{{ else }} and is not ready again{{ end }}",
    description="Ends within five minutes: {{ $value | humanize }}. How it ended and its last "
    "lines are in the log of the stack; `python -m stack status` says whether it is ready.",
    board="svc-alerts",
)

TARGETS_GONE = Alert(
    name="TargetsGone",
    expr=f"count by (job) (count_over_time({UP.select('', '1h')})) "
    f"unless count by (job) ({UP.select()})",
    fires_when="a job has no scrape targets any more",
    not_when="an hour has passed",
    severity=Severity.TICKET,
    for_="5m",
    summary="{{ $labels.job }} has no scrape targets any more",
    description="Within the last hour Prometheus scraped {{ $value | humanize }} of its instances, "
    "now none. If that is intended, the alert resolves within the hour.",
    of_jobs=f"max_over_time({WATCHED}[1h])",  # it is not watched any more
)

METRICS_GONE = Alert(
    name="MetricsGone",
    # Every service with the kit exports it from the start, without traffic.
    # An instance that was deployed anew has two versions within the hour.
    expr=f"count by (job) (count by (job, instance) "
    f"(count_over_time({BUILD_INFO.select('', '1h')}))) "
    f"unless on (job) count by (job) ({BUILD_INFO.select()}) "
    f"and on (job) count by (job) ({UP.select()} == 1)",
    # As long as this lasts, no other alert of the service can fire.
    fires_when="a job is up, but exports no metrics of the kit",
    not_when="an hour has passed",
    severity=Severity.PAGE,
    for_="15m",
    keep_firing_for="5m",
    summary="{{ $labels.job }} is up but exports no metrics of the kit",
    description="Within the last hour {{ $value | humanize }} of its instances exported the kit's "
    "metrics, now none. Alerts on its requests cannot fire meanwhile.",
    board="svc-runtime",
)

SCRAPE_SLOW = Alert(
    name="ScrapeSlow",
    expr=f"avg_over_time({SCRAPE_SECONDS.select('', '5m')}) "
    f"> {SLOW_SCRAPE_SHARE} * {SCRAPE_TIMEOUT.select()}",
    fires_when="scrapes take more than half of their timeout",
    severity=Severity.TICKET,
    for_="5m",
    summary="Scraping {{ $labels.instance }} of {{ $labels.job }} takes "
    "{{ $value | humanizeDuration }}",
    description="That is more than half of the timeout. Beyond it the instance counts as down.",
    board="svc-runtime",
    enrichments=FOR_PROCESSES,
    investigation=OF_PROCESSES,
)

SERIES_BURST = Alert(
    name="SeriesBurst",
    # By job, because the instances of a new deployment have no history.
    expr=f"{SCRAPE_SAMPLES.max('job')} > {BURST_FACTOR} * max by (job) "
    f"(quantile_over_time(0.5, {SCRAPE_SAMPLES.select('', '1d')} offset 10m)) "
    f"and {SCRAPE_SAMPLES.max('job')} > {MIN_SERIES} "
    f"or max by (job) ({SCRAPE_SAMPLES.select()} "
    f"> {SERIES_LIMIT_SHARE} * ({SCRAPE_LIMIT.select()} > 0))",
    fires_when="a job exports twice its usual series, or 80% of the sample limit",
    not_when="fewer than 5,000 series",
    severity=Severity.TICKET,
    for_="10m",
    summary="{{ $labels.job }} exports {{ $value | humanize }} series per instance",
    description="That is twice its usual number, or 80% of the sample limit of its scrape. "
    "Beyond the limit the whole scrape fails and the instance counts as down.",
    board="svc-runtime",
    enrichments=FOR_PROCESSES,
    investigation=OF_PROCESSES,
)

RULES_FAIL = Alert(
    name="RulesFail",
    expr=f"{RULE_FAILURES.increase('job', 'rule_group')} > 0",
    fires_when="Prometheus cannot evaluate rules",
    severity=Severity.TICKET,
    for_="5m",
    summary="Prometheus cannot evaluate rules",
    description="Recorded series and alerts of {{ $labels.rule_group }} may be missing.",
    board="svc-alerts",
)

RULES_LATE = Alert(
    name="RulesLate",
    expr=f"{RULES_MISSED.increase('job', 'rule_group')} > 0",
    fires_when="Prometheus skips rule evaluations",
    severity=Severity.TICKET,
    for_="5m",
    summary="{{ $labels.job }} evaluates rules too slowly",
    description="{{ $labels.rule_group }} takes longer than its interval: "
    "{{ $value | humanize }} evaluations were skipped within five minutes. Recorded series have "
    "gaps and alerts fire late.",
    board="svc-alerts",
)

CONFIG_REJECTED = Alert(
    name="ConfigRejected",
    expr=f"{PROMETHEUS_CONFIG_GOOD.select()} == 0 or {ALERTMANAGER_CONFIG_GOOD.select()} == 0",
    fires_when="Prometheus or Alertmanager rejects its new configuration",
    severity=Severity.TICKET,
    for_="5m",
    summary="{{ $labels.job }} rejected its new configuration",
    description="{{ $labels.instance }} keeps the old one; the change has no effect.",
    board="svc-alerts",
)

NOTIFICATIONS_FAIL = Alert(
    name="NotificationsFail",
    expr=f"{NOTIFICATIONS_FAILED.increase('job', 'integration')} > 0",
    fires_when="an integration of Alertmanager fails",
    severity=Severity.PAGE,
    for_="2m",
    summary="Notifications via {{ $labels.integration }} are failing",
    description="{{ $value | humanize }} notifications failed within five minutes. This alert is "
    "delivered by another integration, if there is one.",
    board="svc-alerts",
)

ALERTS_DROPPED = Alert(
    name="AlertsDropped",
    # A reload of Prometheus drops a few: two minutes later that is over, and nothing pages.
    expr=f"{NOTIFICATIONS_DROPPED.increase('job', window='90s')} > 0",
    fires_when="Prometheus cannot reach Alertmanager",
    severity=Severity.PAGE,
    for_="2m",
    # It can only be delivered once Alertmanager is back, when its cause is over.
    keep_firing_for="5m",
    summary="Prometheus cannot send alerts to Alertmanager",
    description="{{ $value | humanize }} alerts were dropped within 90 seconds.",
    board="svc-alerts",
)

TELEMETRY_DROPPED = Alert(
    name="TelemetryDropped",
    expr=f"{DROPPED.increase('job', 'reason', window='10m')} > 0",
    fires_when="the kit drops telemetry",
    severity=Severity.TICKET,
    for_="30m",
    summary="{{ $labels.job }} drops telemetry: {{ $labels.reason }}",
    description="{{ $value | humanize }} items were dropped within ten minutes to stay within "
    "limits; metrics may be incomplete.",
    board="svc-runtime",
)

WATCHDOG = Alert(
    name="Watchdog",
    expr="vector(1)",
    fires_when="always; when it stops arriving, notifications are not delivered",
    severity=Severity.NONE,
    summary="The alerting pipeline works",
    description="This alert always fires. When it stops arriving, notifications are not delivered.",
)
