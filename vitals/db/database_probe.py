"""Probe of databases: statements, pools, plans of slow statements, the bottlenecks page."""

import inspect
from contextlib import suppress

from sqlalchemy import Connection

from vitals.asgi.request_context import RequestContext
from vitals.asgi.route_template import UNMATCHED
from vitals.db.discovery import find_engines
from vitals.db.engine_selection import EngineSelection, named
from vitals.db.engines import LOCK, AnyEngine, root_engine
from vitals.db.insight.bottlenecks_page import PATH, BottleneckPage
from vitals.db.insight.explain import Explain
from vitals.db.insight.page_login import Admin, AdminLogin
from vitals.db.insight.statement_history import StatementHistory
from vitals.db.locks.lock_sampler import LockSampler
from vitals.db.locks.lock_watch import LockWatch
from vitals.db.pool import PoolProbe
from vitals.db.pool_hook import hook_pool
from vitals.db.probe import QueryProbe
from vitals.db.sqlcommenter import SqlCommenter, add_comments
from vitals.db.statements.query_log import QueryLog
from vitals.host import Host
from vitals.metrics.catalogue import DB_QUERIES_PER_REQUEST, RouteLabels
from vitals.metrics.instruments import HistogramChild

MAX_ROUTES = 1_000
"""Routes whose histogram of queries is cached."""
METHOD_NOT_ALLOWED = 405


class DatabaseProbe:
    """Measures the statements and pools of engines, which may be added at any time.

    Args:
        selection: The engines to watch.
        explain: Whether slow statements are explained, and how.
        sqlcommenter: Whether statements carry a comment with the service's name and the route.
        admin: Who may read the bottlenecks page; None disables it.
        admin_login: Checks a name and a password that a browser sends to that page.
        locks: Whether lock waits of PostgreSQL are read all the time.

    Raises:
        ValueError: ``explain`` is invalid.
    """

    def __init__(
        self,
        selection: EngineSelection,
        *,
        explain: Explain = True,
        sqlcommenter: bool = False,
        admin: Admin | None = None,
        admin_login: AdminLogin | None = None,
        locks: bool = True,
    ) -> None:
        if explain not in {True, False, "analyze"}:
            raise ValueError(f"explain {explain!r} must be True, False or 'analyze'")
        self._selection = selection
        self._explain = explain
        self._sqlcommenter = sqlcommenter
        self._admin = admin
        self._admin_login = admin_login
        self._watches_locks = locks
        self._locks: LockWatch | None = None
        self._unresolved = "it returned None"
        self._watching = False
        self._per_request: dict[str, HistogramChild] = {}

    def attach(self, host: Host) -> None:
        """Watch the engines that exist, and prepare for further ones."""
        self._host = host
        host.watch_engine = self.watch
        self.meter = host.meter
        log = QueryLog(host.routes, host.meter.dropped, host.service_name) if host.logs else None
        self._queries = QueryProbe(
            host.meter, host.objectives, host.make_span, log, explain=self._explain, keep=False
        )
        self._pools = PoolProbe(host.meter)
        self._comments = (
            SqlCommenter(host.service_name, host.routes, host.meter) if self._sqlcommenter else None
        )
        if self._explain:
            host.lifespan(self._queries.explain_worker.running)
        samples = None
        if self._watches_locks:
            samples = LockSampler()
            self._locks = LockWatch(host.meter, host.service_name, samples, log)
            host.lifespan(self._locks.running)
        if self._admin is not None:
            history = StatementHistory(host.meter, self._queries.statement_stats)
            host.lifespan(history.running)
            page = BottleneckPage(
                history,
                self._queries.plans,
                host.meter,
                self._admin,
                lock_sampler=samples,
                admin_login=self._admin_login,
            )
            host.serve(PATH, page)
        selection, self._selection = self._selection, EngineSelection()
        self.add(selection)
        host.meter.before_scrape(self._resolve)
        host.on_started(self._resolve)
        host.describe(self._describe)

    def add(self, selection: EngineSelection) -> None:
        """Watch further engines."""
        for engine, name in selection.engines:
            self.watch(engine, name)
        self._selection.functions += selection.functions
        if selection.every:
            self._selection.every = True
            find_engines(self)

    def watch(self, engine: AnyEngine, name: str | None = None, *, found: bool = False) -> None:
        """Measure an engine from now on; once, however often it is passed.

        Args:
            engine: The engine, or a copy of it by ``execution_options``.
            name: Its pool's name in labels; see ``vitals.db.pool`` for the default.
            found: Whether it was found by itself.

        Raises:
            TypeError: It is no engine.
        """
        engine = root_engine(engine)
        with LOCK:
            if not self._watching:
                self._watching = True
                self._host.on_finished(self._finish)
            if self._comments is not None:
                # First: the probe sees statements without.
                add_comments(engine, self._comments, keep=False)
            observe = self._queries.instrument_found if found else self._queries.instrument
            observe(engine)
            self._pools.instrument(engine, name, found=found)
            if self._locks is not None:
                self._locks.add_engine(engine)

    def found(self, connection: Connection) -> None:
        """Watch the engine of a connection, which was found by itself; never raises."""
        try:
            engine = root_engine(connection.engine)
            if engine not in self._pools:
                self.watch(engine, found=True)
                hook_pool(engine).adopt(connection.connection)
        except Exception:  # noqa: BLE001  # the host's connection must not fail
            self.meter.dropped("engine")

    def _finish(self, request: RequestContext) -> None:
        """Count a finished request's queries, and record them."""
        route = request.route
        if route != UNMATCHED and request.status != METHOD_NOT_ALLOWED:
            queries = self._per_request.get(route)
            if queries is None:
                queries = self.meter.histogram(DB_QUERIES_PER_REQUEST).bind(RouteLabels(route))
                if len(self._per_request) < MAX_ROUTES:
                    self._per_request[route] = queries
            queries.observe(request.queries)
        self._queries.finish(request)

    def _resolve(self) -> None:
        """Watch the engines that functions return by now."""
        for get in self._selection.functions.copy():
            try:
                engines = get()
                if inspect.iscoroutine(engines):
                    engines.close()
                    raise TypeError("it must not be async")  # noqa: TRY301
                if engines is None:
                    continue
                for engine, name in named(engines):
                    self.watch(engine, name)
            except Exception as error:  # noqa: BLE001  # the host may not be ready: try again
                self._unresolved = type(error).__name__  # its text may hold a password
            else:
                with suppress(ValueError):  # another thread has removed it
                    self._selection.functions.remove(get)

    def _describe(self) -> str:
        """What is watched, and what is not."""
        phrases = [f"engines {', '.join(names)}"] if (names := self._pools.names) else []
        if self._selection.every:
            phrases.append("every engine from its first connection on")
        if self._selection.functions:
            phrases.append(f"no engine yet from the function passed ({self._unresolved})")
        return ", ".join(phrases) or (
            "no engine: database panels stay empty (pass engine=, or call vitals.watch(engine))"
        )
