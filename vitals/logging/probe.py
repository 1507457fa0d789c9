"""Probe of logs: request context on log records, log events of requests, JSON lines on request."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from vitals.host import Host
from vitals.log_events import OnDrop, enable
from vitals.logging import record_context, setup
from vitals.logging.record_context import LoggedApp
from vitals.logging.request_log import RequestLog
from vitals.redactor import Redactor

Logs = Literal["host", "json", False]
"""``"host"``: through the host's logging as it is; ``"json"``: JSON lines on standard output;
False: nothing."""


@dataclass(frozen=True)
class LogProbe:
    """Adds the request's context to log records, and logs requests that failed or were slow.

    Attributes:
        logs: ``"host"`` or ``"json"``.
        redactor: Redacts every JSON line.

    Raises:
        ValueError: ``logs`` is neither.
    """

    logs: Logs
    redactor: Redactor

    def __post_init__(self) -> None:
        if self.logs is True:  # type: ignore[comparison-overlap]
            raise ValueError(
                "logs=True no longer says how: write logs='json' for JSON lines on standard "
                "output, or leave it out (logs='host') to keep the application's own logging"
            )
        if self.logs not in {"host", "json"}:
            raise ValueError(f"logs {self.logs!r} must be 'host', 'json' or False")

    def attach(self, host: Host) -> None:
        """Set up logging; the probes attached later write log events too."""
        on_drop = host.meter.dropped
        host.logs = True
        host.on_finished(RequestLog(host.objectives, on_drop))
        app = LoggedApp(host.app, host.routes, host.service_name)
        record_context.install()
        if self.logs == "json":
            setup.join(host.service_name, on_drop, self.redactor)
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
    setup.check()
