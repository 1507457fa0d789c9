"""Probe of bodies: captures and logs them."""

from dataclasses import dataclass

from vitals.body.capture import BodyCaptureMiddleware
from vitals.body.config import BodyLogging
from vitals.body.log import BodyLog
from vitals.host import Host


@dataclass(frozen=True)
class BodyProbe:
    """Logs bodies of requests and responses.

    Attributes:
        config: Which requests are logged, and what of them.
    """

    config: BodyLogging

    def attach(self, host: Host) -> None:
        """Capture bodies, and log them when their request has finished."""
        host.on_finished(BodyLog(self.config, host.objectives, host.meter, host.service_name))
        host.middleware(lambda app: BodyCaptureMiddleware(app, host.meter))
