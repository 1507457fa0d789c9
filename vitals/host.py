"""The host application, and what a probe may attach to it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    suppress,
)
from typing import Any, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from fastapi import FastAPI
from starlette.types import ASGIApp

from vitals.asgi.activity import Activity
from vitals.asgi.health_checks import USUAL, health_checks
from vitals.asgi.hooks import (
    add_lifespan,
    after_startup,
    run_until_task_ends,
)
from vitals.asgi.own_paths import OwnPaths, Page
from vitals.asgi.request_context import MakeSpan, OnFinished
from vitals.asgi.route_template import RouteTemplates
from vitals.errors import ErrorCounter
from vitals.log_events import EventLog
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives

LOGGER = "vitals.host"

Middleware = Callable[[ASGIApp], ASGIApp]
"""Wraps an ASGI application in another one."""

Made = TypeVar("Made")

WatchEngine = Callable[[Any, str | None], None]
"""Measures an engine of SQLAlchemy from now on, under a name or its own."""

Lifespan = Callable[[], AbstractAsyncContextManager[None]]
"""Creates what runs around the application's lifespan."""

LIFESPAN_SECONDS = 1.0
"""Seconds after the first connection within which the lifespan has begun, if there is one."""


class Host:
    """The application that is instrumented.

    Probes are attached one after another; then the middleware and the lifespan are built.

    Args:
        app: The application.
        service_name: ``service.name`` in logs, traces and comments of statements.
        objectives: Its service level objectives.
        exclude: Exact paths of health checks, which are not measured; None for those with the usual
            names.

    Attributes:
        meter: Where probes record.
        errors: Counts exceptions by fingerprint.
        activity: What the application serves at the moment.
        routes: Templates of the application's routes.
        watch_engine: Measures a further engine; set by the database's probe.
        make_span: Creates spans of operations, while it is enabled; None where tracing never is.
        trace_requests: Wraps the application in a middleware that traces requests, outside of all
            other middleware; called with the application and its own middleware stack. Or None.
        logs: Whether probes write log events.
        late: Whether the application has started already: this is its lifespan.
        long_polls: Route templates of long polls; None for those with the usual names.
        time_parts: Whether it is measured what the time of a request is spent in.
        linked_span: Creates the span of a background task, linked to its request's; or None.
        paths: The paths that are not measured, and the pages that probes serve.
        finished: Called with each request at its end.
        record_cut: Records the requests that the server's shutdown has cut; set with the
            middleware.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        service_name: str,
        objectives: Objectives,
        exclude: Sequence[str] | None = None,
    ) -> None:
        self.app = app
        self.service_name = service_name
        self.objectives = objectives
        self.meter = Meter()
        self.routes = RouteTemplates(app)
        self.errors = ErrorCounter(self.meter, self.routes)
        self.activity = Activity()
        self.make_span: MakeSpan | None = None
        self.trace_requests: Callable[[ASGIApp, ASGIApp], ASGIApp] | None = None
        self.logs = False
        self.long_polls: Sequence[str] | None = None
        self.time_parts = False
        self.linked_span: Callable[[str], AbstractContextManager[Any]] | None = None
        self.paths = OwnPaths(app)
        self.paths.exclude(USUAL if exclude is None else exclude)
        self.finished: list[OnFinished] = []
        self.record_cut: Callable[[], None] = _nothing
        self._lifespans: list[Lifespan] = []
        self._middleware: list[Middleware] = []
        self._at_start: list[Callable[[], None]] = []
        self.watch_engine: WatchEngine | None = None
        self._made: WeakKeyDictionary[object, dict[type, Any]] = WeakKeyDictionary()
        self._on_started: list[Callable[[], None]] = []
        self._descriptions: list[Callable[[], str]] = []
        self._task: asyncio.Task[None] | None = None
        self.late = app.middleware_stack is not None
        self._finds_health_checks = exclude is None
        self._has_lifespan = self.late

    @property
    def unmeasured(self) -> dict[str, Page | None]:
        """Paths that may be unmeasured, with the kit's page; None for a health check."""
        return self.paths.pages

    def on_finished(self, callback: OnFinished) -> None:
        """Call a function with each request that has finished."""
        self.finished.append(callback)

    def serve(
        self,
        path: str,
        app: ASGIApp,
        others: Sequence[str] = (),
        displaced: ASGIApp | None = None,
    ) -> None:
        """Serve an exact path before the application; its requests are not measured.

        A route of the application that serves the path keeps it.

        Args:
            path: The path.
            app: What serves it.
            others: Where it is served instead.
            displaced: What serves it there; by default the same.
        """
        self.paths.serve(path, app, others, displaced)

    def middleware(self, wrap: Middleware) -> None:
        """Add a middleware around the application and all middleware added before."""
        self._middleware.append(wrap)

    def lifespan(self, context: Lifespan) -> None:
        """Run a context manager around the application's lifespan; what comes first ends last."""
        self._lifespans.append(context)

    def at_start(self, callback: Callable[[], None]) -> None:
        """Call a function with the first connection, usually the lifespan's.

        Only then is it certain that this process serves: one that imports the application, or
        forks workers, never gets there.
        """
        self._at_start.append(callback)

    def made_for(self, target: object, kind: type[Made], make: Callable[[], Made]) -> Made:
        """What is made for an object, such as a client, once; it lives as long as both.

        Args:
            target: The object; held weakly.
            kind: What is made.
            make: Makes it.
        """
        made = self._made.setdefault(target, {})
        if kind not in made:
            made[kind] = make()
        return cast(Made, made[kind])

    def on_started(self, callback: Callable[[], None]) -> None:
        """Call a function when the application's own start-up is complete."""
        self._on_started.append(callback)

    def describe(self, phrase: Callable[[], str]) -> None:
        """Add a phrase to the log line at start-up: what a probe watches, and what it does not."""
        self._descriptions.append(phrase)

    def build_lifespan(self) -> None:
        """Add the lifespans of all probes to the application."""
        if self.late:
            self.start_late()
            return
        after_startup(self.app, self._started)
        for context in reversed(self._lifespans):
            add_lifespan(self.app, context)
        add_lifespan(self.app, self._note_lifespan)

    def start_late(self) -> None:
        """Run the lifespans of all probes within the application's, which has begun already."""
        if self._task is None or self._task.done():
            self._task = run_until_task_ends(self._lifespans)
            self._task.add_done_callback(_log_failure)
            self._started()

    def _started(self) -> None:
        if self.late:  # the application's lifespan may add routes yet
            self._find_health_checks()
        else:
            self._check_routes()
        for callback in self._on_started:
            callback()
        watched = [phrase() for phrase in self._descriptions]
        log = EventLog(LOGGER, self.meter.dropped, self.service_name)
        log.write(logging.INFO, "vitals watches", lambda: "; ".join(watched), {"watched": watched})

    def build_middleware(self, app: ASGIApp) -> ASGIApp:
        """Wrap the application in the middleware of all probes, with its first connection."""
        # Once, though the host may have the stack built anew.
        starts, self._at_start = self._at_start, []
        for start in starts:
            start()
        stack = app
        self._find_health_checks()
        with suppress(RuntimeError):  # no asyncio
            asyncio.get_running_loop().call_later(LIFESPAN_SECONDS, self._report_no_lifespan)
        for wrap in self._middleware:
            app = wrap(app)
        return app if self.trace_requests is None else self.trace_requests(app, stack)

    @asynccontextmanager
    async def _note_lifespan(self) -> AsyncIterator[None]:
        self._has_lifespan = True
        yield

    def _check_routes(self) -> None:
        """Check what refers to routes; the application's own lifespan may have added some."""
        self._find_health_checks()
        self.paths.report()
        self.objectives.check_routes(self.routes.all())

    def _find_health_checks(self) -> None:
        if self._finds_health_checks:
            self.paths.exclude(health_checks(self.routes.all()))

    def _report_no_lifespan(self) -> None:
        """Say what does not run; there is no start that an error could end."""
        if self._has_lifespan:
            return
        log = logging.getLogger(__name__)
        log.warning(
            "the application is served without its lifespan, because it is mounted or its server "
            "runs none: plans of slow statements are missing, and so may be the last traces and "
            "metrics; an outer application's lifespan can run it by "
            "`async with app.router.lifespan_context(app)`"
        )
        try:
            self._check_routes()
        except ValueError as error:
            log.error("%s", error)  # noqa: TRY400  # the message says it all


def _nothing() -> None:
    """Record nothing: there is no middleware yet."""


def _log_failure(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logging.getLogger(LOGGER).error("a probe failed in the lifespan", exc_info=error)


class Probe(Protocol):
    """Measures, logs or checks one thing of an application."""

    def attach(self, host: Host) -> None:
        """Attach to the application, before it serves."""
