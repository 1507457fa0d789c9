"""Probe of JSON lines: writes them in place of what the host writes to the console."""

from dataclasses import dataclass

from vitals.host import Host
from vitals.logging import setup
from vitals.redactor import Redactor


@dataclass(frozen=True)
class JsonLogProbe:
    """Writes JSON lines on standard output; see ``vitals.logging.setup``.

    Attributes:
        redactor: Redacts every line.
    """

    redactor: Redactor

    def attach(self, host: Host) -> None:
        """Take over the console now, and again whenever the host sets it up anew."""
        setup.join(host.service_name, host.meter.dropped, self.redactor)
        host.at_start(setup.check)
        host.meter.before_scrape(setup.check)
        host.lifespan(setup.serving)
