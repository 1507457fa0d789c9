"""Recording rules of what is usual: the same hour of the days before.

For each value, three records: its mean over the two hours until now; the median of that over the
seven days before, an hour either side of the same time of day (it needs three of them); and for
what is younger, the median of the last hour but a quarter. Nothing is trained or kept elsewhere.

The median of seven days is that of a working day, so ``LAST_WEEK`` is compared too: what is slow
each Sunday is slow as usual.
"""

from rules import datastores, dependencies, routes
from rules.signal import LEVELS, Signal
from vitals.metrics.catalogue import (
    DB_OPERATION_DURATION,
    DB_QUERIES_PER_REQUEST,
    HTTP_CLIENT_REQUEST_DURATION,
    HTTP_REQUEST_DURATION,
    OTHER,
    PROCESS_START_TIME,
)
from vitals.metrics.declarations import excluding

DAYS = 7
MIN_DAYS = 3
"""Days with data from which their median is what is usual."""

NOW, DAYS_BEFORE, BEFORE = "2h", "days", "recent"
"""Keys of the records of a value: over two hours, of the days before, of the last hour."""


def _same_hour(record: str, day: int) -> str:
    """The two hours around this time, so many days ago: they ended an hour after it."""
    return f"{record} offset {24 * day - 1}h"


def last_week(usual: dict[str, Signal]) -> str:
    """Write the value around this time a week ago."""
    return _same_hour(str(usual[NOW]), DAYS)


def _usual(record: str, value: str, question: str, unit: str, query: str) -> dict[str, Signal]:
    """Declare what is usual of a value.

    Args:
        record: ``level:metric``.
        value: What the records are named after: ``mean``.
        question: What is asked of the two hours.
        unit: Grafana's name of the unit.
        query: Its value over the two hours until now.
    """
    level = record.partition(":")[0].split("_")
    by = ", ".join(LEVELS[word] for word in level)
    hours = Signal(f"{record}:{value}2h", question, unit, query, long=True)
    days = " or ".join(
        f'label_replace({_same_hour(str(hours), day)}, "day", "{day}", "", "")'
        for day in range(1, DAYS + 1)
    )
    of_days = Signal(
        f"{record}:{value}2h_median7d",
        "And at this time of the seven days before?",
        unit,
        f"quantile by ({by}) (0.5, {days}) and on ({by}) count by ({by}) ({days}) >= {MIN_DAYS}",
        long=True,
    )
    before = Signal(
        f"{record}:{value}2h_median1h",
        "And, without such days, in the last hour?",
        unit,
        # A quarter of an hour back, so that what begins now is not yet part of it.
        f"quantile_over_time(0.5, {hours}[1h] offset 15m) and {hours} offset 20m unless {of_days}",
        long=True,
    )
    return {NOW: hours, DAYS_BEFORE: of_days, BEFORE: before}


def _mean(total: object, count: object) -> str:
    """Weight by traffic: a mean of all events, not of means."""
    return f"sum_over_time({total}[2h]) / (sum_over_time({count}[2h]) > 0)"


def usual(of: dict[str, Signal]) -> str:
    """Write what is usual, by the days before or else by the last hour."""
    return f"({of[DAYS_BEFORE]} or {of[BEFORE]})"


# -- Routes -------------------------------------------------------------------------------------

_ROUTE = f"job_method_route:{HTTP_REQUEST_DURATION.name}"
ROUTE_MEAN = _usual(
    _ROUTE,
    "mean",
    "How long did a request of each route take, within two hours?",
    "s",
    _mean(routes.SECONDS_5M, routes.REQUESTS_5M),
)
ROUTE_P95 = _usual(
    _ROUTE,
    "p95_",
    "What was the p95 latency of each route, within two hours?",
    "s",
    f"quantile_over_time(0.5, {routes.P95}[2h])",
)
ROUTE_SLOW = _usual(
    "job_method_route:http_server_slow_requests",
    "ratio",
    "What share of the requests of each route was slow, within two hours?",
    "percentunit",
    _mean(routes.SLOW_5M, routes.REQUESTS_5M),
)
ROUTE_FAILURES = _usual(
    "job_method_route:http_server_failures",
    "ratio",
    "What share of the requests of each route failed, within two hours?",
    "percentunit",
    _mean(routes.FAILURES_5M, routes.REQUESTS_5M),
)

