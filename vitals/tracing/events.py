"""Adds events to the server span of a request, from whichever thread."""

from collections.abc import Mapping
from typing import Any

from vitals.asgi.request_context import CURRENT, RequestContext


def add_event(
    name: str, attributes: Mapping[str, Any], request: RequestContext | None = None
) -> bool:
    """Add an event to the server span of a request that has not ended; thread-safe, never raises.

    Args:
        name: Its name, a few fixed words.
        attributes: Its attributes, which do not change any more.
        request: The request; None for the current one, which only its own tasks and threads have.

    Returns:
        Whether there was a span to add it to; whether that is kept is decided later.
    """
    request = CURRENT.get() if request is None else request
    if request is None or request.duration:
        return False
    try:
        if request.trace is not None:
            request.trace.add_event(name, attributes)
        elif request.span is not None:
            request.span.add_event(name, dict(attributes))
        else:
            return False
    except Exception:  # noqa: BLE001  # of the host's tracer
        return False
    return True
