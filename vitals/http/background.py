"""Measures background tasks: work that goes on after its request's response is complete.

There are two kinds. Starlette and FastAPI run a response's ``BackgroundTask`` once it is sent, as a
part of serving the request. A task that an endpoint starts with ``asyncio.create_task`` may outlive
it all; every task that is still running when the application returns is one.
"""

import asyncio
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context
from functools import partial, wraps
from time import perf_counter
from typing import Any

from starlette.background import BackgroundTask

from vitals.asgi.request_context import CURRENT, error_type_of
from vitals.asgi.route_template import UNMATCHED, RouteTemplates
from vitals.errors import ErrorCounter
from vitals.http.observed_request import ObservedRequest
from vitals.metrics.catalogue import (
    DB_BACKGROUND_QUERIES,
    HTTP_ACTIVE_BACKGROUND_TASKS,
    HTTP_BACKGROUND_DURATION,
    BackgroundTaskLabels,
    RouteLabels,
)
from vitals.metrics.meter import Meter

LinkedSpan = Callable[[str], AbstractContextManager[Any]]
"""Creates the span of a background task, linked to the span of its request."""


class BackgroundMeter:
    """Measures the background tasks of one application.

    Args:
        meter: Where to record.
        routes: Templates of the application's routes.
        linked_span: Creates the spans of background tasks; None without tracing.
        errors: Counts exceptions; None for nothing.
    """

    def __init__(
        self,
        meter: Meter,
        routes: RouteTemplates,
        linked_span: LinkedSpan | None = None,
        errors: ErrorCounter | None = None,
    ) -> None:
        self._meter = meter
        self._routes = routes
        self._linked_span = linked_span
        self._errors = errors
        self._durations = meter.histogram(HTTP_BACKGROUND_DURATION)
        self._active = meter.gauge(HTTP_ACTIVE_BACKGROUND_TASKS)
        self._queries = meter.counter(DB_BACKGROUND_QUERIES)
        self._running: dict[object, str] = {}
        """Routes by the weak reference of a task, or by an object that stands for one."""
        self._seen: set[str] = set()
        meter.before_scrape(self._refresh)

    def count_query(self, route: str) -> None:
        """Count a query that a route's background task has sent."""
        self._queries.bind(RouteLabels(route)).inc()

    @contextmanager
    def measure(self, request: ObservedRequest, name: str) -> Iterator[None]:
        """Measure a background task that the application runs itself.

        Args:
            request: The request that started it.
            name: The name of its function.
        """
        route, key, began, error_type = self._route_of(request), object(), perf_counter(), ""
        self._running[key] = route
        span = self._linked_span or nullcontext
        try:
            with span(f"background {name}"):
                yield
        except BaseException as error:
            error_type = error_type_of(error)
            self._count_error(error, route)
            raise
        finally:
            self._running.pop(key, None)
            self._record(route, error_type, perf_counter() - began)

    def follow(self, request: ObservedRequest) -> None:
        """Measure the tasks that outlive a request; called when the application has returned."""
        began = request.ended or perf_counter()
        for each in request.tasks or ():
            task = each()
            if task is not None and not task.done():
                reference = weakref.ref(task, self._forget)
                self._running[reference] = request.route
                task.add_done_callback(partial(self._end, reference, began), context=Context())
        request.tasks = None

    def disown(self, request: ObservedRequest) -> None:
        """Forget the current task, which serves a request of its own."""
        task = asyncio.current_task()
        if task is not None:
            self._forget(weakref.ref(task))
            if request.tasks is not None:
                request.tasks = [each for each in request.tasks if each() is not task]

    def _end(self, key: object, began: float, task: "asyncio.Future[Any]") -> None:
        route = self._running.pop(key, None)
        if route is not None:
            # Not `task.exception()`, after which asyncio no longer logs the error as unretrieved.
            error = getattr(task, "_exception", None)
            failed = "CancelledError" if task.cancelled() else error and error_type_of(error)
            if error is not None and not task.cancelled():
                self._count_error(error, route)
            self._record(route, failed or "", perf_counter() - began)

    def _forget(self, key: object) -> None:
        self._running.pop(key, None)

    def _route_of(self, request: ObservedRequest) -> str:
        try:
            if request.ended and not request.duration:  # an exception's response that has a task
                request.set_outcome(None)
                request.finish(request)
            if request.duration:
                return request.route
            return self._routes.of(request.http, request.outer_root, request.status)
        except Exception:  # noqa: BLE001  # a measurement must not fail the task
            self._meter.dropped("http_probe")
            return UNMATCHED

    def _record(self, route: str, error_type: str, seconds: float) -> None:
        self._durations.bind(BackgroundTaskLabels(route, error_type)).observe(seconds)

    def _count_error(self, error: BaseException, route: str) -> None:
        if self._errors is not None and isinstance(error, Exception):  # not cancelled
            self._errors.count_work("background task", error, CURRENT.get(), route)

    def _refresh(self) -> None:
        running = Counter(list(self._running.values()))
        self._seen.update(running)
        for route in list(self._seen):
            self._active.bind(RouteLabels(route)).set(running[route])


def observe_background_tasks() -> None:
    """Measure what Starlette's ``BackgroundTask`` runs for measured requests; idempotent.

    ASGI shows only that an application has not returned yet, which the clean-up of dependencies
    delays too. Tasks of other applications run as before.
    """
    call = BackgroundTask.__call__
    if hasattr(call, _OBSERVED):
        return

    @wraps(call)
    async def observed(task: BackgroundTask) -> None:
        request = CURRENT.get()
        if isinstance(request, ObservedRequest) and request.status and request.work is not None:
            name = getattr(task.func, "__qualname__", type(task.func).__name__)
            with request.work.measure(request, name):
                await call(task)
        else:
            await call(task)

    setattr(observed, _OBSERVED, True)
    BackgroundTask.__call__ = observed  # type: ignore[method-assign, assignment]


_OBSERVED = "_vitals_observed"


class TaskFactory:
    """Task factory of an event loop that tells a request of the tasks created during it.

    Args:
        inner: The factory that was set before; None for the loop's own tasks.
    """

    def __init__(self, inner: Callable[..., Any] | None) -> None:
        self._inner = inner

    def __call__(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        """Create a task."""
        create = self._inner
        if create is None:
            task: Any = asyncio.Task(coroutine, loop=loop, **options)
        else:
            task = create(loop, coroutine, **options)
        context = options.get("context")
        request = CURRENT.get() if context is None else context.get(CURRENT)
        if request is not None:
            request.add_task(task)
        return task


def observe_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Let requests know of their tasks; a factory that is set already creates them; idempotent."""
    factory = loop.get_task_factory()
    if not isinstance(factory, TaskFactory):
        loop.set_task_factory(TaskFactory(factory))
