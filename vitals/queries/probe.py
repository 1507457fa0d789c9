"""What is made of each executed statement: figures, the request's account, the log, spans.

Whatever can wait is done when the request is over: only then is its route known for certain, and a
statement that a request sent a hundred times is entered once.
"""

from time import time_ns
from typing import Any

from vitals.catalogue import (
    DB_N_PLUS_ONE,
    DB_OPERATION_DURATION,
    DB_SLOW_QUERIES,
    DB_SLOW_QUERY_THRESHOLD,
    Fingerprint,
    Operation,
    RouteFingerprint,
)
from vitals.meter import Meter
from vitals.metric import NoLabels
from vitals.objectives import Objectives, Slo
from vitals.queries import callsite
from vitals.queries.explain import Explain, Explainer
from vitals.queries.fingerprint import KEPT, LONGEST, Fingerprints, Statement
from vitals.queries.ledger import Ledger, Tally
from vitals.queries.log import QueryLog
from vitals.queries.notices import listen
from vitals.queries.plans import Plan
from vitals.queries.seam import AnyEngine, attach
from vitals.scope import CURRENT, MakeSpan, RequestScope

SYSTEMS = {"postgresql": "postgresql", "sqlite": "sqlite", "mysql": "mysql", "mariadb": "mariadb"}
"""db.system.name of the OpenTelemetry semantic conventions by SQLAlchemy dialect."""

MARK = "_vitals_watched"
STATEMENTS = 500
"""Different statements of one request that are accounted for."""

EXEMPLARY = 0.005
"""Seconds from which on a call may be its bucket's exemplar: nobody asks for a fast one's trace."""


class _Series:
    """A statement of one system with everything that a call of it adds to, bound once."""

    __slots__ = ("alone", "duration", "slow", "statement", "text")

    def __init__(
        self, probe: "QueryProbe", system: str, statement: Statement, error_type: str
    ) -> None:
        self.statement = statement
        self.text = statement.text
        self.alone = probe.ledger.of("", statement)
        self.slow = probe.meter.counter(DB_SLOW_QUERIES).bind(Fingerprint(statement.fingerprint))
        self.duration = probe.meter.histogram(DB_OPERATION_DURATION).bind(
            Operation(
                system, statement.operation, statement.summary, statement.fingerprint, error_type
            )
        )


class QueryProbe:
    """Times the statements of any number of engines.

    Args:
        meter: Where to record.
        objectives: Say from when on a query is slow.
        span: Makes a span of each operation; None when there is no tracing.
        log: Tells of slow and repeated statements; None when nobody wants to know.
        explain: Whether plans are taken that the database tells of by itself; ``"analyze"`` also
            executes harmless statements for theirs.

    Attributes:
        ledger: What each statement has cost.
        explainer: Asks for plans while it runs.
        plans: How the database carries out the slow ones, by fingerprint.
        slow_after: Seconds.
    """

    def __init__(
        self,
        meter: Meter,
        objectives: Objectives,
        span: MakeSpan | None = None,
        log: QueryLog | None = None,
        *,
        explain: Explain = True,
    ) -> None:
        self._explain = bool(explain)
        self.fingerprints = Fingerprints()
        self.ledger = Ledger()
        self.plans: dict[str, Plan] = {}
        self.explainer = Explainer(self.plans, meter, log, analyze=explain == "analyze")
        self.meter = meter
        self.span = span
        self.log = log
        self.slow_after = objectives.of(Slo.QUERIES).within or 0.0
        meter.histogram(DB_OPERATION_DURATION, also=(self.slow_after,))
        self._n_plus_one = meter.counter(DB_N_PLUS_ONE)
        meter.gauge(DB_SLOW_QUERY_THRESHOLD).bind(NoLabels()).set(self.slow_after)

    def watch(self, engine: AnyEngine) -> None:
        """Time what this engine executes; a second call for the same engine changes nothing."""
        watched = vars(engine.dialect).setdefault(MARK, [])
        if self not in watched:
            watched.append(self)
            attach(engine, _Watched(self, engine).told)
            if self._explain:
                listen(engine, self.slow_after, self._planned, self.meter)

    def _planned(self, sql: str, plan: Plan, seconds: float) -> None:
        self.explainer.told(self.fingerprints.of(sql, "postgresql"), plan, seconds)

    def finish(self, request: RequestScope) -> None:
        """Enter what a finished request did."""
        if request.statements is None:
            return
        for tally in request.statements.values():
            found = tally.watch and tally.watch.found
            if found:
                tally.repeated, tally.source = 1, found.source
                labels = RouteFingerprint(request.route, tally.statement.fingerprint)
                self._n_plus_one.bind(labels).inc()
                if self.log is not None:
                    self.log.repeated(tally, found, request)
            self.ledger.add(request.route, tally)


