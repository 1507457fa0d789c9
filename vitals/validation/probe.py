"""Probe that refuses invalid request bodies."""

from dataclasses import dataclass

from vitals.host import Host
from vitals.validation.config import Validation
from vitals.validation.middleware import BodyValidationMiddleware
from vitals.validation.problems import BodyRefused, handle_refused


@dataclass(frozen=True)
class ValidationProbe:
    """Validates request bodies before the application reads them.

    Attributes:
        config: Limits of request bodies.
    """

    config: Validation

    def attach(self, host: Host) -> None:
        """Add the middleware, and a handler for what it refuses unless the host has one."""
        host.app.exception_handlers.setdefault(BodyRefused, handle_refused)
        host.middleware(
            lambda app: BodyValidationMiddleware(app, self.config, host.routes, host.meter)
        )
