"""``instrument(app)``: attaches every probe to a FastAPI application."""

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

from vitals.asgi.hooks import accompany, stand_outside
from vitals.asgi.route_template import RouteTemplates
from vitals.body.capture import Tee
from vitals.body.config import Bodies
from vitals.body.log import BodyLog
from vitals.cache_metrics import CacheReporter
from vitals.db.dialect_hook import AnyEngine
from vitals.db.insight.bottlenecks_page import PATH, Admin, BottleneckPage
from vitals.db.insight.explain import Explain
from vitals.db.pool import PoolProbe
from vitals.db.probe import QueryProbe
from vitals.db.sqlcommenter import Comments, add
from vitals.db.statements.query_log import QueryLog
from vitals.http.observed_request import Told
from vitals.http.probe import HttpProbe
from vitals.logging.fast_log import Lines
from vitals.logging.setup import RequestLog, configure
from vitals.metrics import worker_discovery
from vitals.metrics.endpoint import MetricsEndpoint
from vitals.metrics.meter import Meter
from vitals.metrics.workers import join
from vitals.objectives import Objective, Objectives
from vitals.redaction.bodies import Redaction
from vitals.redactor import Redactor
from vitals.runtime import LagProbe, ProcessProbe, Refresher, record_build
from vitals.tracing.setup import Tracing, traces_address
from vitals.validation.config import Guard
from vitals.validation.middleware import BodyGuard
from vitals.validation.problems import Refused, answer

INSTRUMENTED = "vitals"
"""The attribute of ``app.state`` that holds an instrumented application's ``Vitals``."""


