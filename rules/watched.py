"""Recording rules of the jobs that alerts apply to: those with the kit, and the watch itself.

Other jobs of the same Prometheus (node_exporter, a batch, etcd) export ``up`` and ``process_*``
too. Alerts are for watched jobs only, see ``alerts.rule_files``.
"""

from collections.abc import Mapping
from typing import Any

from rules.monitoring import UP
from rules.signal import Signal
from vitals.metrics.catalogue import SLO_TARGET, WORKERS
from vitals.metrics.declarations import matching

DECLARED_JOBS = "api|prometheus|alertmanager|store|issues|runner"
"""Jobs of prometheus/prometheus.yml and of the native stack, as a regular expression: watched
before they ever answered."""
DECLARED_TARGETS = "vitals"
"""The value of the label ``watched_by`` of targets that prometheus/targets declares, so that one
that never answered is watched too. Only ``up`` and the like have it: see prometheus.yml."""

SCRAPE_SETTINGS: Mapping[str, Any] = {
    # Limits the cost of a mistake in a service: the scrape then fails and TargetDown fires.
    "sample_limit": 50_000,
    "relabel_configs": [{"target_label": "watched_by", "replacement": DECLARED_TARGETS}],
    "metric_relabel_configs": [{"action": "labeldrop", "regex": "watched_by"}],
}
"""Settings of a scrape job of declared targets, as those of prometheus.yml."""

INSTRUMENTED = Signal(
    f"job:{WORKERS.name}:instrumented",
    "Which jobs export the kit's metrics?",
    "short",
    f"group by (job) ({WORKERS.select()} or {SLO_TARGET.select()})",
)
_WATCHED = f"job:{WORKERS.name}:watched"
REMEMBERED = Signal(
    f"job:{WORKERS.name}:remembered",
    "Which jobs exported the kit's metrics within the last day, or before they went down?",
    "short",
    # It reads what was watched before: a job that is down for longer than a day stays in it, one
    # that answers without the kit does not.
    f"group by (job) (max_over_time({INSTRUMENTED}[1d]) or last_over_time({_WATCHED}[1h]) "
    f"and on (job) {UP.select()} == 0 unless on (job) {UP.select()} == 1)",
    long=True,
)
WATCHED = Signal(
    _WATCHED,
    "Which jobs do the alerts apply to?",
    "short",
    f"group by (job) ({UP.select(job=matching(DECLARED_JOBS))} "
    f"or {UP.select(watched_by=DECLARED_TARGETS)} or {INSTRUMENTED} or {REMEMBERED})",
)