class _Watched:
    """The statements of one engine (an ``Executed``)."""

    def __init__(self, probe: QueryProbe, engine: AnyEngine) -> None:
        self._probe = probe
        self._engine = engine
        self._system = SYSTEMS.get(engine.dialect.name, "other_sql")
        self._slow_after = probe.slow_after
        self._traces = probe.span is not None
        self._known: dict[str, _Series] = {}

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
        try:
            compiled = context.compiled if context is not None else None
            # The same string object whatever the length of an IN list or of a batch of rows.
            key = sql if compiled is None else compiled.string
            series = self._known.get(key) if error is None else None
            if series is None:
                series = self._learn(key, error)
            request = CURRENT.get()
            if request is None or request.duration:  # over: what goes on belongs to nobody
                request, tally = None, series.alone
            else:
                tally = self._of(request, series, seconds)
                if tally.calls:
                    tally.look(sql, parameters, context)
            if seconds < EXEMPLARY or request is None:
                series.duration.observe(seconds)
            else:
                series.duration.observe(seconds, request.exemplar)
            tally.calls += 1
            tally.seconds += seconds
            if seconds > tally.slowest:  # noqa: PLR1730  # a third of the time of max()
                tally.slowest = seconds
            if series.alone.sought:
                series.alone.sought = False
                tally.source = callsite.line(callsite.stack())
            if self._traces:
                self._trace(series.statement, seconds, error)
            if error is not None or seconds > self._slow_after:
                self._tell(series, tally, seconds, error, cursor, request)
                self._explain(series, sql, parameters, seconds, error)
        except Exception:  # noqa: BLE001  # the query is the host's; measuring it must not fail it
            self._probe.meter.dropped("query_probe")

    def _learn(self, sql: str, error: BaseException | None) -> _Series:
        statement = self._probe.fingerprints.of(sql, self._engine.dialect.name)
        series = _Series(self._probe, self._system, statement, _name(error))
        if error is None and len(sql) <= LONGEST:
            if len(self._known) >= KEPT:
                self._known.clear()
            self._known[sql] = series
        return series

    @staticmethod
    def _of(request: RequestScope, series: _Series, seconds: float) -> Tally:
        request.queries += 1
        request.db_seconds += seconds
        statements = request.statements
        if statements is None:
            statements = request.statements = {}
        tally: Tally | None = statements.get(series.text)
        if tally is None:
            tally = Tally(series.statement)
            if len(statements) < STATEMENTS:
                statements[series.text] = tally
        return tally

    def _tell(  # noqa: PLR0917
        self,
        series: _Series,
        tally: Tally,
        seconds: float,
        error: BaseException | None,
        cursor: Any,
        request: RequestScope | None,
    ) -> None:
        tally.failed += error is not None
        if seconds <= self._slow_after:
            return
        series.slow.inc()
        tally.slow += 1
        tally.source = callsite.line(callsite.stack())
        if self._probe.log is not None:
            rows = getattr(cursor, "rowcount", -1)
            self._probe.log.slow(
                series.statement,
                seconds=seconds,
                within=self._slow_after,
                rows=rows if rows >= 0 else None,
                source=tally.source,
                error_type=_name(error),
                request=request,
            )

    def _explain(
        self,
        series: _Series,
        sql: str,
        parameters: Any,
        seconds: float,
        error: BaseException | None,
    ) -> None:
        if error is None:
            self._probe.explainer.offer(self._engine, series.statement, sql, parameters, seconds)

    def _trace(self, statement: Statement, seconds: float, error: BaseException | None) -> None:
        attributes = {
            "db.system.name": self._system,
            "db.operation.name": statement.operation,
            "db.query.summary": statement.summary,
            "db.query.text": statement.text,
            "vitals.db.query.fingerprint": statement.fingerprint,
        }
        if self._probe.span is not None:
            began = time_ns() - int(seconds * 1e9)
            self._probe.span(statement.summary, began, _name(error), attributes)


def _name(error: BaseException | None) -> str:
    return "" if error is None else type(error).__qualname__
