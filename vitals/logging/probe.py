"""Probe of logs: the request's context on log records, and log events of requests."""

import sys
from dataclasses import dataclass
from functools import partial
from typing import Literal

from starlette.types import ASGIApp, Receive, Scope, Send

from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.host import Host
from vitals.log_events import OnDrop, enable
from vitals.logging import record_context
from vitals.logging.record_context import TRACE_ID, LoggedApp
from vitals.logging.request_log import RequestLog

Logs = Literal["host", "json", False]
"""``"host"``: through the host's logging as it is; ``"json"``: JSON lines on standard output;
False: nothing."""


@dataclass(frozen=True)
class LogProbe:
    """Adds the request's context to log records, and logs requests that failed or were slow.

    The host's logging stays as it is.

    Attributes:
        logs: ``"host"``, or ``"json"`` if JSON lines, which have that context, are written too.

    Raises:
        ValueError: ``logs`` is neither.
    """

    logs: Logs

    def __post_init__(self) -> None:
        if self.logs is True:  # type: ignore[comparison-overlap]
            raise ValueError(
                "logs=True no longer says how: write logs='json' for JSON lines on standard "
                "output, or leave it out (logs='host') to keep the application's own logging"
            )
        if self.logs not in {"host", "json"}:
            raise ValueError(f"logs {self.logs!r} must be 'host', 'json' or False")

    def attach(self, host: Host) -> None:
        """Attach to the application; the probes attached later write log events too."""
        on_drop = host.meter.dropped
        app = LoggedApp(host.app, host.routes, host.service_name)
        record_context.install()
        host.logs = True
        requests = RequestLog(host.objectives, on_drop, host.service_name)
        host.on_finished(requests)
        host.errors.on_work_failed = requests.write_failed_work
        if self.logs == "host":
            host.middleware(_bind_to_structlog)
        check = partial(_check, on_drop, app)
        host.at_start(check)
        host.meter.before_scrape(check)


def _check(on_drop: OnDrop, _app: LoggedApp) -> None:
    """Notice what the host has changed since, count it and mend it.

    The meter keeps this function, and with it what logs say of the application.
    """
    enable(on_drop)
    if record_context.reinstall():
        on_drop("log_record_factory")


def _bind_to_structlog(app: ASGIApp) -> ASGIApp:
    """Bind the trace id of each request, if the host's structlog merges context variables."""
    structlog = sys.modules.get("structlog")
    if structlog is None:
        return app
    contextvars = structlog.contextvars
    if contextvars.merge_contextvars not in structlog.get_config()["processors"]:
        return app

    def rebind(trace_id: str) -> None:
        if TRACE_ID in contextvars.get_contextvars():
            contextvars.bind_contextvars(**{TRACE_ID: trace_id})

    RequestContext.on_other_trace = staticmethod(rebind)

    async def bind(scope: Scope, receive: Receive, send: Send) -> None:
        request = CURRENT.get()
        if request is None:
            await app(scope, receive, send)
        else:
            with contextvars.bound_contextvars(**{TRACE_ID: request.trace_id()}):
                await app(scope, receive, send)

    return bind
