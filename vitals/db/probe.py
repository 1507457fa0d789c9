"""Query probe: records metrics, statistics, log events and spans of executed statements.

Whatever can be deferred is done when the request has finished: only then is its route certain, and
a statement that a request sent a hundred times is recorded once.
"""

from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Engine

from vitals.asgi.request_context import MakeSpan, RequestContext
from vitals.db.dialect_hook import OnExecuted, attach
from vitals.db.engines import AnyEngine, EngineWatchers, root_engine
from vitals.db.execution_observer import ExecutionObserver, RequestStatements
from vitals.db.insight.auto_explain import collect_plans
from vitals.db.insight.explain import Explain
from vitals.db.insight.explain_worker import ExplainWorker
from vitals.db.statement_costs import StatementCosts
from vitals.db.statement_instruments import InstrumentTable
from vitals.db.statements.plans import Plan
from vitals.db.statements.query_log import QueryLog
from vitals.db.statements.statement_stats import MAX_SOURCE_LOOKUPS, CallStats, StatementStats
from vitals.metrics.catalogue import DB_N_PLUS_ONE, DB_SLOW_QUERY_THRESHOLD, RouteFingerprintLabels
from vitals.metrics.declarations import NoLabels
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives, Slo

PROBES = "_vitals_probes"
KEPT = "_vitals_kept_probes"
OBSERVERS = "_vitals_observers"


class QueryProbe:
    """Observes the statements of any number of engines.

    Args:
        meter: Where to record.
        objectives: Define the threshold of slow queries.
        span: Creates a span for each statement; None without tracing.
        log: Logs slow statements and N+1; None for no log.
        explain: Whether plans that auto_explain sends are collected; ``"analyze"`` also executes
            statements without side effects for their plan.
        keep: Whether engines keep it alive; else it is gone when its application is.

    Attributes:
        fingerprints: The normalised statements by their text.
        statement_stats: Statistics by statement and route.
        explain_worker: Explains slow statements while it runs.
        plans: The newest plan of slow statements, by fingerprint.
        slow_threshold: Seconds above which a statement is slow.
    """

    def __init__(
        self,
        meter: Meter,
        objectives: Objectives,
        span: MakeSpan | None = None,
        log: QueryLog | None = None,
        *,
        explain: Explain = True,
        keep: bool = True,
    ) -> None:
        self._keep = keep
        self._explain = bool(explain)
        self.statement_stats = StatementStats()
        self.plans: dict[str, Plan] = {}
        self.explain_worker = ExplainWorker(self.plans, meter, log, analyze=explain == "analyze")
        self.slow_threshold = objectives.of(Slo.QUERIES).within or 0.0
        self._table = InstrumentTable(meter, self.statement_stats, self.slow_threshold)
        self.fingerprints = self._table.fingerprints
        self.meter = meter
        meter.before_scrape(StatementCosts(meter, self.statement_stats).refresh)
        self._span = span
        self._log = log
        self._observers: WeakKeyDictionary[Engine, ExecutionObserver] = WeakKeyDictionary()
        self._n_plus_one = meter.counter(DB_N_PLUS_ONE)
        meter.gauge(DB_SLOW_QUERY_THRESHOLD).bind(NoLabels()).set(self.slow_threshold)

    def instrument(self, engine: AnyEngine) -> None:
        """Observe an engine's statements, and those of its copies; idempotent."""
        self._instrument(engine, found=False)

    def instrument_found(self, engine: AnyEngine) -> None:
        """Observe an engine that was found by itself, which other applications may know better."""
        self._instrument(engine, found=True)

    def _instrument(self, engine: AnyEngine, *, found: bool) -> None:
        engine = root_engine(engine)
        probes = vars(engine.dialect).setdefault(PROBES, WeakSet())
        if self in probes:
            _observe(engine, self._observers[engine], found=found)
            return
        probes.add(self)
        if self._keep:
            vars(engine.dialect).setdefault(KEPT, []).append(self)
        observer = self._observers[engine] = ExecutionObserver(
            engine,
            self._table,
            self.meter,
            self.explain_worker,
            slow_threshold=self.slow_threshold,
            span=self._span,
            log=self._log,
        )
        _observe(engine, observer, found=found)
        if self._explain:
            collect_plans(engine, self.slow_threshold, self)

    def record_plan(self, sql: str, plan: Plan, seconds: float) -> None:
        """Record a plan that auto_explain has sent."""
        self.explain_worker.history.record_logged(
            self.fingerprints.of(sql, "postgresql"), plan, seconds
        )

    def finish(self, request: RequestContext) -> None:
        """Record the statements of a finished request."""
        statements: RequestStatements | None = request.statements
        if statements is None:
            return
        route = request.route
        for instruments, calls in statements.items():
            total = instruments.routes.get(route) or self.statement_stats.of(
                route, instruments.statement
            )
            if isinstance(calls, CallStats):
                self._check_n_plus_one(calls, request)
                total.merge(calls)
            else:
                total.record(calls)
            if not total.source and total.source_lookups < MAX_SOURCE_LOOKUPS:
                total.source_lookups += 1
                instruments.needs_source = True

    def _check_n_plus_one(self, stats: CallStats, request: RequestContext) -> None:
        found = stats.detector and stats.detector.found
        if found:
            stats.n_plus_one, stats.source = 1, found.source
            labels = RouteFingerprintLabels(request.route, stats.statement.fingerprint)
            self._n_plus_one.bind(labels).inc()
            if self._log is not None:
                self._log.n_plus_one(stats, found, request)


def _observe(engine: Engine, observer: ExecutionObserver, *, found: bool) -> None:
    """Pass an engine's statements to an observer; the dialect is hooked once for all of them."""
    observers: EngineWatchers[ExecutionObserver] | None = vars(engine.dialect).get(OBSERVERS)
    if observers is None:
        observers = EngineWatchers()
        setattr(engine.dialect, OBSERVERS, observers)
        observers.add(observer, found=found)
        attach(engine, _on_executed(observers))
    else:
        observers.add(observer, found=found)


def _on_executed(observers: EngineWatchers[ExecutionObserver]) -> OnExecuted:
    def on_executed(  # noqa: PLR0917  # the dialect hook's signature
        seconds: float,
        error: BaseException | None,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
    ) -> None:
        observer = observers.current()
        if observer is not None:
            observer.on_executed(seconds, error, cursor, statement, parameters, context)

    return on_executed
