"""Paths of health checks by their usual names: load balancers ask them every few seconds."""

import re
from collections.abc import Iterable

USUAL = (
    "/healthz",
    "/health",
    "/livez",
    "/live",
    "/readyz",
    "/ready",
    "/ping",
    "/status",
    "/up",
    "/alive",
    "/heartbeat",
    "/healthcheck",
    "/health-check",
)
"""Exact paths that are health checks wherever they are served."""

_STATES = "(?:live|ready|startup)(?:z|ness)?|liveliness|healthy|started"
_CHECK = re.compile(
    # At the top of an API the short names are clear; below a resource they may be its own.
    r"(?:/api)?(?:/v[0-9]+)?/(?:-/|_)?"
    rf"(?:healthz?|ping|status|up|alive|heartbeat|__(?:lb)?heartbeat__|{_STATES})"
    rf"(?:/(?:{_STATES}|ping|status))?/?"
    r"|/(?:.*/)?_?(?:healthz|livez|readyz|health[-_]?checks?|liveness|readiness)/?"
)


def health_checks(routes: Iterable[str]) -> list[str]:
    """The routes that are health checks by their names.

    Args:
        routes: Route templates; one with a parameter is none.
    """
    return [route for route in routes if "{" not in route and _CHECK.fullmatch(route)]
