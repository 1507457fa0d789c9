"""What is made of the executed statements: figures, the request's account, the log, spans.

Whatever can wait is done when the request is over: only then is its route known for certain, and a
statement that a request sent a hundred times is entered once.
"""

from vitals.asgi.request_context import MakeSpan, RequestContext
from vitals.db.dialect_hook import AnyEngine, attach
from vitals.db.execution_observer import Account, Watched
from vitals.db.insight.auto_explain import listen
from vitals.db.insight.explain import Explain
from vitals.db.insight.explain_worker import Explainer
from vitals.db.statement_instruments import SeriesTable
from vitals.db.statements.plans import Plan
from vitals.db.statements.query_log import QueryLog
from vitals.db.statements.statement_stats import LOOKS, Ledger, Tally
from vitals.metrics.catalogue import DB_N_PLUS_ONE, DB_SLOW_QUERY_THRESHOLD, RouteFingerprint
from vitals.metrics.declarations import NoLabels
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives, Slo

MARK = "_vitals_watched"


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
        fingerprints: The statements by their text.
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
        self.ledger = Ledger()
        self.plans: dict[str, Plan] = {}
        self.explainer = Explainer(self.plans, meter, log, analyze=explain == "analyze")
        self.slow_after = objectives.of(Slo.QUERIES).threshold or 0.0
        self._table = SeriesTable(meter, self.ledger, self.slow_after)
        self.fingerprints = self._table.fingerprints
        self.meter = meter
        self._span = span
        self._log = log
        self._n_plus_one = meter.counter(DB_N_PLUS_ONE)
        meter.gauge(DB_SLOW_QUERY_THRESHOLD).bind(NoLabels()).set(self.slow_after)

    def watch(self, engine: AnyEngine) -> None:
        """Time what this engine executes; a second call for the same engine changes nothing."""
        probes = vars(engine.dialect).setdefault(MARK, [])
        if self not in probes:
            probes.append(self)
            watched = Watched(
                engine,
                self._table,
                self.meter,
                self.explainer,
                slow_after=self.slow_after,
                span=self._span,
                log=self._log,
            )
            attach(engine, watched.told)
            self.explainer.waits.watch(engine)
            if self._explain:
                listen(engine, self.slow_after, self._planned, self.meter)

    def _planned(self, sql: str, plan: Plan, seconds: float) -> None:
        self.explainer.shapes.told(self.fingerprints.of(sql, "postgresql"), plan, seconds)

    def finish(self, request: RequestContext) -> None:
        """Enter what a finished request did."""
        account: Account | None = request.statements
        if account is None:
            return
        route = request.route
        for series, sent in account.items():
            total = series.routes.get(route) or self.ledger.of(route, series.statement)
            if isinstance(sent, Tally):
                self._judge(sent, request)
                total.add(sent)
            else:
                total.count(sent)
            if not total.source and total.looks < LOOKS:
                total.looks += 1
                series.sought = True

    def _judge(self, tally: Tally, request: RequestContext) -> None:
        found = tally.watch and tally.watch.found
        if found:
            tally.repeated, tally.source = 1, found.source
            labels = RouteFingerprint(request.route, tally.statement.fingerprint)
            self._n_plus_one.bind(labels).inc()
            if self._log is not None:
                self._log.repeated(tally, found, request)
