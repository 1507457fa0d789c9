"""Occurrences of errors, as the store of logs and traces has them."""

from typing import NamedTuple


class Count(NamedTuple):
    """How often an error occurred within one minute, somewhere.

    Attributes:
        minute: Unix time of its beginning.
        fingerprint: The error's.
        service: ``service.name``.
        release: ``service.version``; empty if unknown.
        route: The route template; empty outside of requests.
        times: Occurrences.
    """

    minute: int
    fingerprint: str
    service: str
    release: str
    route: str
    times: int


class Occurrence(NamedTuple):
    """One occurrence of an error: a log record that counts it.

    Attributes:
        time: Unix time.
        fingerprint: The error's.
        service: ``service.name``.
        release: ``service.version``.
        route: The route template.
        trace_id: Of its trace; empty if none is known.
        type: The exception's class.
        place: The innermost own frame, as ``module:function``.
        message: The exception's message, redacted.
        stacktrace: Its traceback, redacted.
    """

    time: float
    fingerprint: str
    service: str
    release: str
    route: str
    trace_id: str
    type: str
    place: str
    message: str
    stacktrace: str
