"""Inhibition: which alert explains which other one, pair by pair, each with its reason.

While an alert fires, Alertmanager does not notify of those that it explains; its own notification
lists them as consequences. An alert that no pair names is never held back, and a ticket never holds
back a page: it would wake no one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alerts.alert import Alert, Severity
from alerts.burn_rate import PAGE_FASTEST as BUDGET_BURN
from alerts.datastores import (
    CACHE_BUS_DOWN,
    CACHE_HIT_RATIO_COLLAPSED,
    CACHE_STORE_DOWN,
    CACHE_WRITES_REFUSED,
    DB_POOL_SATURATED,
    DB_POOL_TIMEOUTS,
    N_PLUS_ONE,
    POOL,
    SLOW_QUERY_RATIO_HIGH,
)
from alerts.enrichment import Enrichment, active_alerts, lookup, template
from alerts.locks import LOCK_WAIT_LONG
from alerts.meta_monitoring import INSTANCE_DOWN, SCRAPE_SLOW, SERVICE_ENDED, TARGET_DOWN
from alerts.postgres import TRANSACTION_FORGOTTEN, TRANSACTION_LONG
from alerts.processes import CRASH_LOOP
from alerts.redis import REDIS_UNREACHABLE
from alerts.regressions import QUERIES_MULTIPLIED, STATEMENT_SLOWER
from alerts.requests import ERROR_RATIO_HIGH, EVENT_LOOP_LAG_HIGH, LATENCY_P95_HIGH
from alerts.routes import ROUTE_ERRORS, ROUTE_FAILS, ROUTE_SLOW_ALERT
from alerts.saturation import (
    CPU_STARVED,
    DISK_SOON,
    FILES_SOON,
    MEMORY_SOON,
    THREADS_NEARLY,
    THREADS_SOON,
)
from rules.identity import BY_JOB, Identity

_PAGE, _LATENCY = {"severity": str(Severity.PAGE)}, {"slo": "latency"}
_ROUTE = ("job", "http_request_method", "http_route")
_SAME_OBJECTIVE = ("job", "slo", "http_route")


@dataclass(frozen=True)
class Inhibition:
    """A pair: one alert and another one that it explains.

    Attributes:
        cause: The alert that is notified.
        consequence: The alert that is held back meanwhile.
        reason: Why the one explains the other, as a sentence.
        same_events: Both count the same events, so that to list the consequence says nothing new.
        equal: Labels whose values both must share; one that both lack is shared.
        by: Further labels of the cause: a value, or several separated by ``|``.
        of: Further labels of the consequence, likewise.
    """

    cause: Alert
    consequence: Alert
    reason: str
    equal: tuple[str, ...] = ("job",)
    by: Mapping[str, str] = field(default_factory=dict)
    of: Mapping[str, str] = field(default_factory=dict)
    same_events: bool = False

    def rule(self, identity: Identity = BY_JOB) -> dict[str, Any]:
        """Write the entry of ``inhibit_rules``."""
        paged = self.cause.severity is Severity.PAGE
        of = {**({} if paged else {"severity": str(Severity.TICKET)}), **self.of}
        return {
            "source_matchers": _matchers(self.cause, self.by),
            "target_matchers": _matchers(self.consequence, of),
            "equal": [*identity.expand(self.equal)],
        }

    def applies(self, cause: Mapping[str, str], consequence: Mapping[str, str]) -> bool:
        """Whether an alert with the labels of `cause` holds back one with those of `consequence`.

        The same answer as that of Alertmanager to `rule`, by ``job`` alone.
        """
        paged = self.cause.severity is Severity.PAGE
        return (
            _has(cause, {"alertname": self.cause.name, **self.by})
            and _has(consequence, {"alertname": self.consequence.name, **self.of})
            and (paged or consequence.get("severity") == Severity.TICKET)
            and all(cause.get(name, "") == consequence.get(name, "") for name in self.equal)
        )


def _matchers(alert: Alert, labels: Mapping[str, str]) -> list[str]:
    return [
        f'alertname="{alert.name}"',
        *(f'{name}{"=~" if "|" in text else "="}"{text}"' for name, text in labels.items()),
    ]


def _has(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(labels.get(name, "") in text.split("|") for name, text in wanted.items())


def _burns(long: str, longer: str) -> Inhibition:
    return Inhibition(
        BUDGET_BURN,
        BUDGET_BURN,
        "A fast burn is seen over the longer windows too: they count the same events.",
        equal=_SAME_OBJECTIVE,
        by={"long": long},
        of={"long": longer},
        same_events=True,
    )


def _runs_out(soon: Alert) -> Inhibition:
    return Inhibition(
        soon,
        soon,
        "What is used up in minutes is so in hours too, and may be nearly used up already.",
        equal=("job", "instance", "resource"),
        by=_PAGE,
        of={"severity": str(Severity.TICKET)},
        same_events=True,
    )


INHIBITIONS = (
    Inhibition(
        TRANSACTION_FORGOTTEN,
        TRANSACTION_LONG,
        "It is the same transaction, and the page names it.",
        equal=("job", "instance", "db_namespace"),
        same_events=True,
    ),
    Inhibition(
        TRANSACTION_FORGOTTEN,
        LOCK_WAIT_LONG,
        "The services see the same transaction, a minute later.",
        equal=("db_namespace",),
        same_events=True,
    ),
    Inhibition(
        REDIS_UNREACHABLE,
        CACHE_STORE_DOWN,
        "The services see the same server, by the same address.",
        equal=("server_address",),
        same_events=True,
    ),
    Inhibition(
        SERVICE_ENDED,
        TARGET_DOWN,
        "A service that ended answers no scrapes until it runs again.",
        equal=("service",),
    ),
    Inhibition(TARGET_DOWN, INSTANCE_DOWN, "It counts the same instances.", same_events=True),
    Inhibition(TARGET_DOWN, ERROR_RATIO_HIGH, "Requests to instances that are down fail."),
    Inhibition(TARGET_DOWN, BUDGET_BURN, "Requests to instances that are down fail or wait."),
    Inhibition(TARGET_DOWN, LATENCY_P95_HIGH, "The other instances carry the load."),
    Inhibition(
        TARGET_DOWN, SCRAPE_SLOW, "The scrape of a frozen instance lasts until its timeout."
    ),
    Inhibition(
        INSTANCE_DOWN,
        SCRAPE_SLOW,
        "The scrape of a frozen instance lasts until its timeout.",
        equal=("job", "instance"),
        same_events=True,
    ),
    Inhibition(
        CRASH_LOOP,
        INSTANCE_DOWN,
        "An instance does not answer between its crash and its next start.",
        equal=("job", "instance"),
    ),
    Inhibition(
        ERROR_RATIO_HIGH,
        BUDGET_BURN,
        "It counts the same failures, over five minutes instead of an hour and longer.",
        equal=("job", "http_route"),
        of={"slo": "availability"},
        same_events=True,
    ),
    _burns("1h", "6h|1d|3d"),
    _burns("6h", "1d|3d"),
    _burns("1d", "3d"),
    Inhibition(
        BUDGET_BURN,
        LATENCY_P95_HIGH,
        "It counts the same slow requests against the same objective.",
        equal=("job", "http_route"),
        by={**_PAGE, **_LATENCY},
        same_events=True,
    ),
    Inhibition(DB_POOL_TIMEOUTS, ERROR_RATIO_HIGH, "Requests without a connection fail."),
    Inhibition(DB_POOL_TIMEOUTS, BUDGET_BURN, "Requests wait for a connection, then fail."),
    Inhibition(DB_POOL_TIMEOUTS, LATENCY_P95_HIGH, "Requests wait for a connection."),
    Inhibition(
        DB_POOL_TIMEOUTS,
        DB_POOL_SATURATED,
        "Checkouts time out because all connections of the pool are in use.",
        equal=("job", POOL),
        same_events=True,
    ),
    Inhibition(LOCK_WAIT_LONG, ERROR_RATIO_HIGH, "Statements that wait for a lock time out."),
    Inhibition(LOCK_WAIT_LONG, BUDGET_BURN, "Requests wait for a lock, then fail."),
    Inhibition(LOCK_WAIT_LONG, LATENCY_P95_HIGH, "Requests wait for a lock."),
    Inhibition(LOCK_WAIT_LONG, SLOW_QUERY_RATIO_HIGH, "Statements wait for a lock."),
    Inhibition(
        LOCK_WAIT_LONG, DB_POOL_TIMEOUTS, "Connections are checked out while they wait for a lock."
    ),
    Inhibition(
        LOCK_WAIT_LONG, DB_POOL_SATURATED, "Connections are checked out while they wait for a lock."
    ),
    Inhibition(DB_POOL_SATURATED, LATENCY_P95_HIGH, "Requests wait for a connection."),
    Inhibition(
        CACHE_STORE_DOWN,
        CACHE_HIT_RATIO_COLLAPSED,
        "An open circuit breaker sends every lookup to the database.",
        equal=("job", "cache"),
    ),
    Inhibition(
        CACHE_STORE_DOWN,
        CACHE_BUS_DOWN,
        "The invalidation bus is a channel of the same Redis.",
        equal=("job", "cache"),
    ),
    Inhibition(
        CACHE_STORE_DOWN,
        CACHE_WRITES_REFUSED,
        "Redis that refuses every command opens the circuit breaker.",
        equal=("job", "cache"),
    ),
    Inhibition(
        CACHE_WRITES_REFUSED,
        SLOW_QUERY_RATIO_HIGH,
        "The database answers what the cache did, more slowly the more it is asked.",
    ),
    Inhibition(
        CACHE_WRITES_REFUSED,
        CACHE_HIT_RATIO_COLLAPSED,
        "What is not stored cannot be found.",
        equal=("job", "cache"),
    ),
    Inhibition(
        CACHE_STORE_DOWN,
        SLOW_QUERY_RATIO_HIGH,
        "The database answers what the cache did, more slowly the more it is asked.",
    ),
    Inhibition(CACHE_STORE_DOWN, LATENCY_P95_HIGH, "Requests wait for the database instead."),
    Inhibition(
        CACHE_STORE_DOWN, BUDGET_BURN, "Requests wait for the database instead.", of=_LATENCY
    ),
    Inhibition(
        EVENT_LOOP_LAG_HIGH, LATENCY_P95_HIGH, "Every request waits for the blocked event loop."
    ),
    Inhibition(CPU_STARVED, LATENCY_P95_HIGH, "Every request waits for a CPU."),
    Inhibition(CPU_STARVED, BUDGET_BURN, "Every request waits for a CPU.", of=_LATENCY),
    Inhibition(CPU_STARVED, ROUTE_SLOW_ALERT, "Every request waits for a CPU."),
    Inhibition(CPU_STARVED, SLOW_QUERY_RATIO_HIGH, "The answer of a query waits for a CPU too."),
    Inhibition(CPU_STARVED, STATEMENT_SLOWER, "The answer of a query waits for a CPU too."),
    Inhibition(THREADS_NEARLY, LATENCY_P95_HIGH, "Endpoints without async wait for a free thread."),
    *map(_runs_out, (FILES_SOON, MEMORY_SOON, DISK_SOON, THREADS_SOON)),
    Inhibition(
        EVENT_LOOP_LAG_HIGH,
        BUDGET_BURN,
        "Every request waits for the blocked event loop.",
        of=_LATENCY,
    ),
    # -- Single routes and statements ---------------------------------------------------------
    Inhibition(ERROR_RATIO_HIGH, ROUTE_FAILS, "It counts the same failures, of all routes."),
    Inhibition(ERROR_RATIO_HIGH, ROUTE_ERRORS, "It counts the same failures, of all routes."),
    Inhibition(TARGET_DOWN, ROUTE_FAILS, "Requests to instances that are down fail."),
    Inhibition(TARGET_DOWN, ROUTE_SLOW_ALERT, "The other instances carry the load."),
    Inhibition(LOCK_WAIT_LONG, ROUTE_FAILS, "Statements that wait for a lock time out."),
    Inhibition(LOCK_WAIT_LONG, ROUTE_ERRORS, "Statements that wait for a lock time out."),
    Inhibition(LOCK_WAIT_LONG, ROUTE_SLOW_ALERT, "Requests wait for a lock."),
    Inhibition(LOCK_WAIT_LONG, STATEMENT_SLOWER, "Statements wait for a lock."),
    Inhibition(DB_POOL_TIMEOUTS, ROUTE_FAILS, "Requests without a connection fail."),
    Inhibition(DB_POOL_TIMEOUTS, ROUTE_ERRORS, "Requests without a connection fail."),
    Inhibition(DB_POOL_TIMEOUTS, ROUTE_SLOW_ALERT, "Requests wait for a connection."),
    Inhibition(DB_POOL_SATURATED, ROUTE_SLOW_ALERT, "Requests wait for a connection."),
    Inhibition(CACHE_STORE_DOWN, ROUTE_SLOW_ALERT, "Requests wait for the database instead."),
    Inhibition(
        EVENT_LOOP_LAG_HIGH, ROUTE_SLOW_ALERT, "Every request waits for the blocked event loop."
    ),
    Inhibition(
        EVENT_LOOP_LAG_HIGH,
        SLOW_QUERY_RATIO_HIGH,
        "The answer of a query waits for the event loop too.",
    ),
    Inhibition(
        EVENT_LOOP_LAG_HIGH, STATEMENT_SLOWER, "The answer of a query waits for the event loop too."
    ),
    Inhibition(
        ROUTE_FAILS,
        ROUTE_ERRORS,
        "It counts the same failures, while most requests fail and just after.",
        equal=_ROUTE,
    ),
    Inhibition(
        ROUTE_FAILS,
        ROUTE_SLOW_ALERT,
        "Requests that fail after a timeout are slow as well.",
        equal=_ROUTE,
    ),
    Inhibition(
        N_PLUS_ONE,
        QUERIES_MULTIPLIED,
        "One query per row is more queries a request.",
        equal=("job", "http_route"),
    ),
)


def rules(identity: Identity = BY_JOB) -> list[dict[str, Any]]:
    """Alertmanager's ``inhibit_rules``."""
    return [each.rule(identity) for each in INHIBITIONS]


