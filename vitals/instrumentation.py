"""``instrument(app)``: attaches all instrumentation to a FastAPI application."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from prometheus_client import REGISTRY, CollectorRegistry
from starlette.types import ASGIApp

from vitals.asgi.hooks import wrap_outermost
from vitals.cache.reporter import CacheReporter
from vitals.errors.own_frames import add_package
from vitals.extras import MissingExtraError, needs_extra
from vitals.host import Host, Probe
from vitals.http.background import observe_background_tasks
from vitals.http.exception_handlers import observe_handlers
from vitals.http.parts.hooks import observe_parts
from vitals.http.probe import HttpProbe
from vitals.interpreter import refuse_free_threading
from vitals.logging.export_probe import LogExportProbe
from vitals.logging.probe import LogProbe, Logs
from vitals.metrics import worker_discovery
from vitals.metrics.access import Access, Token
from vitals.metrics.endpoint import MetricsEndpoint
from vitals.metrics.meter import Meter
from vitals.metrics.worker_sharing import join
from vitals.objectives import Objective, Objectives
from vitals.profiling.probe import THRESHOLD, ProfilingProbe
from vitals.resource import (
    SERVICE_NAME,
    SERVICE_VERSION,
    resource_attributes,
    with_instance_id,
)
from vitals.runtime import RuntimeProbe, record_target
from vitals.saturation.disk import Folders
from vitals.saturation.probe import SaturationProbe
from vitals.tracing.environment import Tracer
from vitals.tracing.probe import TracingProbe
from vitals.watching import attach_watched

if TYPE_CHECKING:  # what needs an extra is imported where its option is used
    from vitals.body.config import BodyLogging
    from vitals.db.database_probe import DatabaseProbe
    from vitals.db.engine_selection import EngineSelection, WhichEngines
    from vitals.db.engines import AnyEngine
    from vitals.db.insight.explain import Explain
    from vitals.db.insight.page_login import Admin, AdminLogin
    from vitals.redaction.bodies import Redaction
    from vitals.redactor import Redactor
    from vitals.tracing.setup import Tracing
    from vitals.tracing.tail.setup import TailTracing
    from vitals.validation.config import Validation

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
    _database: Any = field(repr=False)
    _host: Host = field(repr=False)
    _traces: TracingProbe | None = None
    _log_export: LogExportProbe | None = None

    @property
    def tracing(self) -> Tracing | TailTracing | None:
        """Its traces; None while tracing is off: neither an endpoint nor a provider is set."""
        return None if self._traces is None else self._traces.tracing

    @property
    def log_export(self) -> logging.Handler | None:
        """The export of logs, for its level and filters; None unless the application exports."""
        return None if self._log_export is None else self._log_export.export

    def watch(self, engine: AnyEngine, *, name: str | None = None) -> None:
        """Measure the statements and the pool of an engine from now on.

        It may be called at any time and for an engine that is watched already: in a lifespan, or
        wherever an engine is made while the application serves. An engine that is gone takes
        nothing with it, and its pool's name is free again.

        Args:
            engine: The engine, synchronous or asynchronous, or a copy by ``execution_options``.
            name: Its name in the labels of pool metrics; it must be fixed. By default the
                ``pool_logging_name`` or ``logging_name`` that it was created with, else that of its
                database, with the server's address or a number if another engine has the same.

        Raises:
            TypeError: It is no engine of SQLAlchemy.
        """
        if self._database is None:
            raise MissingExtraError("watch() needs SQLAlchemy: pip install 'vitals-kit[sql]'")
        self._database.watch(engine, name)

    def cache(self, name: str) -> CacheReporter:
        """A metrics reporter for one cache; the name becomes a label value, so it must be fixed."""
        return CacheReporter(self.meter, name, self._traces.spans if self._traces else None)


def instrument(
    app: FastAPI,
    *,
    engine: WhichEngines | None = None,
    engines: WhichEngines | None = None,
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
    trace_tail: bool = True,
    tracer: Tracer = "vitals",
    logs: Logs = "host",
    body_logging: BodyLogging | None = None,
    validation: Validation | None = None,
    redaction: Redaction | None = None,
    explain: Explain = True,
    sqlcommenter: bool = False,
    admin: Admin | None = None,
    admin_login: AdminLogin | None = None,
    locks: bool = True,
    folders: Folders | None = None,
    block_threshold: float | None = THRESHOLD,
    memory_interval: float | None = None,
    time_parts: bool = True,
    profiles_endpoint: str | None = None,
    probes: Sequence[Probe] = (),
) -> Vitals:
    """Instrument an application with metrics, logs and traces.

    Call it once, where the application is created. It may also be called in the application's
    lifespan, then with each start: the middleware that exists is wrapped, without ``validation``.

    Args:
        app: The application.
        engine: SQLAlchemy engines whose statements and pools are measured: one or several, a
            mapping from names of their pools, or a function that returns them once they exist
            (called after start-up, and again until it returns some). ``"all"`` measures every
            engine of the process from its first connection on, wherever it is made, see
            ``vitals.db.discovery``. ``Vitals.watch`` adds further ones at any time.
        engines: The same, for several: ``engines=[main, reporting]``.
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
        otlp_endpoint: Where to export traces and logs, such as ``http://127.0.0.1:4318``; by
            default what OpenTelemetry's variables say, such as ``OTEL_EXPORTER_OTLP_ENDPOINT``.
            Without any of them no logs are exported, and without a tracer provider of the host
            tracing is off too; see docs/tracing.md and docs/logging.md.
        trace_ratio: Sampling ratio of traces without a parent (0 to 1); by default what
            ``OTEL_TRACES_SAMPLER`` says, else 0.1. A tracer provider of the host has its own.
        trace_tail: Whether the traces of all requests that failed, broke their objective, were N+1
            or had the first statement or error of its kind are kept besides.
        tracer: What makes the spans where the host has no OpenTelemetry: ``"vitals"``, the kit's
            own records, or ``"opentelemetry"``, its SDK and its instrumentation of FastAPI, which
            cost more and decide at the start of a request; see docs/tracing.md.
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
        locks: Whether one process of the service reads every five seconds who waits for whose lock
            on PostgreSQL, on a connection that is kept open.
        admin: Who may read ``/vitals/bottlenecks`` and ``/vitals/profile``: a bearer token, or a
            function that is called with each request and may be async. None disables the pages. A
            browser is asked for the token and keeps it for its session.
        admin_login: Where ``admin`` is a function: returns the bearer token of the user with a name
            and a password, None if they are wrong; called with the request, may be async. A browser
            is then asked for these instead.
        folders: Folders whose file systems are measured, by the name in their label, such as
            ``{"data": "/var/lib/shop"}``; by default those of ``VITALS_FOLDERS``
            (``NAME=PATH:NAME=PATH``). The service may watch the disk of a database on its machine.
        block_threshold: Seconds for which the event loop may not turn until the line that blocks it
            is looked for, in a thread; None never looks. See docs/profiling.md.
        memory_interval: Seconds between two readings of the process's memory. While it grows
            without end, the lines that do it are looked for with tracemalloc, for seconds; None
            leaves it to who asks, by ``vitals memory``. See docs/memory.md.
        time_parts: Whether it is measured what the time of a request is spent in: middleware,
            dependencies, queries, waits and so on. For that, functions of FastAPI, anyio and
            asyncio are replaced, see docs/requests.md.
        profiles_endpoint: Where profiles are pushed to by Pyroscope's API, such as
            ``http://127.0.0.1:4040``; by default ``PYROSCOPE_SERVER_ADDRESS``, else nowhere.
        probes: Further probes, each an object with ``attach(host)``; see ``vitals.host``.

    Returns:
        The application's ``Vitals``.

    Raises:
        RuntimeError: The application is instrumented already, or serves already; or this Python
            runs without the GIL.
        ValueError: An objective, the path, the token, the ratio, ``tracer``, ``logs``,
            ``explain`` or ``block_threshold`` is invalid. The route of an objective is checked when
            the application starts.
        TypeError: ``engine`` is none.
        MissingExtraError: An option needs a package of an extra that is not installed.
    """
    refuse_free_threading()
    database = _database_probe(
        engine,
        engines,
        explain=explain,
        sqlcommenter=sqlcommenter,
        admin=admin,
        admin_login=admin_login,
        locks=locks,
    )
    known: Vitals | None = getattr(app.state, INSTRUMENTED, None)
    if known is not None and known._host.late and _is_running():  # noqa: SLF001  # of this module
        if known._database is not None:  # noqa: SLF001
            known._database.add(_selection(engine, engines))  # noqa: SLF001
        known._host.start_late()  # noqa: SLF001
        return known
    _check(app, metrics_path, trace_ratio, validation)
    if tracer not in {"vitals", "opentelemetry"}:
        raise ValueError(f"tracer {tracer!r} must be 'vitals' or 'opentelemetry'")
    attributes = resource_attributes(service_name, version, app.version)
    service_name, version = attributes[SERVICE_NAME], attributes[SERVICE_VERSION]
    redactor = functools.cache(partial(_make_redactor, redaction, body_logging))
    add_package(sys._getframe(1).f_globals.get("__name__", ""))  # noqa: SLF001  # the application's
    host = Host(app, service_name=service_name, objectives=Objectives(objectives), exclude=exclude)
    host.long_polls = long_polls
    access = Access(metrics_token)
    endpoint = MetricsEndpoint(host.meter, access=access, registry=registry)
    own_only = MetricsEndpoint(host.meter, access=access, registry=None)
    host.serve(metrics_path, endpoint, others=[DISPLACED], displaced=own_only)
    observe_background_tasks()
    host.time_parts = time_parts
    if time_parts:
        observe_parts(app)
    name = worker_discovery.application_id(f"{service_name}\n{app.title}")
    host.at_start(lambda: join(host.meter, name, workers_dir))

    def resource() -> dict[str, str]:
        shared = next(iter(worker_discovery.worker_directories(name, workers_dir)), None)
        return with_instance_id(attributes, shared)

    host.at_start(lambda: record_target(host.meter, resource()))
    if otlp_endpoint:
        with needs_extra("otel", "otlp_endpoint="):
            # Fails now rather than at the start.
            from opentelemetry.proto.trace.v1 import trace_pb2  # noqa: F401
    traces = TracingProbe(
        resource,
        redactor,
        endpoint=otlp_endpoint,
        ratio=trace_ratio,
        tracer=tracer,
        keeps_bad=trace_tail,
    )
    log_export = LogExportProbe(resource, redactor, otlp_endpoint) if logs is not False else None
    attached: list[Probe | None] = [
        traces,
        RuntimeProbe(version, revision),
        SaturationProbe(folders),
        ProfilingProbe(
            block_threshold, admin, admin_login, profiles_endpoint, resource, memory_interval
        )
        if block_threshold is not None
        else None,
        LogProbe(logs) if logs is not False else None,
        _json_probe(redactor) if logs == "json" else None,
        log_export,
        database,
        _validation_probe(validation) if validation is not None else None,
        _body_probe(body_logging) if body_logging is not None else None,
        *probes,
    ]
    for probe in attached:
        if probe is not None:
            probe.attach(host)
    attach_watched(host)
    host.build_lifespan()
    wrap_outermost(app, partial(_measure, host))
    if host.late:
        app.middleware_stack = app.middleware_stack  # which wraps it
    vitals = Vitals(host.meter, host.objectives, database, host, traces, log_export)
    setattr(app.state, INSTRUMENTED, vitals)
    return vitals


def _check(
    app: FastAPI, metrics_path: str, trace_ratio: float | None, validation: Validation | None
) -> None:
    if hasattr(app.state, INSTRUMENTED):
        raise RuntimeError("this application is instrumented already: call instrument() once")
    if app.middleware_stack is not None:
        if not _is_running():
            raise RuntimeError(
                "this application serves already: call instrument() where it is created; an engine "
                "that is made later is added by vitals.watch(engine)"
            )
        if validation is not None:
            raise RuntimeError(
                "validation needs instrument() where the application is created, not in its "
                "lifespan; the lifespan's engine is added by vitals.watch(engine)"
            )
    if not metrics_path.startswith("/"):
        raise ValueError(f"metrics_path {metrics_path!r} must start with a slash")
    if trace_ratio is not None and not 0 <= trace_ratio <= 1:
        raise ValueError(f"trace_ratio {trace_ratio} must lie between 0 and 1")


def _make_redactor(redaction: Redaction | None, body_logging: BodyLogging | None) -> Redactor:
    from vitals.redactor import Redactor

    return Redactor(redaction or (body_logging.redaction if body_logging is not None else None))


def _json_probe(redactor: Callable[[], Redactor]) -> Probe:
    with needs_extra("logs", 'logs="json"'):
        from vitals.logging.json_probe import JsonLogProbe

        return JsonLogProbe(redactor())


def _selection(*which: WhichEngines | None) -> EngineSelection:
    from vitals.db.engine_selection import EngineSelection

    return EngineSelection.of(*which)


def _database_probe(
    *which: WhichEngines | None,
    explain: Explain,
    sqlcommenter: bool,
    admin: Admin | None,
    admin_login: AdminLogin | None,
    locks: bool,
) -> DatabaseProbe | None:
    try:
        with needs_extra("sql", "engine="):
            from vitals.db.database_probe import DatabaseProbe
    except MissingExtraError:
        if any(each is not None for each in which):
            raise
        return None
    selection = _selection(*which)
    return DatabaseProbe(
        selection,
        explain=explain,
        sqlcommenter=sqlcommenter,
        admin=admin,
        admin_login=admin_login,
        locks=locks,
    )


def _validation_probe(validation: Validation) -> Probe:
    with needs_extra("bodies", "validation="):
        from vitals.validation.probe import ValidationProbe
    return ValidationProbe(validation)


def _body_probe(body_logging: BodyLogging) -> Probe:
    with needs_extra("bodies", "body_logging="):
        from vitals.body.probe import BodyProbe
    return BodyProbe(body_logging)


def _is_running() -> bool:
    """Whether an event loop runs, as in a lifespan."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _measure(host: Host, app: ASGIApp) -> ASGIApp:
    """Wrap an application in the middleware of all probes; the HTTP probe is the outermost."""
    observe_handlers(app)
    probe = HttpProbe(
        host.build_middleware(app),
        meter=host.meter,
        routes=host.routes,
        objectives=host.objectives,
        paths=host.paths,
        on_finished=host.finished,
        linked_span=host.linked_span,
        long_polls=host.long_polls,
        errors=host.errors,
        time_parts=host.time_parts,
        activity=host.activity,
    )
    host.record_cut = probe.record_cut
    return probe
