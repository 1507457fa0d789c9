"""Meta-monitoring of VictoriaMetrics: rendered for that engine alone.

Some replace alerts of the same name, and so have the same runbook, whose metrics only Prometheus
exports.
"""

from dataclasses import replace

from alerts import meta_monitoring
from alerts.alert import Alert, Severity
from rules.monitoring import ALERTMANAGER_CONFIG_GOOD, SCRAPE_LIMIT
from rules.victoriametrics import (
    ALERTING_FAILURES,
    ALERTS_UNSENT,
    DISK_FREE,
    DISK_LIMIT,
    ITERATIONS_MISSED,
    PACKETS_DROPPED,
    PENDING_BYTES,
    READ_ONLY,
    RECORDED_DROPPED,
    RECORDING_FAILURES,
    ROWS_IGNORED,
    ROWS_INSERTED,
    SAMPLES_LIMIT,
    SLOW_INSERTS,
    VMAGENT_CONFIG_GOOD,
    VMALERT_CONFIG_GOOD,
    VMAUTH_CONFIG_GOOD,
)

REPLACED = (
    meta_monitoring.RULES_FAIL,
    meta_monitoring.RULES_LATE,
    meta_monitoring.CONFIG_REJECTED,
    meta_monitoring.ALERTS_DROPPED,
    meta_monitoring.SERIES_BURST,
)
"""Alerts of Prometheus, each with one of the same name here."""
BACKLOG_BYTES = 10_000_000
"""What vmagent may have to send yet: about half a minute of a thousand instances."""
SLOW_INSERT_SHARE = 0.05
"""The share of slow inserts above which the store is short of memory; the documentation of
VictoriaMetrics names it."""
DAY_SECONDS = 86_400

RULES_FAIL = replace(
    meta_monitoring.RULES_FAIL,
    # Of single rules: the number of those that failed, each as often as it was evaluated.
    expr=f"sum by (job, group) (increase({ALERTING_FAILURES.select('', '5m')}) > 0 "
    f"or increase({RECORDING_FAILURES.select('', '5m')}) > 0)",
    fires_when="vmalert cannot evaluate rules",
    summary="vmalert cannot evaluate rules",
    description="Recorded series and alerts of {{ $labels.group }} may be missing.",
)

RULES_LATE = replace(
    meta_monitoring.RULES_LATE,
    expr=f"{ITERATIONS_MISSED.increase('job', 'group')} > 0",
    fires_when="vmalert skips rule evaluations",
    description="{{ $labels.group }} takes longer than its interval: "
    "{{ $value | humanize }} evaluations were skipped within five minutes. Recorded series have "
    "gaps and alerts fire late.",
)

CONFIG_REJECTED = replace(
    meta_monitoring.CONFIG_REJECTED,
    expr=" or ".join(
        f"{good.select()} == 0"
        for good in (
            VMALERT_CONFIG_GOOD,
            VMAGENT_CONFIG_GOOD,
            VMAUTH_CONFIG_GOOD,
            ALERTMANAGER_CONFIG_GOOD,
        )
    ),
    fires_when="vmalert, vmagent, vmauth or Alertmanager rejects its new configuration",
)

ALERTS_DROPPED = replace(
    meta_monitoring.ALERTS_DROPPED,
    expr=f"{ALERTS_UNSENT.increase('job', window='90s')} > 0",
    fires_when="vmalert cannot reach an Alertmanager",
    summary="vmalert cannot send alerts to Alertmanager",
    description="{{ $value | humanize }} times within 90 seconds alerts were not taken.",
)

SERIES_BURST = replace(
    meta_monitoring.SERIES_BURST,
    expr=meta_monitoring.SERIES_BURST.expr.replace(SCRAPE_LIMIT.name, SAMPLES_LIMIT.name),
)

METRICS_READ_ONLY = Alert(
    name="MetricsReadOnly",
    expr=f"max by (job, instance) ({READ_ONLY.select()}) == 1",
    fires_when="VictoriaMetrics takes no samples, as its disk is full",
    severity=Severity.PAGE,
    for_="2m",
    keep_firing_for="5m",
    summary="{{ $labels.instance }} of {{ $labels.job }} takes no samples: its disk is full",
    description="No rule that reads new samples of it can fire. Of a pair, the other one has them.",
    board="svc-alerts",
)

METRICS_DISK_RUNS_OUT = Alert(
    name="MetricsDiskRunsOut",
    expr=f"min by (job, instance) (predict_linear({DISK_FREE.select('', '1h')}, {DAY_SECONDS})) "
    f"< on (job, instance) max by (job, instance) ({DISK_LIMIT.select()}) "
    f"and on (job, instance) deriv({DISK_FREE.select('', '10m')}) < 0",
    fires_when="the disk of VictoriaMetrics is full within a day, as in the last hour",
    not_when="it is not filling any more",
    severity=Severity.TICKET,
    for_="30m",
    summary="The disk of {{ $labels.instance }} of {{ $labels.job }} is full within a day",
    description="It takes no samples then. In a day, at the speed of the last hour, "
    "{{ $value | humanize1024 }}B are free.",
    board="svc-alerts",
)

SAMPLES_REJECTED = Alert(
    name="SamplesRejected",
    expr=f"{ROWS_IGNORED.increase('job', 'instance', 'reason')} > 0",
    fires_when="VictoriaMetrics does not store samples that it receives",
    severity=Severity.TICKET,
    for_="5m",
    summary="{{ $labels.instance }} of {{ $labels.job }} rejects samples: {{ $labels.reason }}",
    description="{{ $value | humanize }} samples within five minutes are not stored. Boards and "
    "alerts that read them see nothing, or too little.",
    board="svc-alerts",
)

INSERTS_SLOW = Alert(
    name="InsertsSlow",
    expr=f"{SLOW_INSERTS.rate('job', 'instance')} "
    f"/ ({ROWS_INSERTED.rate('job', 'instance')} > 0) > {SLOW_INSERT_SHARE}",
    fires_when="more than 5% of the samples are of series that are not in its cache",
    severity=Severity.TICKET,
    for_="15m",
    summary="{{ $labels.instance }} of {{ $labels.job }} is short of memory for its series",
    description="{{ $value | humanizePercentage }} of the samples are of series that are not in "
    "its cache; each costs many times more.",
    board="svc-alerts",
)

REMOTE_WRITE_LATE = Alert(
    name="RemoteWriteLate",
    expr="sum by (job, instance, url) "
    f"(min_over_time({PENDING_BYTES.select('', '5m')})) > {BACKLOG_BYTES}",
    fires_when="vmagent has had more than 10 MB to send for five minutes",
    severity=Severity.TICKET,
    for_="5m",
    summary="{{ $labels.instance }} of {{ $labels.job }} cannot send its samples",
    description="{{ $value | humanize1024 }}B wait for {{ $labels.url }}. Rules that read that "
    "store judge old data, or none.",
    board="svc-alerts",
)

REMOTE_WRITE_DROPS = Alert(
    name="RemoteWriteDrops",
    expr=f"{PACKETS_DROPPED.increase('job', 'instance')} > 0 "
    f"or {RECORDED_DROPPED.increase('job', 'instance')} > 0",
    fires_when="vmagent or vmalert loses samples on their way to the store",
    severity=Severity.TICKET,
    for_="5m",
    summary="{{ $labels.instance }} of {{ $labels.job }} loses samples",
    description="A store refused them, or there was no room to keep them until it is back: "
    "{{ $value | humanize }} within five minutes.",
    board="svc-alerts",
)
