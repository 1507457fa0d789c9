"""Enrichment: queries in an alert's annotation that add possible causes to its notification.

Each query returns nothing as long as there is nothing to report, so the annotation is short or
empty. Prometheus expands the template; a query that fails affects this annotation only.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rules.datastores import CACHE_REFUSALS_5M, POOL_USE
from rules.dependencies import OUTGOING_P95
from rules.monitoring import ALERTS
from rules.requests import LOOP_LAG_P99
from rules.saturation import CPU_PRESSURE, CPU_THROTTLED, CPU_WAIT
from vitals.metrics.catalogue import (
    CACHE_BREAKER_OPEN,
    CACHE_OPERATION_ERRORS,
    DB_CONNECTION_ERRORS,
    DB_LOCK_BLOCKING,
    EVENT_LOOP_SITES,
    HTTP_REQUEST_DURATION,
    MEMORY_GROWTH,
    THREAD_POOL_HOLDERS,
)
from vitals.metrics.declarations import Matcher, matching, not_matching

_JOB, _CACHE = "%job", "%cache"
_ROUTE = {"http_request_method": "%http_request_method", "http_route": "%http_route"}
_LABEL = re.compile(r'"%(\w+)"')
_POOL = "db_client_connection_pool_name"
_STARVED_SHARE, _PRESSED_SHARE, _THROTTLED = 0.2, 0.5, 0.05
"""Thresholds: shares of the time in which the loop, or anything, waits for a CPU; seconds per
second of being throttled."""
_FULL_SHARE, _LATE_SECONDS, _CALL_SECONDS, _BLOCKING_SECONDS = 0.9, 0.1, 0.5, 10
"""Thresholds: share of a pool, seconds of lag, of an outgoing request and of a lock."""


@dataclass(frozen=True)
class Enrichment:
    """A query and the text for its result.

    Attributes:
        query: PromQL with one result or none; ``"%job"`` stands for the alert's value of the label
            ``job``, and likewise of its other labels.
        text: A Prometheus template of the result: ``.Labels`` and ``.Value``.
    """

    query: str
    text: str


BLOCKER = Enrichment(
    f"topk(1, {DB_LOCK_BLOCKING.max('application', 'state', 'db_query_summary', job=_JOB)} "
    f"> {_BLOCKING_SECONDS})",
    "locks: application {{ .Labels.application }} ({{ .Labels.state }}) has blocked others for "
    "{{ .Value | humanizeDuration }}, its last statement: {{ .Labels.db_query_summary }}",
)
FULL_POOL = Enrichment(
    f"topk(1, {POOL_USE.select(job=_JOB)} > {_FULL_SHARE})",
    f"pool {{{{ .Labels.{_POOL} }}}} is {{{{ .Value | humanizePercentage }}}} in use",
)
NO_CONNECTION = Enrichment(
    f"topk(1, {DB_CONNECTION_ERRORS.increase(_POOL, 'error_type', job=_JOB)} > 0)",
    f"{{{{ .Value | humanize }}}} callers got no connection of pool {{{{ .Labels.{_POOL} }}}} "
    "within five minutes: {{ .Labels.error_type }}",
)
OPEN_BREAKER = Enrichment(
    f"topk(1, {CACHE_BREAKER_OPEN.max('cache', job=_JOB)} == 1)",
    "circuit breaker of cache {{ .Labels.cache }} is open",
)
REFUSED_COMMANDS = Enrichment(
    f"topk(1, {CACHE_REFUSALS_5M.select(job=_JOB)})",
    "Redis refused {{ .Value | humanize }} commands of cache {{ .Labels.cache }} within five "
    "minutes: {{ .Labels.error_type }}",
)
STORE_ERROR = Enrichment(
    "topk(1, "
    f"{CACHE_OPERATION_ERRORS.increase('operation', 'error_type', job=_JOB, cache=_CACHE)} > 0)",
    " Most errors: {{ .Labels.error_type }} of {{ .Labels.operation }}, {{ .Value | humanize }} "
    "within five minutes.",
)
"""A sentence for a description."""
LATE_LOOP = Enrichment(
    f"topk(1, {LOOP_LAG_P99.select(job=_JOB)} > {_LATE_SECONDS})",
    "event loop lag of {{ .Labels.instance }} is {{ .Value | humanizeDuration }}",
)
_NO_CAUSE = not_matching("<.*>|__other__")
BLOCKING_LINE = Enrichment(
    "topk(1, "
    + EVENT_LOOP_SITES.increase(
        "site", "http_route", job=_JOB, instance="%instance", site=_NO_CAUSE
    )
    + " > 0)",
    "it is blocked most by {{ .Labels.site }}{{ if .Labels.http_route }}, serving "
    "{{ .Labels.http_route }}{{ end }}: {{ .Value | humanizeDuration }} within five minutes",
)
THREAD_HOLDER = Enrichment(
    "topk(1, "
    + THREAD_POOL_HOLDERS.increase("site", "http_route", job=_JOB, instance="%instance")
    + " > 0)",
    "worker threads are held most by {{ .Labels.site }}{{ if .Labels.http_route }}, serving "
    "{{ .Labels.http_route }}{{ end }}",
)
GROWING_LINE = Enrichment(
    "topk(1, " + MEMORY_GROWTH.max("site", "type", job=_JOB, instance="%instance") + " > 0)",
    "its memory grows most by {{ .Labels.site }}{{ if .Labels.type }} ({{ .Labels.type }}){{ end }}"
    ": {{ .Value | humanize1024 }}B a second",
)
STARVED_LOOP = Enrichment(
    f"topk(1, {CPU_WAIT.select(job=_JOB)} > {_STARVED_SHARE})",
    "{{ .Labels.instance }} waits for a CPU {{ .Value | humanizePercentage }} of the time",
)
BUSY_HOST = Enrichment(
    f"topk(1, {CPU_PRESSURE.select(job=_JOB, scope='host')} > {_PRESSED_SHARE})",
    "on the host of {{ .Labels.instance }} something waits for a CPU "
    "{{ .Value | humanizePercentage }} of the time",
)
THROTTLED_GROUP = Enrichment(
    f"topk(1, {CPU_THROTTLED.select(job=_JOB)} > {_THROTTLED})",
    "the cgroup of {{ .Labels.instance }} is throttled by its CPU quota for "
    "{{ .Value | humanizeDuration }} per second, of all threads",
)
_FAILED = HTTP_REQUEST_DURATION.increase(
    "error_type", job=_JOB, **_ROUTE, error_type=not_matching("|client_disconnected")
)
ERROR_TYPE = Enrichment(
    f"topk(1, {_FAILED} > 0)",
    "most failures: {{ .Labels.error_type }}, {{ .Value | humanize }} within five minutes",
)
SLOW_SERVER = Enrichment(
    f"topk(1, {OUTGOING_P95.select(job=_JOB)} > {_CALL_SECONDS})",
    "requests to {{ .Labels.server_address }} take {{ .Value | humanizeDuration }} (p95)",
)

FOR_ERRORS = (BLOCKER, NO_CONNECTION, FULL_POOL, OPEN_BREAKER, REFUSED_COMMANDS)
FOR_LATENCY = (BLOCKER, FULL_POOL, OPEN_BREAKER, REFUSED_COMMANDS, LATE_LOOP, STARVED_LOOP)
FOR_BUDGETS = (
    BLOCKER,
    NO_CONNECTION,
    FULL_POOL,
    OPEN_BREAKER,
    REFUSED_COMMANDS,
    LATE_LOOP,
    STARVED_LOOP,
)
FOR_QUERIES = (BLOCKER, OPEN_BREAKER)
FOR_ROUTE_ERRORS = (ERROR_TYPE, NO_CONNECTION, SLOW_SERVER, FULL_POOL, OPEN_BREAKER)
FOR_ROUTE_LATENCY = (BLOCKER, SLOW_SERVER, FULL_POOL, OPEN_BREAKER, LATE_LOOP)
FOR_STATEMENT = (BLOCKER, FULL_POOL)
FOR_CACHES = (OPEN_BREAKER, REFUSED_COMMANDS)
FOR_PROCESSES = (LATE_LOOP, STARVED_LOOP)
FOR_STARVATION = (THROTTLED_GROUP, BUSY_HOST)
FOR_LOOPS = (BLOCKING_LINE,)
FOR_MEMORY = (GROWING_LINE, *FOR_PROCESSES)
FOR_THREADS = (THREAD_HOLDER, *FOR_PROCESSES)


def active_alerts(names: Iterable[str], same: str = "job") -> str:
    """Query the active ones of the named alerts that have the same value of a label."""
    wanted: dict[str, str | Matcher] = {"alertname": matching("|".join(sorted(names)))}
    return ALERTS.max("alertname", **{same: f"%{same}"}, **wanted)


def template(enrichments: Sequence[Enrichment], separator: str = "; ") -> str:
    """Write the template of the annotation; it may expand to nothing."""
    parts = "".join(
        f"{{{{ range {lookup(each.query)} }}}}{{{{ $separator }}}}{each.text}"
        f'{{{{ $separator = "{separator}" }}}}{{{{ end }}}}'
        for each in enrichments
    )
    return f'{{{{ $separator := "" }}}}{parts}' if parts else ""


def lookup(query: str) -> str:
    """Write a query of a template."""
    # A label is quoted as PromQL quotes; of other quotes, PromQL has both, and one of them ends the
    # template's text.
    labels = "".join(f" $labels.{name}" for name in _LABEL.findall(query))
    quoted = _LABEL.sub("%q", query).replace('"', "'")
    return f'printf "{quoted}"{labels} | query'
