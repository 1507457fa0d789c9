"""Attributes of server spans, by OpenTelemetry's stable conventions for HTTP.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from vitals.asgi.request_context import RequestContext
from vitals.asgi.request_times import time_attributes

KEPT = "vitals.kept"
_USER_AGENT = b"user-agent"
MAX_USER_AGENT = 256
_SCHEMES = frozenset(("http", "https", "ws", "wss"))


def server_attributes(
    request: RequestContext, error_type: str, reasons: Sequence[str]
) -> dict[str, Any]:
    """The attributes of a request's span.

    A path may hold a token, so it is the route template.

    Args:
        request: The request.
        error_type: ``error.type``; empty for none.
        reasons: Why it is kept.
    """
    attributes: dict[str, Any] = {
        "http.request.method": request.method,
        "http.response.status_code": request.status,
        KEPT: tuple(reasons),
        **connection_facts(request.http),
    }
    if request.route:
        attributes["http.route"] = attributes["url.path"] = request.route
    if error_type:
        attributes["error.type"] = error_type
    if request.parts is not None:
        attributes.update(time_attributes(request.parts))
    return attributes


def connection_facts(scope: Mapping[str, Any]) -> dict[str, Any]:
    """What the ASGI scope says of a connection."""
    scheme = scope.get("scheme", "http")
    attributes: dict[str, Any] = {"url.scheme": scheme if scheme in _SCHEMES else "_OTHER"}
    version, server, client = map(scope.get, ("http_version", "server", "client"))
    if version:
        attributes["network.protocol.version"] = version
    if server:
        attributes["server.address"] = str(server[0])
        if len(server) > 1 and isinstance(server[1], int):
            attributes["server.port"] = server[1]
    if client and _is_address(client[0]):
        attributes["client.address"] = client[0]
    for name, value in scope.get("headers", ()):
        if name == _USER_AGENT:
            attributes["user_agent.original"] = value[:MAX_USER_AGENT].decode("latin-1")
            break
    return attributes


@lru_cache(maxsize=1_024)
def _is_address(text: Any) -> bool:
    """Whether it is an IP address: a proxy may pass on any text of a client's as one."""
    try:
        return isinstance(text, str) and bool(ip_address(text))
    except ValueError:
        return False
