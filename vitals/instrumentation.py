"""``instrument(app)``: attaches all instrumentation to a FastAPI application."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
from fastapi import FastAPI
from prometheus_client import REGISTRY, CollectorRegistry
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp

from vitals.asgi.hooks import add_lifespan, wrap_outermost
from vitals.asgi.route_template import RouteTemplates
from vitals.body.capture import BodyCaptureMiddleware
from vitals.body.config import BodyLogging
from vitals.body.log import BodyLog
from vitals.cache_metrics import CacheReporter
from vitals.db.dialect_hook import AnyEngine
from vitals.db.insight.bottlenecks_page import PATH, Admin, BottleneckPage
from vitals.db.insight.explain import Explain
from vitals.db.pool import PoolProbe
from vitals.db.probe import QueryProbe
from vitals.db.sqlcommenter import SqlCommenter, add_comments
from vitals.db.statements.query_log import QueryLog
from vitals.http.observed_request import OnFinished
from vitals.http.probe import HttpProbe
from vitals.logging.fast_log import FastLogger
from vitals.logging.setup import RequestLog, configure
from vitals.metrics import worker_discovery
from vitals.metrics.endpoint import MetricsEndpoint
from vitals.metrics.meter import Meter
from vitals.metrics.worker_directory import join
from vitals.objectives import Objective, Objectives
from vitals.redaction.bodies import Redaction
from vitals.redactor import Redactor
from vitals.runtime import LagProbe, ProcessProbe, Refresher, record_build
from vitals.tracing.setup import Tracing, traces_endpoint
from vitals.validation.config import Validation
from vitals.validation.middleware import BodyValidationMiddleware
from vitals.validation.problems import BodyRefused, handle_refused

INSTRUMENTED = "vitals"
"""The attribute of ``app.state`` that holds an instrumented application's ``Vitals``."""


@dataclass(frozen=True)
class Vitals:
    """The instrumentation of one application.

    Attributes:
        meter: The application's metrics.
        objectives: Its service level objectives.
        tracing: Its tracing; None without an endpoint.
    """

    meter: Meter
    objectives: Objectives
    tracing: Tracing | None

    def cache(self, name: str) -> CacheReporter:
        """A metrics reporter for one cache; the name becomes a label value, so it must be fixed."""
        return CacheReporter(self.meter, name, self.tracing.span if self.tracing else None)


