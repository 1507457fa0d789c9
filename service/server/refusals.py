"""Why connections are refused: what is answered, counted and logged."""

import json
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from time import monotonic

from vitals.metrics.catalogue import HTTP_CONNECTIONS_REFUSED, Reason
from vitals.metrics.meter import Meter

HEAD_LIMIT = 65_536
"""Bytes that the address and the headers of a request may have, and its trailers."""
LOG_SECONDS = 60.0
"""Time between two log lines of one reason."""

ANSWERS: Mapping[str, tuple[HTTPStatus, str]] = {
    "head_too_slow": (
        HTTPStatus.REQUEST_TIMEOUT,
        "The address and the headers of the request did not come in time.",
    ),
    "head_too_large": (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"The address and the headers, or the trailers, have more than {HEAD_LIMIT} bytes.",
    ),
    "malformed": (HTTPStatus.BAD_REQUEST, "This is not a valid request of HTTP/1.1."),
    "connect": (HTTPStatus.NOT_IMPLEMENTED, "This is no proxy: CONNECT has no meaning here."),
    "too_many_connections": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Too many connections are open. Try again in a moment.",
    ),
}
REASONS = (*ANSWERS, "too_many_pipelined", "body_unread", "response_unread")
"""Why a connection is refused or ended; after the last three nothing can be answered."""

_log = logging.getLogger(__name__)


class Refusals:
    """Counts all refusals of a process, and logs some.

    Args:
        meter: Counts them.
    """

    def __init__(self, meter: Meter) -> None:
        family = meter.counter(HTTP_CONNECTIONS_REFUSED)
        self._counters = {reason: family.bind(Reason(reason)) for reason in REASONS}
        self._unlogged = dict.fromkeys(REASONS, 0)
        self._logged: dict[str, float] = {}

    def record(self, reason: str, client: str) -> None:
        """Count a refusal; log it unless one of the same reason was logged a moment ago."""
        self._counters[reason].inc()
        self._unlogged[reason] += 1
        now = monotonic()
        if now - self._logged.get(reason, -LOG_SECONDS) >= LOG_SECONDS:
            number, self._unlogged[reason] = self._unlogged[reason], 0
            self._logged[reason] = now
            _log.warning(
                "connection refused: %s, client %s, %d since the last line of this reason",
                reason,
                client,
                number,
            )


def answer(reason: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A whole response that says why the connection ends, with more headers."""
    status, detail = ANSWERS[reason]
    slug = status.phrase.lower().replace(" ", "-")
    problem = {
        "type": f"urn:problem-type:service:{slug}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
    }
    body = json.dumps(problem).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n"
    )
    lines = (b"%s: %s\r\n" % header for header in headers)
    return b"".join((head.encode(), *lines, b"\r\n", body))