def annotations(alert: Alert) -> dict[str, str]:
    """The annotations of an alert, which name active alerts that it explains or that explain it."""
    texts = alert.annotations
    pairs = [pair for pair in INHIBITIONS if not pair.same_events]
    if listed := _listed((p.consequence.name, p) for p in pairs if p.cause.name == alert.name):
        texts["description"] += _consequences(*listed)
    listed = _listed((p.cause.name, p) for p in pairs if p.consequence.name == alert.name)
    if listed and (alert.enrichments or alert.investigation):
        texts["cause"] = template((*listed, *alert.enrichments))
    return texts


def _listed(pairs: Iterable[tuple[str, Inhibition]]) -> list[Enrichment]:
    """Active alerts of these names, of the same job, or service."""
    names: dict[str, set[str]] = {}
    for name, pair in pairs:
        names.setdefault(pair.equal[0], set()).add(name)
    return [
        Enrichment(active_alerts(these, same), "{{ .Labels.alertname }}")
        for same, these in names.items()
    ]


def _consequences(*listed: Enrichment) -> str:
    heads = (f"{{{{ with {lookup(each.query)} }}}} Consequences: {{{{ end }}}}" for each in listed)
    return "".join(head + template((each,), ", ") for head, each in zip(heads, listed, strict=True))
