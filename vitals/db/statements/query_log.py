"""Lines for slow and for repeated statements: what, where from, how long; never a value."""

from typing import Any

import structlog

from vitals.asgi.request_context import RequestContext
from vitals.asgi.route_template import RouteTemplates
from vitals.db.statements.fingerprint import Statement
from vitals.db.statements.log_throttle import Pace
from vitals.db.statements.n_plus_one import Repeat
from vitals.db.statements.plans import Plan
from vitals.db.statements.statement_stats import Tally

NAME = "vitals.db"
SLOW_EVERY = 10.0
"""Seconds between two lines for one slow statement."""
REPEAT_EVERY = 300.0
"""Seconds between two lines for one repeated statement of one route."""
A_MINUTE = 60


class QueryLog:
    """Writes to the logger ``vitals.db``.

    Args:
        routes: Tell the route of a request that is still going on.
    """

    def __init__(self, routes: RouteTemplates) -> None:
        self._routes = routes
        self._log = structlog.stdlib.get_logger(NAME)
        self._slow = Pace(SLOW_EVERY, A_MINUTE)
        self._repeats = Pace(REPEAT_EVERY, A_MINUTE)

    def slow(
        self,
        statement: Statement,
        *,
        seconds: float,
        within: float,
        rows: int | None,
        source: str,
        error_type: str,
        request: RequestContext | None,
    ) -> None:
        """Tell of a statement that took longer than was promised."""
        held = self._slow.allows(statement.fingerprint)
        if held is None:
            return
        fields = _fields(statement, source) | {
            "duration": round(seconds, 6),
            "within": within,
            "held_back": held,
        }
        if rows is not None:
            fields["rows"] = rows
        if error_type:
            fields["error.type"] = error_type
        if request is not None:
            fields["http.route"] = self._routes.of(request.http, request.outer_root)
            fields["trace_id"] = request.trace_id()
            fields["pool_wait"] = round(request.pool_seconds, 6)
        self._log.warning("query slow", **fields)

    def repeated(self, tally: Tally, repeat: Repeat, request: RequestContext) -> None:
        """Tell of a statement that a request sent once a row."""
        held = self._repeats.allows(f"{request.route} {tally.statement.fingerprint}")
        if held is None:
            return
        self._log.warning(
            "query repeated for each row (N+1)",
            **_fields(tally.statement, repeat.source),
            **{"http.route": request.route},
            trace_id=request.trace_id(),
            calls=tally.calls,
            duration=round(tally.seconds, 6),
            relationship=repeat.relationship,
            advice=repeat.advice(tally.statement.operation),
            held_back=held,
        )

    def plan_changed(
        self, statement: Statement, before: Plan, after: Plan, seconds_before: float, seconds: float
    ) -> None:
        """Tell of a statement that is carried out in a new way, and takes twice as long."""
        self._log.warning(
            "query plan changed",
            **_fields(statement, ""),
            duration=round(seconds, 6),
            duration_before=round(seconds_before, 6),
            plan=after.lines,
            plan_before=before.lines,
        )


def _fields(statement: Statement, source: str) -> dict[str, Any]:
    return {
        "db.query.summary": statement.summary,
        "db.query.fingerprint": statement.fingerprint,
        "db.query.text": statement.text,
        "code.source": source,
    }
