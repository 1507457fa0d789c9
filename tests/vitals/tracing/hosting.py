"""Services whose hosts set up OpenTelemetry in some way; prints a line of JSON for each.

``python hosting.py "SCENARIO | VARIABLE=VALUE" ...``. Each runs in a process of its own: the
global provider is set only once. They are forked, because importing takes longest.
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import fastapi
import httpx
from asgi_lifespan import LifespanManager
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.types import ASGIApp, Receive, Scope, Send

from vitals import Host, Objective, Vitals, instrument
from vitals.asgi.request_context import CURRENT
from vitals.metrics.catalogue import DB_OPERATION_DURATION, HTTP_REQUEST_DURATION
from vitals.testing import Readings

SLOW = 0.006
"""Seconds of the query: only calls of at least 5 ms become exemplars."""

host_spans = InMemorySpanExporter()
host_metrics = InMemoryMetricReader()
named: list[tuple[str, str]] = []
"""What was said, and the trace that the log line would name."""


@cache
def provider() -> TracerProvider:
    """The host's, which keeps its spans in memory."""
    made = TracerProvider()
    if os.environ["SCENARIO"] != "global and not exported":
        made.add_span_processor(SimpleSpanProcessor(host_spans))
    return made


class Closure:
    """A user's probe whose middleware hides the application inside."""

    def attach(self, host: Host) -> None:
        def wrap(app: ASGIApp) -> ASGIApp:
            async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
                say("probe")
                await app(scope, receive, send)

            return middleware

        host.middleware(wrap)


def say(what: str) -> None:
    request = CURRENT.get()
    if request is not None and "silence" not in os.environ["SCENARIO"]:
        named.append((what, request.trace_id()))


def add_nap(connection: Any, _record: Any) -> None:
    """Give SQLite a function that takes its time."""

    def nap(seconds: float) -> int:
        time.sleep(seconds)
        return 1

    connection.run_async(lambda driver: driver.create_function("nap", 1, nap))


def make(
    setup: Callable[[fastapi.FastAPI], None] = lambda _app: None, **options: Any
) -> fastapi.FastAPI:
    """A service with one endpoint that sends a query and makes a span of its own."""
    engine = create_async_engine("sqlite+aiosqlite://")

    event.listen(engine.sync_engine, "connect", add_nap)

    @asynccontextmanager
    async def lifespan(_app: fastapi.FastAPI) -> AsyncIterator[None]:
        if "in lifespan" in os.environ["SCENARIO"]:
            trace.set_tracer_provider(provider())
        yield

    app = fastapi.FastAPI(lifespan=lifespan, **options)

    @app.middleware("http")
    async def said(request: fastapi.Request, call_next: Any) -> Any:
        say("middleware")
        response = await call_next(request)
        say("middleware, after")
        return response

    @app.exception_handler(KeyError)
    async def handled(_request: fastapi.Request, _error: KeyError) -> fastapi.Response:
        say("exception handler")
        return fastapi.Response(status_code=418)

    @app.get("/x/{number}")
    async def x(number: int, tasks: fastapi.BackgroundTasks) -> int:
        say("endpoint")
        tasks.add_task(say, "background task")
        with trace.get_tracer("mine").start_as_current_span("work"):
            pass
        async with engine.connect() as connection:
            await connection.execute(text(f"SELECT nap({SLOW})"))
        if number == 0:
            raise KeyError
        return number

    mounted = fastapi.FastAPI()
    mounted.get("/b")(lambda: 1)
    app.mount("/mounted", mounted)

    def kit() -> Vitals:
        slow = [Objective("queries", ratio=0.9, within=1)]
        probes = [Closure()] if "closure" in os.environ["SCENARIO"] else []
        return instrument(app, engine=engine, logs=False, objectives=slow, probes=probes)

    steps = [lambda _: kit(), setup]
    for step in reversed(steps) if "before" in os.environ["SCENARIO"] else steps:
        step(app)
    return app


def around() -> tuple[ASGIApp, fastapi.FastAPI]:
    app = make()
    return OpenTelemetryMiddleware(app, tracer_provider=provider()), app


def parent() -> tuple[ASGIApp, fastapi.FastAPI]:
    app, outer = make(), fastapi.FastAPI()
    outer.mount("/sub", app)
    FastAPIInstrumentor.instrument_app(outer, tracer_provider=provider())
    return outer, app


