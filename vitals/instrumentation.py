"""``instrument(app)``: attaches all instrumentation to a FastAPI application."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI
from prometheus_client import REGISTRY, CollectorRegistry
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp

from vitals.asgi.hooks import wrap_outermost
from vitals.body.config import BodyLogging
from vitals.body.probe import BodyProbe
from vitals.cache.reporter import CacheReporter
from vitals.db.database_probe import DatabaseProbe
from vitals.db.dialect_hook import AnyEngine
from vitals.db.insight.bottlenecks_page import Admin
from vitals.db.insight.explain import Explain
from vitals.host import Host, Probe
from vitals.http.background import observe_background_tasks
from vitals.http.probe import HttpProbe
from vitals.logging.json_probe import JsonLogProbe
from vitals.logging.probe import LogProbe, Logs
from vitals.metrics import worker_discovery
from vitals.metrics.access import Access, Token
from vitals.metrics.endpoint import MetricsEndpoint
from vitals.metrics.meter import Meter
from vitals.metrics.worker_directory import join
from vitals.objectives import Objective, Objectives
from vitals.redaction.bodies import Redaction
from vitals.redactor import Redactor
from vitals.resource import (
    SERVICE_NAME,
    SERVICE_VERSION,
    resource_attributes,
    with_instance_id,
)
from vitals.runtime import RuntimeProbe, record_target
from vitals.tracing.probe import TracingProbe
from vitals.validation.config import Validation
from vitals.validation.probe import ValidationProbe

if TYPE_CHECKING:
    from vitals.tracing.setup import Tracing

DISPLACED = "/vitals/metrics"
"""Where the metrics are if the application has a route of their path."""

INSTRUMENTED = "vitals"
"""The attribute of ``app.state`` that holds an instrumented application's ``Vitals``."""


@dataclass(frozen=True)
class Vitals:
    """The instrumentation of one application.

    Attributes:
        meter: The application's metrics.
        objectives: Its service level objectives.
    """

    meter: Meter
    objectives: Objectives
    _traces: TracingProbe | None = None

    @property
    def tracing(self) -> "Tracing | None":
        """Its traces; None while nobody traces: neither an endpoint nor a provider is set."""
        return None if self._traces is None else self._traces.tracing

    def cache(self, name: str) -> CacheReporter:
        """A metrics reporter for one cache; the name becomes a label value, so it must be fixed."""
        return CacheReporter(self.meter, name, self._traces.spans if self._traces else None)


