"""Exceptions as events of spans: captured where raised, formatted in the exporter's thread.

No frame is kept: an exception that waits in a queue would keep alive what its frames refer to.
"""

from collections.abc import Callable, Mapping
from time import time_ns
from traceback import TracebackException
from types import TracebackType
from typing import Any

from vitals.asgi.request_context import error_type_of
from vitals.asgi.trace_record import Event

EVENT = "exception"
FINGERPRINT = "vitals.error.fingerprint"
MAX_LENGTH = 16_384
"""Characters of a stack trace; in a longer one the middle is left out."""
MAX_FRAMES = 50
"""Frames of each exception, the innermost ones."""


def exception_event(
    error: BaseException, fingerprint: str, traceback: TracebackType | None = None
) -> Event:
    """The event of an exception, by OpenTelemetry's conventions.

    Args:
        error: The exception.
        fingerprint: What it has in common with others of its kind; empty for none.
        traceback: Its traceback; None for the one that it has.
    """
    traceback = traceback or error.__traceback__
    try:
        captured = TracebackException(
            type(error), error, traceback, limit=-MAX_FRAMES, lookup_lines=False
        )
    except Exception:  # noqa: BLE001  # of the host's class, such as a `__str__` that fails
        captured = None
    return Event(time_ns(), EVENT, _attributes(type_name(error), captured, fingerprint))


def type_name(error: BaseException) -> str:
    """``exception.type``: the class with its module."""
    kind, name = type(error), error_type_of(error)
    if kind.__qualname__ != name or kind.__module__ == "builtins":
        return name
    return f"{kind.__module__}.{name}"


def _attributes(
    name: str, captured: TracebackException | None, fingerprint: str
) -> Callable[[], Mapping[str, Any]]:
    def make() -> Mapping[str, Any]:
        found = {"exception.type": name}
        if fingerprint:
            found[FINGERPRINT] = fingerprint
        if captured is not None:
            found["exception.message"] = str(captured)
            found["exception.stacktrace"] = _shortened("".join(captured.format()))
        return found

    return make


def _shortened(text: str) -> str:
    if len(text) <= MAX_LENGTH:
        return text
    half = MAX_LENGTH // 2
    return f"{text[:half]}\n...\n{text[-half:]}"
