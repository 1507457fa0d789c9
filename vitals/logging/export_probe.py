"""Probe of the export of logs by OTLP; OpenTelemetry is imported only where they are exported."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from vitals.host import Host
from vitals.otlp.target import Target, TargetError, is_disabled, target_of

if TYPE_CHECKING:
    from vitals.logging.log_export import LogExport
    from vitals.redactor import Redactor

FLUSH_SECONDS = 1.5
"""How long the end of the service waits for the last records, whatever the collector does."""

_log = logging.getLogger(__name__)


class LogExportProbe:
    """Exports logs where an OTLP endpoint is set, unless the host exports them itself.

    Args:
        resource: Returns the attributes of the service; called in the process that serves.
        redactor: Makes what redacts every record.
        endpoint: Where to export to; None leaves it to the environment.

    Attributes:
        export: The export, once the application has started; None where nothing is exported.
    """

    def __init__(
        self,
        resource: Callable[[], Mapping[str, str]],
        redactor: "Callable[[], Redactor]",
        endpoint: str | None = None,
    ) -> None:
        self._resource = resource
        self._redactor = redactor
        self._target: Target | None = None
        self._problem = ""
        self.export: LogExport | None = None
        if not is_disabled("logs"):
            try:
                self._target = target_of("logs", endpoint)
            except TargetError as error:
                self._problem = str(error)

    def attach(self, host: Host) -> None:
        """Export from the start on, if this process serves."""
        if self._target is None and not self._problem:
            return
        host.describe(self._describe)
        if self._problem:
            host.at_start(lambda: _log.warning("logs are not exported: %s", self._problem))
        else:
            host.at_start(lambda: self._start(host))
            host.meter.before_scrape(self._check)
            host.lifespan(self._flush_at_end)

    def _start(self, host: Host) -> None:
        assert self._target is not None  # noqa: S101  # see `attach`
        try:
            from vitals.logging.log_export import join  # noqa: PLC0415  # optional

            self.export = join(
                host.service_name,
                self._resource,
                self._target,
                self._redactor(),
                host.meter.dropped,
            )
            self.export.check()
        except ImportError as error:
            self._problem = (
                f"{error.name or error} is not installed: pip install 'vitals-kit[otel]'"
            )
            _log.warning("logs are not exported: %s", self._problem)
        except Exception as error:  # noqa: BLE001  # of a package that does not fit: requests go on
            self._problem = f"the export does not start: {error}"
            _log.warning("logs are not exported: %s", self._problem)

    def _check(self) -> None:
        """Notice a handler of OpenTelemetry that the host has added or removed since."""
        export = self.export
        if export is not None:
            before = export.is_host_exporting
            if export.check() != before:
                _log.info("%s", self._describe())

    def _describe(self) -> str:
        if self.export is None or self._target is None:
            return f"logs not exported: {self._problem or 'this process does not serve yet'}"
        if self.export.is_host_exporting:
            return "logs not exported: the application does, by OpenTelemetry's LoggingHandler"
        return f"logs exported to {self._target.url.partition('?')[0]}"

    @asynccontextmanager
    async def _flush_at_end(self) -> AsyncIterator[None]:
        yield
        export = self.export
        if export is not None:
            with anyio.CancelScope(shield=True):
                # Not the shared threads: all of them may be busy with requests that hang.
                await anyio.to_thread.run_sync(
                    export.exporter.flush, FLUSH_SECONDS, limiter=anyio.CapacityLimiter(1)
                )