@dataclass(frozen=True)
class Vitals:
    """What an instrumented application is measured by.

    Attributes:
        meter: The application's metrics.
        objectives: What it promises.
        tracing: Its traces; None where no endpoint is set.
    """

    meter: Meter
    objectives: Objectives
    tracing: Tracing | None

    def cache(self, name: str) -> CacheReporter:
        """A reporter for one cache; the name becomes a label value, so it is a fixed word."""
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
    bodies: Bodies | None = None,
    guard: Guard | None = None,
    redaction: Redaction | None = None,
    explain: Explain = True,
    comments: bool = False,
    admin: Admin | None = None,
) -> Vitals:
    """Make an application measure itself.

    Call it once, where the application is made, before it serves.

    Args:
        app: The application.
        engine: SQLAlchemy engines whose statements and pools are measured.
        objectives: What the service promises; see ``Objective`` for the defaults.
        service_name: ``service.name`` in logs and traces.
        version: What runs, for ``app_build_info``; the application's own when empty.
        revision: Which commit runs, for ``app_build_info``.
        metrics_path: Where the metrics page is; answered before the application is reached.
        metrics_token: What scrapers must send as a bearer token. None lets everybody read the
            page, which is right only where nobody else can connect.
        workers_dir: The folder through which the workers of a server show each other's figures.
            By default the environment's ``VITALS_WORKERS_DIR``, and without it they find each
            other, see ``vitals.metrics.worker_discovery``; empty lets each worker show its own.
        registry: The prometheus_client registry whose metrics join the page.
        exclude: Exact paths that are neither measured nor traced.
        otlp_endpoint: Where traces go, such as ``http://127.0.0.1:4318``; by default
            ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_ENDPOINT``; without any
            nothing is traced.
        trace_ratio: Share of traces kept where the caller has not decided (0 to 1).
        logs: Whether to send structlog's and the standard library's logs to standard output as
            JSON lines with trace ids.
        bodies: What is logged of bodies, redacted; None logs nothing of them.
        guard: What request bodies must keep to; None refuses nothing. Measuring alone changes
            no answer of an application.
        redaction: What is taken out of logs and spans; that of ``bodies`` when None, and without
            those the names and looks that are known.
        explain: Whether slow statements are explained (EXPLAIN, which executes nothing) on a
            connection of their own, at most one more than the engine's. ``"analyze"`` executes
            on PostgreSQL those again that are certain to change nothing, and shows actual rows and
            times; everything else is explained as ever.
        comments: Whether statements say who sends them, in a comment with the service's name and
            the route: a database's own lists then name them. A statement that many routes send
            is prepared once for each.
        admin: Who may read ``/vitals/bottlenecks``: a bearer token, or a function that is asked
            about each request and may be async. None leaves the page off.

    Returns:
        The application's ``Vitals``.

    Raises:
        RuntimeError: The application is instrumented already, or serves already.
        ValueError: An objective, the path, the ratio or ``explain`` makes no sense.
    """
    _check(app, metrics_path, trace_ratio, explain)
    promised = Objectives(objectives)
    meter = Meter()
    version = version or app.version
    redactor = Redactor(redaction or (bodies.redaction if bodies is not None else None))
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
        configure(service_name, refuse=meter.dropped, redactor=redactor)
    record_build(meter, version=version, revision=revision)
    engines = [engine] if isinstance(engine, AsyncEngine | Engine) else list(engine or ())
    ProcessProbe(meter)
    lag, refresher = LagProbe(meter), Refresher(meter)
    name = worker_discovery.application_id(f"{service_name}\n{app.title}")
    routes = RouteTemplates(app)
    page = MetricsEndpoint(meter, token=metrics_token, registry=registry)
    aside: dict[str, ASGIApp | None] = {**dict.fromkeys(exclude), metrics_path: page}
    finished: list[Told] = [RequestLog(promised)] if logs else []
    if engines:
        make_span = tracing.span if tracing else None
        log = QueryLog(routes) if logs else None
        queries = QueryProbe(meter, promised, make_span, log, explain=explain)
        said = Comments(service_name, routes, meter) if comments else None
        _watch_engines(meter, queries, engines, said)
        finished.append(queries.finish)
        if explain:
            accompany(app, queries.explainer.running)
        if admin is not None:
            waits = queries.explainer.waits if explain else None
            aside[PATH] = BottleneckPage(queries.ledger, queries.plans, meter, admin, waits)
    if bodies is not None:
        finished.append(BodyLog(bodies, promised, meter, Lines("vitals.body").info))
    if guard is not None:
        app.exception_handlers.setdefault(Refused, answer)

    def around(inner: ASGIApp) -> ASGIApp:
        # Called with the first connection, usually the lifespan's. Only now do we know that this
        # process serves: one that just imports the application, or forks workers, shares nothing.
        join(meter, name, workers_dir)
        refresher.start()
        if guard is not None:
            inner = BodyGuard(inner, guard, routes, meter)
        if bodies is not None:
            inner = Tee(inner, meter)
        return HttpProbe(
            inner,
            meter=meter,
            routes=routes,
            objectives=promised,
            aside=aside,
            queries=bool(engines),
            join_trace=tracing.join if tracing else None,
            finished=finished,
        )

    stand_outside(app, around)
    accompany(app, lambda: _measuring(lag, refresher, tracing))
    vitals = Vitals(meter, promised, tracing)
    setattr(app.state, INSTRUMENTED, vitals)
    return vitals


def _check(app: FastAPI, metrics_path: str, trace_ratio: float, explain: Explain) -> None:
    if hasattr(app.state, INSTRUMENTED):
        raise RuntimeError("this application is instrumented already: call instrument() once")
    if app.middleware_stack is not None:
        raise RuntimeError("this application serves already: call instrument() where it is made")
    if not metrics_path.startswith("/"):
        raise ValueError(f"metrics_path {metrics_path!r} must start with a slash")
    if not 0 <= trace_ratio <= 1:
        raise ValueError(f"trace_ratio {trace_ratio} must lie between 0 and 1")
    if explain not in {True, False, "analyze"}:
        raise ValueError(f"explain {explain!r} must be True, False or 'analyze'")


def _trace(app: FastAPI, endpoint: str | None, **options: Any) -> Tracing | None:
    address = traces_address(endpoint)
    return Tracing(app, address=address, **options) if address else None


def _watch_engines(
    meter: Meter, probe: QueryProbe, engines: Sequence[AnyEngine], comments: Comments | None
) -> None:
    names: dict[str, int] = {}
    for watched in engines:
        if comments is not None:
            add(watched, comments)  # first: the probe sees statements without
        probe.watch(watched)
        name = watched.url.database or watched.dialect.name
        name = name.rsplit("/", 1)[-1]
        names[name] = names.get(name, 0) + 1
        PoolProbe(meter, watched, name if names[name] == 1 else f"{name}-{names[name]}")


@asynccontextmanager
async def _measuring(
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
