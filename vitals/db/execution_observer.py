"""Records each statement as soon as the driver has executed it.

This runs on the path of every query, so the common case does as little as possible: for a request's
only call of a statement, only its seconds are kept.
"""

from bisect import bisect_left
from collections.abc import Mapping
from time import perf_counter, process_time, time_ns
from typing import Any
from weakref import ref

from sqlalchemy import Engine

from vitals.asgi.request_context import CURRENT, MakeSpan, RequestContext, error_type_of
from vitals.asgi.trace_record import CLIENT, Attributes, active_span
from vitals.db.insight.explain_worker import ExplainWorker
from vitals.db.span_attributes import (
    connection_attributes,
    response_status_code,
    statement_attributes,
)
from vitals.db.statement_instruments import SYSTEMS, InstrumentTable, StatementInstruments
from vitals.db.statements import callsite
from vitals.db.statements.fingerprint import CACHE_SIZE, MAX_LENGTH, Statement
from vitals.db.statements.n_plus_one import Moment
from vitals.db.statements.query_log import QueryLog
from vitals.db.statements.statement_stats import CallStats
from vitals.metrics.instruments import HistogramChild
from vitals.metrics.meter import Meter

MAX_STATEMENTS = 500
"""Different statements recorded per request."""

EXEMPLAR_THRESHOLD = 0.005
"""Seconds at or above which a call may become an exemplar: traces of fast calls are of no use."""

RequestStatements = dict[StatementInstruments, float | CallStats]
"""Statements of one request: the seconds of a single call, statistics for several."""

_Call = tuple[float, BaseException | None, Any, str, Any]
"""Seconds, error, cursor, statement and values."""


