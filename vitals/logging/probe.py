"""Probe of logs: JSON lines with trace ids, and log events of failed and slow requests."""

from dataclasses import dataclass

from vitals.host import Host
from vitals.logging.setup import RequestLog, configure
from vitals.redactor import Redactor


@dataclass(frozen=True)
class LogProbe:
    """Sets up logging, and logs requests that failed or were slow.

    Attributes:
        redactor: Redacts every line.
    """

    redactor: Redactor

    def attach(self, host: Host) -> None:
        """Set up logging; the probes attached later write log events too."""
        configure(host.service_name, on_drop=host.meter.dropped, redactor=self.redactor)
        host.logs = True
        host.on_finished(RequestLog(host.objectives))
