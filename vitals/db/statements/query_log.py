"""Log events for slow statements, N+1 and changed plans; they never contain values."""

import logging
from typing import Any

from vitals.asgi.request_context import RequestContext
from vitals.asgi.route_template import RouteTemplates
from vitals.db.statements.fingerprint import Statement
from vitals.db.statements.log_throttle import LogThrottle
from vitals.db.statements.n_plus_one import NPlusOne
from vitals.db.statements.plans import Plan
from vitals.db.statements.statement_stats import CallStats
from vitals.log_events import EventLog, OnDrop, ignore

LOGGER = "vitals.db"
SLOW_INTERVAL = 10.0
"""Seconds between two events for one slow statement."""
N_PLUS_ONE_INTERVAL = 300.0
"""Seconds between two events for an N+1 of one statement and route."""
LOCK_INTERVAL = 60.0
"""Seconds between two events for one session that makes others wait."""
MAX_PER_MINUTE = 60


class QueryLog:
    """Writes to the logger ``vitals.db``.

    Args:
        routes: Find the route of a request that has not finished.
        on_drop: Called with the reason for each event that is lost.
        service_name: ``service.name`` of the events.
    """

    def __init__(
        self, routes: RouteTemplates, on_drop: OnDrop = ignore, service_name: str = ""
    ) -> None:
        self._routes = routes
        self._log = EventLog(LOGGER, on_drop, service_name)
        self._slow_throttle = LogThrottle(SLOW_INTERVAL, MAX_PER_MINUTE)
        self._lock_throttle = LogThrottle(LOCK_INTERVAL, MAX_PER_MINUTE)
        self._n_plus_one_throttle = LogThrottle(N_PLUS_ONE_INTERVAL, MAX_PER_MINUTE)

    def slow(
        self,
        statement: Statement,
        *,
        seconds: float,
        threshold: float,
        rows: int | None,
        source: str,
        error_type: str,
        request: RequestContext | None,
    ) -> None:
        """Log a statement that took longer than the objective's threshold."""
        suppressed = self._slow_throttle.allows(statement.fingerprint)
        if suppressed is None:
            return
        fields = _fields(statement, source) | {
            "duration": round(seconds, 6),
            "threshold": threshold,
            "suppressed": suppressed,
        }
        if rows is not None:
            fields["rows"] = rows
        if error_type:
            fields["error.type"] = error_type
        if request is not None:
            fields["http.route"] = self._routes.of(request.http, request.outer_root)
            fields["trace_id"] = request.trace_id()
            fields["pool_wait"] = round(request.pool_seconds, 6)
        sentence = (
            "%(db.query.summary)s took %(duration).3f s, threshold %(threshold)s s, "
            "sent by %(code.source)s: %(db.query.text).300s"
        )
        self._log.write(logging.WARNING, "slow query", sentence, fields)

    def n_plus_one(self, stats: CallStats, found: NPlusOne, request: RequestContext) -> None:
        """Log an N+1."""
        suppressed = self._n_plus_one_throttle.allows(
            f"{request.route} {stats.statement.fingerprint}"
        )
        if suppressed is None:
            return
        fields = _fields(stats.statement, found.source) | {
            "http.route": request.route,
            "trace_id": request.trace_id(),
            "calls": stats.calls,
            "duration": round(stats.seconds, 6),
            "relationship": found.relationship,
            "advice": found.advice(stats.statement.operation),
            "suppressed": suppressed,
        }
        sentence = (
            "%(http.route)s sent %(db.query.summary)s %(calls)d times from %(code.source)s: "
            "%(advice)s"
        )
        self._log.write(logging.WARNING, "N+1 query", sentence, fields)

    def plan_changed(
        self, statement: Statement, before: Plan, after: Plan, seconds_before: float, seconds: float
    ) -> None:
        """Log a changed plan with which the statement takes at least twice as long."""
        fields = _fields(statement, "") | {
            "duration": round(seconds, 6),
            "duration_before": round(seconds_before, 6),
            "plan": after.lines,
            "plan_before": before.lines,
        }
        sentence = (
            "%(db.query.summary)s takes %(duration).3f s by the new plan, %(duration_before).3f s "
            "by the one before: %(db.query.text).300s"
        )
        self._log.write(logging.WARNING, "query plan changed", sentence, fields)

    def lock_wait(self, fields: dict[str, Any]) -> None:
        """Log a transaction that makes others wait for its locks.

        Args:
            fields: What is known of it, without values.
        """
        suppressed = self._lock_throttle.allows(str(fields["blocking_pid"]))
        if suppressed is None:
            return
        fields = fields | {"suppressed": suppressed}
        sentence = (
            "PID %(blocking_pid)d (%(application)s, %(state)s) has made others wait for "
            "%(duration).0f s, now %(sessions)d sessions; its last statement: "
            "%(db.query.text).300s; one that waits: %(waiting).300s"
        )
        self._log.write(logging.WARNING, "lock wait", sentence, fields)


def _fields(statement: Statement, source: str) -> dict[str, Any]:
    return {
        "db.query.summary": statement.summary,
        "db.query.fingerprint": statement.fingerprint,
        "db.query.text": statement.text,
        "code.source": source,
    }