class ExecutionObserver:
    """Observes the statements of one engine (``on_executed`` is an ``OnExecuted``).

    Args:
        engine: The engine, no copy by ``execution_options``; held weakly.
        table: The instruments of the statements.
        meter: Counts statements that could not be recorded.
        explain_worker: Receives the slow statements.
        slow_threshold: Seconds above which a statement is slow.
        span: Creates a span for each statement; None without tracing.
        log: Logs slow statements; or None.

    Attributes:
        meter: The meter.
    """

    def __init__(
        self,
        engine: Engine,
        table: InstrumentTable,
        meter: Meter,
        explain_worker: ExplainWorker,
        *,
        slow_threshold: float,
        span: MakeSpan | None,
        log: QueryLog | None,
    ) -> None:
        self._engine = ref(engine)
        self._dialect = engine.dialect.name
        self._table = table
        self.meter = meter
        self._explain_worker = explain_worker
        self._slow_threshold = slow_threshold
        self._span = span
        system = SYSTEMS.get(self._dialect, "other_sql")
        self._span_attributes = connection_attributes(engine, system)
        self._log = log
        self._instruments_by_sql: dict[str, StatementInstruments] = {}
        self._attributes_by_statement: dict[Statement, Attributes] = {}
        self._traced: set[str] = set()

    def on_executed(  # noqa: C901, PLR0912, PLR0917  # each call would cost; the dialect hook's signature: an object would cost
        self,
        seconds: float,
        error: BaseException | None,
        cursor: Any,
        sql: str,
        parameters: Any,
        context: Any,
        /,
    ) -> None:
        """Record a statement; never raises."""
        try:
            compiled = context.compiled if context is not None else None
            # The same string object whatever the length of an IN list or of a batch of rows.
            key = sql if compiled is None else compiled.string
            instruments = self._instruments_by_sql.get(key) or self._instruments_of(key)
            request = CURRENT.get()
            if request is None or request.duration:
                if request is not None:
                    request.count_later_query()
                    request = None  # it is finished: later statements belong to none
                instruments.background.record(seconds)
            else:
                statements: RequestStatements | None = request.statements
                if request.times is not None:
                    now = perf_counter()
                    request.times.wait(instruments.part, now - seconds, now)
                if statements is None:
                    request.statements = {instruments: seconds}
                    request.queries = 1
                    request.db_seconds = seconds
                else:
                    request.queries += 1
                    request.db_seconds += seconds
                    if instruments in statements:
                        stats = stats_of(instruments, request)
                        if stats.check_n_plus_one(sql, parameters, context, _moment(request)):
                            request.n_plus_one = True
                        stats.record(seconds)
                    elif len(statements) < MAX_STATEMENTS:
                        statements[instruments] = seconds
            if seconds < EXEMPLAR_THRESHOLD and error is None:
                # Inlined `observe`: calling it would take a tenth of the time of all this.
                durations = instruments.durations
                cells = durations.cells
                cells[bisect_left(durations.bounds, seconds)] += 1.0
                cells[-1] += seconds
            else:
                durations = (
                    instruments.durations
                    if error is None
                    else self._error_durations(instruments, error)
                )
                durations.observe(seconds, None if request is None else request.exemplar)
                if request is not None and request.trace is not None and not request.sampled:
                    request.trace.hold_exemplar(durations, seconds)
            if self._span is not None and self._span.enabled:
                self._trace(self._span, instruments.statement, seconds, error, cursor)
            if instruments.needs_source or error is not None or seconds > self._slow_threshold:
                call = seconds, error, cursor, sql, parameters
                self._record_details(instruments, call, request)
        except Exception:  # noqa: BLE001  # measuring must not fail the host's query
            self.meter.dropped("query_probe")

    def _instruments_of(self, sql: str) -> StatementInstruments:
        instruments = self._table.of(sql, self._dialect)
        if len(sql) <= MAX_LENGTH:
            if len(self._instruments_by_sql) >= CACHE_SIZE:
                self._instruments_by_sql.clear()
            self._instruments_by_sql[sql] = instruments
        return instruments

    def _error_durations(
        self, instruments: StatementInstruments, error: BaseException
    ) -> HistogramChild:
        return self._table.durations(instruments.statement, self._dialect, _error_type(error))

    def _record_details(
        self, instruments: StatementInstruments, call: _Call, request: RequestContext | None
    ) -> None:
        """Record more of a call that failed, was slow, or needs its call site."""
        seconds, error, cursor, sql, parameters = call
        stats = stats_of(instruments, request)
        stats.failed += error is not None
        slow = seconds > self._slow_threshold
        if slow or instruments.needs_source:
            instruments.needs_source = False
            stats.source = callsite.format_location(callsite.application_stack())
        if not slow:
            return
        instruments.slow.inc()
        stats.slow += 1
        if self._log is not None:
            rows = getattr(cursor, "rowcount", -1)
            self._log.slow(
                instruments.statement,
                seconds=seconds,
                threshold=self._slow_threshold,
                rows=rows if rows >= 0 else None,
                source=stats.source,
                error_type=_error_type(error),
                request=request,
            )
        engine = self._engine()
        if error is None and engine is not None:
            self._explain_worker.submit(engine, instruments.statement, sql, parameters, seconds)

    def _trace(
        self,
        span: MakeSpan,
        statement: Statement,
        seconds: float,
        error: BaseException | None,
        cursor: Any,
    ) -> None:
        attributes: Mapping[str, Any] = self._attributes_by_statement.get(
            statement
        ) or self._add_attributes(statement)
        error_type = ""
        if error is not None:
            error_type = error_type_of(error)
            if code := response_status_code(error, self._dialect):
                attributes = {**attributes, "db.response.status_code": code}
        ended = time_ns()
        active = active_span()
        if active is None:
            span(statement.summary, ended - int(seconds * 1e9), error_type, attributes)
            return
        record, parent = active
        if statement.fingerprint not in self._traced:
            self._traced.add(statement.fingerprint)
            record.first_seen = record.sampler.is_first(statement.fingerprint) or record.first_seen
        began = ended - int(seconds * 1e9)
        site = (*callsite.innermost(), _returned_rows(cursor) if error is None else -1)
        record.add(
            (statement.summary, CLIENT, 0, parent, began, ended, attributes, error_type, site)
        )

    def _add_attributes(self, statement: Statement) -> Attributes:
        made = Attributes({**self._span_attributes, **statement_attributes(statement)})
        if len(self._attributes_by_statement) >= CACHE_SIZE:
            self._attributes_by_statement.clear()
            self._traced.clear()
        self._attributes_by_statement[statement] = made
        return made


def stats_of(instruments: StatementInstruments, request: RequestContext | None) -> CallStats:
    """Statistics of a statement that was just sent; created if its request has none yet."""
    if request is None:
        return instruments.background
    statements: RequestStatements = request.statements
    known = statements.get(instruments)
    if isinstance(known, CallStats):
        return known
    stats = CallStats(instruments.statement)
    if known is not None:  # else the request has too many: these are discarded
        stats.record(known)
        statements[instruments] = stats
    return stats


def _moment(request: RequestContext) -> Moment:
    """When a call has ended that was just added to its request's seconds."""
    now = perf_counter()
    return Moment(now, now - process_time() - request.db_seconds - request.pool_seconds)


def _returned_rows(cursor: Any) -> int:
    """The rows that a statement has returned; -1 where the driver does not know yet."""
    if getattr(cursor, "description", None) is None:  # it returns none
        return -1
    rows = getattr(cursor, "rowcount", -1)
    if rows < 0:  # an asynchronous driver's cursor has read them all
        rows = len(getattr(cursor, "_rows", ())) or -1
    return int(rows)


def _error_type(error: BaseException | None) -> str:
    return "" if error is None else error_type_of(error)