# -- Statements ---------------------------------------------------------------------------------

_FINGERPRINT = "db_query_fingerprint"
_NAMED = excluding(OTHER)
STATEMENT_SECONDS = Signal(
    f"job_fingerprint:{DB_OPERATION_DURATION.name}_sum:increase5m",
    "How many seconds did each statement take within five minutes?",
    "s",
    DB_OPERATION_DURATION.amount("job", _FINGERPRINT, db_query_fingerprint=_NAMED),
)
STATEMENT_CALLS = Signal(
    f"job_fingerprint:{DB_OPERATION_DURATION.name}_count:increase5m",
    "How often was each statement sent within five minutes?",
    "short",
    datastores.CALLS_BY_ERROR.sum("job", _FINGERPRINT, db_query_fingerprint=_NAMED),
)
STATEMENT_MEAN_5M = Signal(
    f"job_fingerprint:{DB_OPERATION_DURATION.name}:mean5m",
    "How long does each statement take?",
    "s",
    f"{STATEMENT_SECONDS} / ({STATEMENT_CALLS} > 0)",
)
STATEMENT_MEAN = _usual(
    f"job_fingerprint:{DB_OPERATION_DURATION.name}",
    "mean",
    "How long did each statement take, within two hours?",
    "s",
    _mean(STATEMENT_SECONDS, STATEMENT_CALLS),
)

# -- Queries of a request -----------------------------------------------------------------------

_QUERIES = f"job_route:{DB_QUERIES_PER_REQUEST.name}"
REQUEST_QUERIES = Signal(
    f"{_QUERIES}_sum:increase5m",
    "How many queries did requests of each route send within five minutes?",
    "short",
    DB_QUERIES_PER_REQUEST.amount("job", "http_route", http_route=excluding("")),
)
QUERYING_REQUESTS = Signal(
    f"{_QUERIES}_count:increase5m",
    "How many requests of each route sent queries within five minutes?",
    "short",
    DB_QUERIES_PER_REQUEST.increase("job", "http_route", http_route=excluding("")),
)
QUERIES_EACH_5M = Signal(
    f"{_QUERIES}:mean5m",
    "How many queries does a request of each route send?",
    "short",
    f"{REQUEST_QUERIES} / ({QUERYING_REQUESTS} > 0)",
)
QUERIES_EACH = _usual(
    _QUERIES,
    "mean",
    "How many queries did a request of each route send, within two hours?",
    "short",
    _mean(REQUEST_QUERIES, QUERYING_REQUESTS),
)

# -- Services that are called -------------------------------------------------------------------

_SERVER = f"job_server:{HTTP_CLIENT_REQUEST_DURATION.name}"
OUTGOING_SECONDS = Signal(
    f"{_SERVER}_sum:increase5m",
    "How many seconds did requests to each server take within five minutes?",
    "s",
    HTTP_CLIENT_REQUEST_DURATION.amount("job", "server_address"),
)
OUTGOING_MEAN_5M = Signal(
    f"{_SERVER}:mean5m",
    "How long does a request to each server take?",
    "s",
    f"{OUTGOING_SECONDS} / ({dependencies.OUTGOING_5M} > 0)",
)
OUTGOING_MEAN = _usual(
    _SERVER,
    "mean",
    "How long did a request to each server take, within two hours?",
    "s",
    _mean(OUTGOING_SECONDS, dependencies.OUTGOING_5M),
)

# -- Releases -----------------------------------------------------------------------------------

_START = PROCESS_START_TIME.select()
JUST_STARTED = Signal(
    f"job:{PROCESS_START_TIME.name}:count3m",
    "How many instances started within three minutes? Their caches are empty.",
    "short",
    f"count by (job) ({_START} unless {_START} == {_START} offset 3m)",
)