def instrumentor() -> fastapi.FastAPI:
    FastAPIInstrumentor().instrument()
    return make()


def instrument_app(app: fastapi.FastAPI) -> None:
    given = provider() if os.environ["SCENARIO"].startswith("given") else None
    FastAPIInstrumentor.instrument_app(app, tracer_provider=given)


SCENARIOS: dict[str, Callable[[], Any]] = {
    "global": make,
    "global and not exported": make,
    "in lifespan": make,
    "no provider": make,
    "no provider but metrics": make,
    "no provider, instrumented before": lambda: make(instrument_app),
    "no provider, instrumented after": lambda: make(instrument_app),
    "late": make,
    "global and instrumented before": lambda: make(instrument_app),
    "global and instrumented after": lambda: make(instrument_app),
    "global and instrumented in silence": lambda: make(instrument_app),
    "global and instrumented after with closure": lambda: make(instrument_app),
    "instrumented before and in lifespan": lambda: make(instrument_app),
    "instrumented after and in lifespan": lambda: make(instrument_app),
    "given to the instrumentor before": lambda: make(instrument_app),
    "given to the instrumentor after": lambda: make(instrument_app),
    "given to FastAPI": lambda: make(telemetry={"tracer_provider": provider()}),
    "given around": around,
    "given to a parent": parent,
    "global instrumentor": instrumentor,
    "global and middleware": lambda: make(lambda app: app.add_middleware(OpenTelemetryMiddleware)),
}


def build(scenario: str) -> tuple[Any, fastapi.FastAPI]:
    """The application to serve, and the one that is instrumented."""
    if scenario.endswith("metrics"):
        metrics.set_meter_provider(MeterProvider([host_metrics]))
    if scenario.startswith("global"):
        trace.set_tracer_provider(provider())
    made = SCENARIOS[scenario]()
    return made if isinstance(made, tuple) else (made, made)


async def main(scenario: str) -> None:
    serving, app = build(scenario)
    prefix = "/sub" if serving is not app and isinstance(serving, fastapi.FastAPI) else ""
    async with LifespanManager(app if prefix else serving):
        transport = httpx.ASGITransport(serving, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            if scenario.startswith("late"):
                await client.get("/x/1")
                trace.set_tracer_provider(provider())
                app.state.vitals.meter.refresh()
                named.clear()
            for number in (1, 0):
                await client.get(f"{prefix}/x/{number}")
            if scenario.startswith("no provider"):
                await client.get("/mounted/b")
            await client.get(f"{prefix}/metrics")
            await client.get(f"{prefix}/healthz")
    exemplars = {
        metric.name: sorted(
            sample.exemplar.labels["trace_id"]
            for sample in Readings.of(app).samples
            if sample.exemplar and sample.name.startswith(metric.name)
        )
        for metric in (HTTP_REQUEST_DURATION, DB_OPERATION_DURATION)
    }
    spans = [
        {
            "name": span.name,
            "kind": span.kind.name,
            "trace": f"{span.context.trace_id:032x}",
            "span": span.context.span_id,
            "parent": span.parent.span_id if span.parent else None,
            "scope": span.instrumentation_scope.name if span.instrumentation_scope else "",
            "attributes": dict(span.attributes or {}),
        }
        for span in host_spans.get_finished_spans()
        if span.context is not None
    ]
    result = {"spans": spans, "exemplars": exemplars, "named": named, "metrics": metric_names()}
    print(json.dumps(result))  # noqa: T201


def metric_names() -> list[str]:
    """The metrics that FastAPI's own telemetry has given to the host's provider."""
    data = host_metrics.get_metrics_data() if os.environ["SCENARIO"].endswith("metrics") else None
    return [
        metric.name
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def run(scenario: str) -> None:
    """Run a scenario in a process of its own."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    name, *variables = scenario.split(" | ")
    os.environ.update(SCENARIO=name, **dict(each.split("=", 1) for each in variables))
    try:
        asyncio.run(main(name))
    except BaseException:
        logging.getLogger(__name__).exception(name)
        print("null")  # noqa: T201
    finally:
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    for scenario in sys.argv[1:]:
        run(scenario)