def instrument(
    app: FastAPI,
    *,
    engine: AnyEngine | Sequence[AnyEngine] | None = None,
    objectives: Sequence[Objective] = (),
    service_name: str | None = None,
    version: str = "",
    revision: str = "",
    metrics_path: str = "/metrics",
    metrics_token: Token = None,
    workers_dir: str | os.PathLike[str] | None = None,
    registry: CollectorRegistry = REGISTRY,
    exclude: Sequence[str] | None = None,
    long_polls: Sequence[str] | None = None,
    otlp_endpoint: str | None = None,
    trace_ratio: float | None = None,
    logs: Logs = "host",
    body_logging: BodyLogging | None = None,
    validation: Validation | None = None,
    redaction: Redaction | None = None,
    explain: Explain = True,
    sqlcommenter: bool = False,
    admin: Admin | None = None,
    probes: Sequence[Probe] = (),
) -> Vitals:
    """Instrument an application with metrics, logs and traces.

    Call it once, where the application is created, before it serves.

    Args:
        app: The application.
        engine: SQLAlchemy engines whose statements and pools are measured.
        objectives: Service level objectives; see ``vitals.objectives`` for the defaults.
        service_name: ``service.name`` in logs, traces and ``target_info``; by default that of
            ``OTEL_SERVICE_NAME`` or ``OTEL_RESOURCE_ATTRIBUTES``, else ``"api"``.
        version: Version for ``app_build_info`` and ``service.version``; when empty, that of
            ``OTEL_RESOURCE_ATTRIBUTES``, else the application's own.
        revision: Commit for ``app_build_info``.
        metrics_path: Path of the metrics endpoint, which is served before the application. If a
            route of the application serves it, the kit's metrics are at ``/vitals/metrics``,
            without those of ``registry``, which the application may serve behind a guard.
        metrics_token: Bearer token that scrapers must send; by default that of
            ``VITALS_METRICS_TOKEN``, or in the file ``VITALS_METRICS_TOKEN_FILE``; without any of
            them only clients on this machine are served. False serves everyone, which is safe only
            where nothing else can connect.
        workers_dir: Directory through which the workers of a server share their metrics. By
            default ``VITALS_WORKERS_DIR`` of the environment; without it they detect each other,
            see ``vitals.metrics.worker_discovery``. If empty, each worker exports only its own.
        registry: A prometheus_client registry whose metrics are exported too.
        exclude: Exact paths of health checks, which are neither measured nor traced; by default
            those with usual names, see ``vitals.asgi.health_checks``.
        long_polls: Route templates whose requests wait until there is something to answer, and so
            have no latency; by default those with usual names, see ``vitals.http.streams``.
        otlp_endpoint: Where to export traces, such as ``http://127.0.0.1:4318``; by default what
            OpenTelemetry's variables say, such as ``OTEL_EXPORTER_OTLP_ENDPOINT``. Without any of
            them, and without a tracer provider of the host, tracing is off; see docs/tracing.md.
        trace_ratio: Sampling ratio of traces without a parent (0 to 1); by default what
            ``OTEL_TRACES_SAMPLER`` says, else 0.1. A tracer provider of the host has its own.
        logs: ``"host"`` leaves logging as the application has set it up, and adds ``trace_id`` and
            ``http_route`` to its records; ``"json"`` writes JSON lines on standard output in place
            of what goes to the console. Both log requests that failed or were slow, slow queries
            and N+1 as records of ``vitals.*``. False adds nothing and logs none of these.
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
        probes: Further probes, each an object with ``attach(host)``; see ``vitals.host``.

    Returns:
        The application's ``Vitals``.

    Raises:
        RuntimeError: The application is instrumented already, or serves already.
        ValueError: An objective, the path, the token, the ratio, ``logs`` or ``explain`` is
            invalid. The route of an objective is checked when the application starts.
    """
    _check(app, metrics_path, trace_ratio)
    attributes = resource_attributes(service_name, version, app.version)
    service_name, version = attributes[SERVICE_NAME], attributes[SERVICE_VERSION]
    redactor = Redactor(redaction or (body_logging.redaction if body_logging is not None else None))
    host = Host(app, service_name=service_name, objectives=Objectives(objectives), exclude=exclude)
    host.long_polls = long_polls
    access = Access(metrics_token)
    endpoint = MetricsEndpoint(host.meter, access=access, registry=registry)
    own_only = MetricsEndpoint(host.meter, access=access, registry=None)
    host.serve(metrics_path, endpoint, others=[DISPLACED], displaced=own_only)
    observe_background_tasks()
    name = worker_discovery.application_id(f"{service_name}\n{app.title}")
    host.at_start(lambda: join(host.meter, name, workers_dir))

    def resource() -> dict[str, str]:
        return with_instance_id(attributes, worker_discovery.worker_directory(name, workers_dir))

    host.at_start(lambda: record_target(host.meter, resource()))
    traces = TracingProbe(resource, redactor, endpoint=otlp_endpoint, ratio=trace_ratio)
    engines = [engine] if isinstance(engine, AsyncEngine | Engine) else list(engine or ())
    attached: list[Probe | None] = [
        traces,
        RuntimeProbe(version, revision),
        LogProbe(logs) if logs is not False else None,
        JsonLogProbe(redactor) if logs == "json" else None,
        DatabaseProbe(engines, explain=explain, sqlcommenter=sqlcommenter, admin=admin),
        ValidationProbe(validation) if validation is not None else None,
        BodyProbe(body_logging) if body_logging is not None else None,
        *probes,
    ]
    for probe in attached:
        if probe is not None:
            probe.attach(host)
    host.build_lifespan()
    wrap_outermost(app, partial(_measure, host))
    vitals = Vitals(host.meter, host.objectives, traces)
    setattr(app.state, INSTRUMENTED, vitals)
    return vitals


def _check(app: FastAPI, metrics_path: str, trace_ratio: float | None) -> None:
    if hasattr(app.state, INSTRUMENTED):
        raise RuntimeError("this application is instrumented already: call instrument() once")
    if app.middleware_stack is not None:
        raise RuntimeError("this application serves already: call instrument() where it is created")
    if not metrics_path.startswith("/"):
        raise ValueError(f"metrics_path {metrics_path!r} must start with a slash")
    if trace_ratio is not None and not 0 <= trace_ratio <= 1:
        raise ValueError(f"trace_ratio {trace_ratio} must lie between 0 and 1")


def _measure(host: Host, app: ASGIApp) -> ASGIApp:
    """Wrap an application in the middleware of all probes; the HTTP probe is the outermost."""
    return HttpProbe(
        host.build_middleware(app),
        meter=host.meter,
        routes=host.routes,
        objectives=host.objectives,
        paths=host.paths,
        queries=host.queries,
        on_finished=host.finished,
        linked_span=host.linked_span,
        long_polls=host.long_polls,
    )