def instrument(
    app: FastAPI,
    *,
    engine: AnyEngine | Sequence[AnyEngine] | None = None,
    objectives: Sequence[Objective] = (),
    service_name: str = "api",
    version: str = "",
    revision: str = "",
    metrics_path: str = "/metrics",
    metrics_token: str | None = None,
    workers_dir: str | os.PathLike[str] | None = None,
    registry: CollectorRegistry = REGISTRY,
    exclude: Sequence[str] = ("/healthz", "/readyz"),
    otlp_endpoint: str | None = None,
    trace_ratio: float = 0.1,
    logs: bool = True,
    body_logging: BodyLogging | None = None,
    validation: Validation | None = None,
    redaction: Redaction | None = None,
    explain: Explain = True,
    sqlcommenter: bool = False,
    admin: Admin | None = None,
) -> Vitals:
    """Instrument an application with metrics, logs and traces.

    Call it once, where the application is created, before it serves.

    Args:
        app: The application.
        engine: SQLAlchemy engines whose statements and pools are measured.
        objectives: Service level objectives; see ``vitals.objectives`` for the defaults.
        service_name: ``service.name`` in logs and traces.
        version: Version for ``app_build_info``; the application's own when empty.
        revision: Commit for ``app_build_info``.
        metrics_path: Path of the metrics endpoint, which is served before the application.
        metrics_token: Bearer token that scrapers must send. None serves everyone, which is safe
            only where nothing else can connect.
        workers_dir: Directory through which the workers of a server share their metrics. By
            default ``VITALS_WORKERS_DIR`` of the environment; without it they detect each other,
            see ``vitals.metrics.worker_discovery``. If empty, each worker exports only its own.
        registry: A prometheus_client registry whose metrics are exported too.
        exclude: Exact paths that are neither measured nor traced.
        otlp_endpoint: Where to export traces, such as ``http://127.0.0.1:4318``; by default
            ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_ENDPOINT``; without any
            of them tracing is off.
        trace_ratio: Sampling ratio of traces without a parent (0 to 1).
        logs: Whether to send structlog's and the standard library's logs to standard output as
            JSON lines with trace ids.
        body_logging: Options of the body log; None disables it.
        validation: Limits of request bodies; None disables validation, so that instrumentation
            alone changes no response.
        redaction: What is redacted in logs and spans; by default that of ``body_logging``, else
            the built-in sensitive field names and secret patterns.
        explain: Whether slow statements are explained (plain EXPLAIN, which executes nothing), on
            a dedicated connection, at most one per engine. On PostgreSQL, ``"analyze"`` executes
            those again that are certain to have no side effects, for actual rows and times.
        sqlcommenter: Whether statements carry a sqlcommenter comment with the service's name and
            the route, which a database's own statistics then show. A statement that many routes
            send is prepared once for each.
        admin: Who may read ``/vitals/bottlenecks``: a bearer token, or a function that is called
            with each request and may be async. None disables the page.

    Returns:
        The application's ``Vitals``.

    Raises:
        RuntimeError: The application is instrumented already, or serves already.
        ValueError: An objective, the path, the ratio or ``explain`` is invalid.
    """
    _check(app, metrics_path, trace_ratio, explain)
    slos = Objectives(objectives)
    meter = Meter()
    version = version or app.version
    redactor = Redactor(redaction or (body_logging.redaction if body_logging is not None else None))
    tracing = _trace(
        app,
        otlp_endpoint,
        service_name=service_name,
        version=version,
        ratio=trace_ratio,
        exclude=exclude,
        redactor=redactor,
    )
    if logs:
        configure(service_name, on_drop=meter.dropped, redactor=redactor)
    record_build(meter, version=version, revision=revision)
    engines = [engine] if isinstance(engine, AsyncEngine | Engine) else list(engine or ())
    ProcessProbe(meter)
    lag, refresher = LagProbe(meter), Refresher(meter)
    name = worker_discovery.application_id(f"{service_name}\n{app.title}")
    routes = RouteTemplates(app)
    endpoint = MetricsEndpoint(meter, token=metrics_token, registry=registry)
    unmeasured: dict[str, ASGIApp | None] = {**dict.fromkeys(exclude), metrics_path: endpoint}
    on_finished: list[OnFinished] = [RequestLog(slos)] if logs else []
    if engines:
        make_span = tracing.span if tracing else None
        log = QueryLog(routes) if logs else None
        queries = QueryProbe(meter, slos, make_span, log, explain=explain)
        sql_comments = SqlCommenter(service_name, routes, meter) if sqlcommenter else None
        _instrument_engines(meter, queries, engines, sql_comments)
        on_finished.append(queries.finish)
        if explain:
            add_lifespan(app, queries.explain_worker.running)
        if admin is not None:
            waits = queries.explain_worker.lock_sampler if explain else None
            unmeasured[PATH] = BottleneckPage(
                queries.statement_stats, queries.plans, meter, admin, waits
            )
    if body_logging is not None:
        on_finished.append(BodyLog(body_logging, slos, meter, FastLogger("vitals.body").info))
    if validation is not None:
        app.exception_handlers.setdefault(BodyRefused, handle_refused)

    def wrap(inner: ASGIApp) -> ASGIApp:
        # Called with the first connection, usually the lifespan's: only now is it certain that this
        # process serves. One that only imports the application, or forks workers, shares nothing.
        join(meter, name, workers_dir)
        refresher.start()
        if validation is not None:
            inner = BodyValidationMiddleware(inner, validation, routes, meter)
        if body_logging is not None:
            inner = BodyCaptureMiddleware(inner, meter)
        return HttpProbe(
            inner,
            meter=meter,
            routes=routes,
            objectives=slos,
            unmeasured=unmeasured,
            queries=bool(engines),
            join_trace=tracing.join if tracing else None,
            on_finished=on_finished,
        )

    wrap_outermost(app, wrap)
    add_lifespan(app, lambda: _background_tasks(lag, refresher, tracing))
    vitals = Vitals(meter, slos, tracing)
    setattr(app.state, INSTRUMENTED, vitals)
    return vitals


def _check(app: FastAPI, metrics_path: str, trace_ratio: float, explain: Explain) -> None:
    if hasattr(app.state, INSTRUMENTED):
        raise RuntimeError("this application is instrumented already: call instrument() once")
    if app.middleware_stack is not None:
        raise RuntimeError("this application serves already: call instrument() where it is created")
    if not metrics_path.startswith("/"):
        raise ValueError(f"metrics_path {metrics_path!r} must start with a slash")
    if not 0 <= trace_ratio <= 1:
        raise ValueError(f"trace_ratio {trace_ratio} must lie between 0 and 1")
    if explain not in {True, False, "analyze"}:
        raise ValueError(f"explain {explain!r} must be True, False or 'analyze'")


def _trace(app: FastAPI, endpoint: str | None, **options: Any) -> Tracing | None:
    address = traces_endpoint(endpoint)
    return Tracing(app, address=address, **options) if address else None


def _instrument_engines(
    meter: Meter, probe: QueryProbe, engines: Sequence[AnyEngine], sqlcommenter: SqlCommenter | None
) -> None:
    names: dict[str, int] = {}
    for each in engines:
        if sqlcommenter is not None:
            add_comments(each, sqlcommenter)  # first: the probe sees statements without
        probe.instrument(each)
        name = each.url.database or each.dialect.name
        name = name.rsplit("/", 1)[-1]
        names[name] = names.get(name, 0) + 1
        PoolProbe(meter, each, name if names[name] == 1 else f"{name}-{names[name]}")


@asynccontextmanager
async def _background_tasks(
    lag: LagProbe, refresher: Refresher, tracing: Tracing | None
) -> AsyncIterator[None]:
    lag.start()
    try:
        yield
    finally:
        lag.stop()
        refresher.stop()
        if tracing is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(tracing.shut_down)
