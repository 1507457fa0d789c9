"""The host application, and what a probe may attach to it."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from fastapi import FastAPI
from starlette.types import ASGIApp

from vitals.asgi.hooks import (
    add_lifespan,
    after_startup,
    reuse_middleware,
    run_until_task_ends,
)
from vitals.asgi.request_context import MakeSpan, OnFinished
from vitals.asgi.route_template import RouteTemplates
from vitals.metrics.meter import Meter
from vitals.objectives import Objectives

_log = logging.getLogger("vitals")

Middleware = Callable[[ASGIApp], ASGIApp]
"""Wraps an ASGI application in another one."""

Lifespan = Callable[[], AbstractAsyncContextManager[None]]
"""Creates what runs around the application's lifespan."""


class Host:
    """The application that is instrumented.

    Probes are attached one after another; then the middleware and the lifespan are built.

    Args:
        app: The application.
        service_name: ``service.name`` in logs, traces and comments of statements.
        objectives: Its service level objectives.
        unmeasured: Exact paths that are neither measured nor traced.

    Attributes:
        meter: Where probes record.
        routes: Templates of the application's routes.
        make_span: Creates spans of operations; None without tracing.
        join_trace: Called when a response starts, to take over a tracer's trace.
        logs: Whether probes write log events.
        late: Whether the application has started already: this is its lifespan.
        unmeasured: The same paths, and those that probes serve with what serves them.
        finished: Called with each request at its end.
    """

    def __init__(
        self,
        app: FastAPI,
        *,
        service_name: str,
        objectives: Objectives,
        unmeasured: Iterable[str] = (),
    ) -> None:
        self.app = app
        self.service_name = service_name
        self.objectives = objectives
        self.meter = Meter()
        self.routes = RouteTemplates(app)
        self.make_span: MakeSpan | None = None
        self.join_trace: OnFinished | None = None
        self.logs = False
        self.unmeasured: dict[str, ASGIApp | None] = dict.fromkeys(unmeasured)
        self.finished: list[OnFinished] = []
        self._lifespans: list[Lifespan] = []
        self._middleware: list[Middleware] = []
        self._at_start: list[Callable[[], None]] = []
        self._on_started: list[Callable[[], None]] = []
        self._descriptions: list[Callable[[], str]] = []
        self._task: asyncio.Task[None] | None = None
        self.late = app.middleware_stack is not None
        if self.late:
            reuse_middleware(app)

    def on_finished(self, callback: OnFinished) -> None:
        """Call a function with each request that has finished."""
        self.finished.append(callback)

    def serve(self, path: str, app: ASGIApp) -> None:
        """Serve an exact path before the application; its requests are not measured."""
        self.unmeasured[path] = app

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

    def start_late(self) -> None:
        """Run the lifespans of all probes within the application's, which has begun already."""
        if self._task is None or self._task.done():
            self._task = run_until_task_ends(self._lifespans)
            self._task.add_done_callback(_log_failure)
            self._started()

    def _started(self) -> None:
        for callback in self._on_started:
            callback()
        _log.info("vitals watches: %s", "; ".join(phrase() for phrase in self._descriptions))

    def build_middleware(self, app: ASGIApp) -> ASGIApp:
        """Wrap the application in the middleware of all probes, with its first connection."""
        for start in self._at_start:
            start()
        for wrap in self._middleware:
            app = wrap(app)
        return app


def _log_failure(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        _log.error("a probe failed in the lifespan", exc_info=error)


class Probe(Protocol):
    """Measures, logs or checks one thing of an application."""

    def attach(self, host: Host) -> None:
        """Attach to the application, before it serves."""
