"""Recording rules of SLOs: targets, good and bad events, error budgets.

An objective is the service's, or that of one route. The label ``http_route`` says which: it is
empty for the service's, which counts the routes that have no objective of that kind themselves.

Every instance exports the same objectives; while a deployment changes one, the larger value counts.
"""

from rules.requests import (
    EVENTS_BY_OUTCOME,
    LATENCY_BUCKETS,
    MATCHED,
    REQUESTS_BY_ERROR,
    WINDOW,
)
from rules.signal import Signal, or_zero, quantile
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION, SLO_EVENTS, SLO_TARGET, SLO_THRESHOLD

OBJECTIVE = "job, slo, http_route"
"""The labels that identify an objective."""

TARGET = Signal(
    f"job_route_slo:{SLO_TARGET.name}:max",
    "What is the target ratio of good events?",
    "percentunit",
    SLO_TARGET.max("job", "http_route", "slo"),
)
THRESHOLD = Signal(
    f"job_route_slo:{SLO_THRESHOLD.name}:max",
    "Within what time is an event good?",
    "s",
    SLO_THRESHOLD.max("job", "http_route", "slo"),
)
LATENCY_P95_UNDER_SERVICE_OBJECTIVE = Signal(
    f"job:{HTTP_REQUEST_DURATION.name}:p95_service_objective_5m",
    "What is the p95 latency of the routes without their own objective?",
    "s",
    quantile(
        0.95,
        f"sum by (job, le) ({LATENCY_BUCKETS.select(http_route=MATCHED)} "
        f"unless on (job, http_route) {THRESHOLD.select(slo='latency')})",
    ),
)
REQUESTS_5M_BY_ROUTE = Signal(
    f"job_route:{HTTP_REQUEST_DURATION.name}_count:increase5m",
    "How many requests did each route get within five minutes?",
    "short",
    REQUESTS_BY_ERROR.sum("job", "http_route", http_route=MATCHED),
)

# -- Good and bad events ------------------------------------------------------------------


def _by_objective(events: str) -> str:
    """Sum events by route to those of each objective."""
    own = TARGET.select(http_route=MATCHED)
    return (
        f"sum by (job, slo) ({events} unless on ({OBJECTIVE}) {own}) "
        f"or sum by ({OBJECTIVE}) ({events} and on ({OBJECTIVE}) {own})"
    )


EVENTS_BY_ROUTE = Signal(
    "job_route_slo:slo_events:rate5m",
    "How many events does each route have?",
    "reqps",
    f"{EVENTS_BY_OUTCOME.sum('job', 'http_route', 'slo')} / {WINDOW}",
)
BAD_EVENTS_BY_ROUTE = Signal(
    "job_route_slo:slo_bad_events:rate5m",
    "How many bad events does each route have?",
    "reqps",
    f"{EVENTS_BY_OUTCOME.sum('job', 'http_route', 'slo', outcome='bad')} / {WINDOW}",
)
EVENTS = Signal(
    "job_route_slo:objective_events:rate5m",
    "How many events does each objective count?",
    "reqps",
    _by_objective(str(EVENTS_BY_ROUTE)),
)
BAD_EVENTS = Signal(
    "job_route_slo:objective_bad_events:rate5m",
    "How many bad events does each objective have?",
    "reqps",
    or_zero(_by_objective(str(BAD_EVENTS_BY_ROUTE)), EVENTS),
)
EVENTS_5M = Signal(
    "job_route_slo:objective_events:increase5m",
    "How many events did each objective count within five minutes?",
    "short",
    _by_objective(EVENTS_BY_OUTCOME.sum("job", "http_route", "slo")),
)
BAD_EVENTS_5M = Signal(
    "job_route_slo:objective_bad_events:increase5m",
    "How many bad events did each objective have within five minutes?",
    "short",
    or_zero(
        _by_objective(EVENTS_BY_OUTCOME.sum("job", "http_route", "slo", outcome="bad")), EVENTS
    ),
)


def _bad_within(window: str, query: str) -> Signal:
    return Signal(
        f"job_route_slo:objective_bad_events:increase{window}",
        f"How many bad events did each objective have within {window}?",
        "short",
        query,
        long=window.endswith("d"),
    )


def _times(part: Signal, hours: int, times: int) -> str:
    """Add up recorded windows: reading days of the counters of all instances is costly."""
    before = "".join(
        f" + ({part} offset {hours * number}h or {part} * 0)" for number in range(1, times)
    )
    return f"{part}{before}"


# From the raw counters: extrapolated rates turn one event of a new service into ten.
_IN_AN_HOUR = SLO_EVENTS.increase("job", "http_route", "slo", window="1h", outcome="bad")
BAD_EVENTS_WITHIN = {"1h": _bad_within("1h", or_zero(_by_objective(_IN_AN_HOUR), EVENTS))}
for _window, _part, _hours, _parts in (("6h", "1h", 1, 6), ("1d", "6h", 6, 4), ("3d", "1d", 24, 3)):
    BAD_EVENTS_WITHIN[_window] = _bad_within(
        _window, _times(BAD_EVENTS_WITHIN[_part], _hours, _parts)
    )
"""The number of bad events by window."""


def _bad_ratio(window: str) -> Signal:
    """Weight by traffic: a ratio of summed 5m rates, not a mean of ratios."""
    bad, events = (f"sum_over_time({signal}[{window}])" for signal in (BAD_EVENTS, EVENTS))
    return Signal(
        f"job_route_slo:objective_bad_events:ratio_rate{window}",
        f"What share of events was bad within {window}?",
        "percentunit",
        f"{bad} / ({events} > 0)",
        long=window.endswith("d"),
    )


BAD_RATIO = {
    "5m": Signal(
        "job_route_slo:objective_bad_events:ratio_rate5m",
        "What share of events is bad?",
        "percentunit",
        f"{BAD_EVENTS} / ({EVENTS} > 0)",
    ),
    **{window: _bad_ratio(window) for window in ("30m", "1h", "2h", "6h", "1d", "3d", "30d")},
}
"""The share of bad events by window."""
GOOD_RATIO = Signal(
    "job_route_slo:objective_good_events:ratio_rate5m",
    "What share of events is good?",
    "percentunit",
    f"1 - {BAD_RATIO['5m']}",
)
BUDGET_LEFT = Signal(
    "job_route_slo:objective_budget_left:ratio30d",
    "How much of the error budget of 30 days is left, or overspent (at most all of it again)?",
    "percentunit",
    f"clamp_min(1 - {BAD_RATIO['30d']} / on ({OBJECTIVE}) (1 - {TARGET}), -1)",
    long=True,
)


def _since(window: str, step: str) -> str:
    """When the first event was recorded, as Unix time, to the step."""
    return f"min_over_time(timestamp({EVENTS})[{window}:{step}])"


BUDGET_AGE = Signal(
    "job_route_slo:objective_events:age30d",
    "Over how much of the 30 days are there events to judge a budget by?",
    "s",
    # To the hour, and within the first to the minute.
    f"time() - ({_since('30d', '1h')} < time() - 3600 or {_since('1h', '1m')})",
    long=True,
)
