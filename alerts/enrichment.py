"""What else was seen when an alert was told: the first places to look, found before anyone asks.

Each clue is a query that answers with nothing as long as there is nothing to say, so a line of
clues is short or empty. Prometheus fills it in; a clue that fails spoils this line and no other.
"""

from dataclasses import dataclass

from rules.datastores import POOL_USE
from rules.requests import LOOP_LAG_P99
from vitals.metrics.catalogue import (
    BUILD_INFO,
    CACHE_BREAKER_OPEN,
    DB_OPERATION_DURATION,
    DB_SLOW_QUERIES,
    PROCESS_START_TIME,
    SLO_EVENTS,
)
from vitals.metrics.declarations import matching

_JOB = "%s"
_POOL = "db_client_connection_pool_name"
_RECENT = 3600
"""Seconds for which a deployment is a suspect."""
_FULL, _LATE, _BUSY = 0.9, 0.1, 0.1
"""Share of a pool, seconds of lag, seconds of a statement within each second: worth a word."""


@dataclass(frozen=True)
class Clue:
    """One thing that may be worth a word.

    Attributes:
        query: PromQL of the worst, or of nothing; ``%s`` stands for the alert's job.
        says: What is said of it, a template of Prometheus: ``.Labels`` and ``.Value`` are its own.
    """

    query: str
    says: str


def _bad(slo: str) -> Clue:
    bad = SLO_EVENTS.increase("http_route", job=_JOB, slo=matching(slo), outcome="bad")
    return Clue(
        f"topk(1, {bad} > 0)",
        "worst is {{ if .Labels.http_route }}{{ .Labels.http_route }}{{ else }}no route"
        "{{ end }}, {{ .Value | humanize }} bad requests within five minutes",
    )


FAILING = _bad("availability")
SLOW = _bad("latency")
BROKEN = _bad("availability|latency")
STATEMENT = Clue(
    "topk(1, "
    f"{DB_OPERATION_DURATION.total('db_query_summary', 'db_query_fingerprint', job=_JOB)} "
    f"> {_BUSY})",
    "the database is busiest with {{ .Labels.db_query_summary }} "
    "({{ .Labels.db_query_fingerprint }}), {{ .Value | humanizeDuration }} of each second",
)
SLOW_STATEMENT = Clue(
    f"topk(1, {DB_SLOW_QUERIES.rate('db_query_fingerprint', job=_JOB)} > 0)",
    "slow most often is {{ .Labels.db_query_fingerprint }}",
)
POOL = Clue(
    f"topk(1, {POOL_USE.select(job=_JOB)} > {_FULL})",
    f"pool {{{{ .Labels.{_POOL} }}}} is {{{{ .Value | humanizePercentage }}}} in use",
)
CACHE = Clue(
    f"topk(1, {CACHE_BREAKER_OPEN.max('cache', job=_JOB)} == 1)",
    "the store of cache {{ .Labels.cache }} is left alone because it fails",
)
LOOP = Clue(
    f"topk(1, {LOOP_LAG_P99.select(job=_JOB)} > {_LATE})",
    "the event loop of {{ .Labels.instance }} is {{ .Value | humanizeDuration }} late",
)
DEPLOY = Clue(
    # Of the youngest process. While a scrape shows two builds of an instance, either will do.
    f"bottomk(1, (time() - {PROCESS_START_TIME.select(job=_JOB)} < {_RECENT}) "
    "* on (instance) group_left (version, revision) "
    f"topk by (instance) (1, {BUILD_INFO.select(job=_JOB)}))",
    "version {{ .Labels.version }}{{ if .Labels.revision }} ({{ .Labels.revision }}){{ end }} "
    "started {{ .Value | humanizeDuration }} before",
)

OF_ERRORS = (FAILING, STATEMENT, POOL, CACHE, DEPLOY)
OF_LATENCY = (SLOW, STATEMENT, POOL, CACHE, LOOP, DEPLOY)
OF_BUDGETS = (BROKEN, STATEMENT, POOL, CACHE, LOOP, DEPLOY)
OF_QUERIES = (SLOW_STATEMENT, STATEMENT, CACHE, DEPLOY)
OF_CACHES = (CACHE, DEPLOY)
OF_PROCESSES = (LOOP, DEPLOY)
OF_RELEASES = (DEPLOY,)


def line(clues: tuple[Clue, ...]) -> str:
    """Write the template of a line that says what there is to say, and may be empty."""
    said = "".join(
        f"{{{{ range {_lookup(clue.query)} }}}}{{{{ $then }}}}{clue.says}"
        '{{ $then = "; " }}{{ end }}'
        for clue in clues
    )
    return f'{{{{ $then := "" }}}}{said}' if said else ""


def _lookup(query: str) -> str:
    quoted = query.replace('"', "'")  # both are PromQL, and one of them ends the template's text
    return f'printf "{quoted}"{" $labels.job" * quoted.count(_JOB)} | query'
