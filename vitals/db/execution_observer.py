"""What is noted of each statement, as soon as the driver has executed it.

This stands in the way of every query, so the usual case does as little as can be: of a request's
only call of a statement no more is kept than its seconds.
"""

from bisect import bisect_left
from time import time_ns
from typing import Any

from vitals.asgi.request_context import CURRENT, MakeSpan, RequestContext, error_type_of
from vitals.db.dialect_hook import AnyEngine
from vitals.db.insight.explain_worker import Explainer
from vitals.db.statement_instruments import SYSTEMS, Series, SeriesTable
from vitals.db.statements import callsite
from vitals.db.statements.fingerprint import KEPT, LONGEST, Statement
from vitals.db.statements.query_log import QueryLog
from vitals.db.statements.statement_stats import Tally
from vitals.metrics.instruments import HistogramChild
from vitals.metrics.meter import Meter

STATEMENTS = 500
"""Different statements of one request that are accounted for."""

EXEMPLARY = 0.005
"""Seconds from which on a call may be its bucket's exemplar: nobody asks for a fast one's trace."""

Account = dict[Series, float | Tally]
"""What a request did: of a statement that it sent once the seconds, else a tally."""

_Call = tuple[float, BaseException | None, Any, str, Any]
"""Seconds, error, cursor, statement and values."""


class Watched:
    """The statements of one engine (``told`` is an ``Executed``).

    Args:
        engine: Who executes.
        table: The series of the statements.
        meter: Counts what could not be noted.
        explainer: Is offered the slow ones.
        slow_after: Seconds.
        span: Makes a span of each operation; None when there is no tracing.
        log: Tells of slow statements; or None.
    """

    def __init__(
        self,
        engine: AnyEngine,
        table: SeriesTable,
        meter: Meter,
        explainer: Explainer,
        *,
        slow_after: float,
        span: MakeSpan | None,
        log: QueryLog | None,
    ) -> None:
        self._engine = engine
        self._dialect = engine.dialect.name
        self._table = table
        self._meter = meter
        self._explainer = explainer
        self._slow_after = slow_after
        self._span = span
        self._log = log
        self._known: dict[str, Series] = {}

    def told(  # noqa: PLR0917  # as the seam hands it over: an object for it would cost
        self,
        seconds: float,
        error: BaseException | None,
        cursor: Any,
        sql: str,
        parameters: Any,
        context: Any,
        /,
    ) -> None:
        """Take note of a statement; never raises."""
        try:
            compiled = context.compiled if context is not None else None
            # The same string object whatever the length of an IN list or of a batch of rows.
            key = sql if compiled is None else compiled.string
            series = self._known.get(key) or self._learn(key)
            request = CURRENT.get()
            if request is None or request.duration:  # over: what goes on belongs to nobody
                request = None
                series.alone.count(seconds)
            else:
                account: Account | None = request.statements
                if account is None:
                    request.statements = {series: seconds}
                    request.queries = 1
                    request.db_seconds = seconds
                else:
                    request.queries += 1
                    request.db_seconds += seconds
                    if series in account:
                        tally = tally_of(series, request)
                        tally.look(sql, parameters, context)
                        tally.count(seconds)
                    elif len(account) < STATEMENTS:
                        account[series] = seconds
            if seconds < EXEMPLARY and error is None:
                # As `observe` does, whose call would be a tenth of all this.
                durations = series.durations
                cells = durations.cells
                cells[bisect_left(durations.bounds, seconds)] += 1.0
                cells[-1] += seconds
            else:
                durations = series.durations if error is None else self._failing(series, error)
                durations.observe(seconds, None if request is None else request.exemplar)
            if self._span is not None:
                self._trace(self._span, series.statement, seconds, error)
            if series.sought or error is not None or seconds > self._slow_after:
                call = seconds, error, cursor, sql, parameters
                self._dwell(series, call, request)
        except Exception:  # noqa: BLE001  # the query is the host's; measuring it must not fail it
            self._meter.dropped("query_probe")

    def _learn(self, sql: str) -> Series:
        series = self._table.of(sql, self._dialect)
        if len(sql) <= LONGEST:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[sql] = series
        return series

    def _failing(self, series: Series, error: BaseException) -> HistogramChild:
        return self._table.durations(series.statement, self._dialect, _name(error))

    def _dwell(self, series: Series, call: _Call, request: RequestContext | None) -> None:
        """Say more of a call that failed, was slow, or whose line is sought."""
        seconds, error, cursor, sql, parameters = call
        tally = tally_of(series, request)
        tally.failed += error is not None
        slow = seconds > self._slow_after
        if slow or series.sought:
            series.sought = False
            tally.source = callsite.line(callsite.stack())
        if not slow:
            return
        series.slow.inc()
        tally.slow += 1
        if self._log is not None:
            rows = getattr(cursor, "rowcount", -1)
            self._log.slow(
                series.statement,
                seconds=seconds,
                within=self._slow_after,
                rows=rows if rows >= 0 else None,
                source=tally.source,
                error_type=_name(error),
                request=request,
            )
        if error is None:
            self._explainer.offer(self._engine, series.statement, sql, parameters, seconds)

    def _trace(
        self, span: MakeSpan, statement: Statement, seconds: float, error: BaseException | None
    ) -> None:
        attributes = {
            "db.system.name": SYSTEMS.get(self._dialect, "other_sql"),
            "db.operation.name": statement.operation,
            "db.query.summary": statement.summary,
            "db.query.text": statement.text,
            "vitals.db.query.fingerprint": statement.fingerprint,
        }
        span(statement.summary, time_ns() - int(seconds * 1e9), _name(error), attributes)


def tally_of(series: Series, request: RequestContext | None) -> Tally:
    """The tally of a statement that was sent just now, which its request may not have had yet."""
    if request is None:
        return series.alone
    account: Account = request.statements
    known = account.get(series)
    if isinstance(known, Tally):
        return known
    tally = Tally(series.statement)
    if known is not None:  # else there are too many: this one goes nowhere
        tally.count(known)
        account[series] = tally
    return tally


def _name(error: BaseException | None) -> str:
    return "" if error is None else error_type_of(error)
