"""Refused connections: error responses, metric and log events by reason."""

import json
import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from time import monotonic

from vitals.metrics.catalogue import HTTP_CONNECTIONS_REFUSED, ReasonLabels
from vitals.metrics.meter import Meter

HEAD_LIMIT = 65_536
"""Bytes of a request's URL and headers, and of its trailers."""
LOG_SECONDS = 60.0
"""Shortest time between two log events of one reason."""

RESPONSES: Mapping[str, tuple[HTTPStatus, str]] = {
    "head_too_slow": (
        HTTPStatus.REQUEST_TIMEOUT,
        "The request's URL and headers did not arrive in time.",
    ),
    "head_too_large": (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"The URL and headers, or the trailers, have more than {HEAD_LIMIT} bytes.",
    ),
    "malformed": (HTTPStatus.BAD_REQUEST, "This is not a valid HTTP/1.1 request."),
    "connect": (HTTPStatus.NOT_IMPLEMENTED, "CONNECT is not supported: this is no proxy."),
    "too_many_connections": (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Too many connections are open. Try again in a moment.",
    ),
}
REASONS = (*RESPONSES, "too_many_pipelined", "body_unread", "response_unread")
"""Why a connection is refused or closed; the last three have no response."""

_log = logging.getLogger(__name__)


class Refusals:
    """Counts the refused connections of a process, and logs them with a throttle.

    Args:
        meter: Counts them.
    """

    def __init__(self, meter: Meter) -> None:
        family = meter.counter(HTTP_CONNECTIONS_REFUSED)
        self._counters = {reason: family.bind(ReasonLabels(reason)) for reason in REASONS}
        self._unlogged = dict.fromkeys(REASONS, 0)
        self._logged: dict[str, float] = {}

    def record(self, reason: str, client: str) -> None:
        """Count a refusal; log it unless one of the same reason was logged recently."""
        self._counters[reason].inc()
        self._unlogged[reason] += 1
        now = monotonic()
        if now - self._logged.get(reason, -LOG_SECONDS) >= LOG_SECONDS:
            number, self._unlogged[reason] = self._unlogged[reason], 0
            self._logged[reason] = now
            _log.warning(
                "connection refused: %s, client %s, %d since the last event of this reason",
                reason,
                client,
                number,
            )


def error_response(reason: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a complete HTTP response with the reason and additional headers."""
    status, detail = RESPONSES[reason]
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
