"""Attributes of server spans, by OpenTelemetry's stable conventions for HTTP.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server

The request's side takes a tuple of facts, and the exporter's thread makes attributes of it:
requests whose facts are equal have one encoding.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from vitals.asgi.request_context import RequestContext

KEPT = "vitals.kept"
_USER_AGENT = b"user-agent"
MAX_USER_AGENT = 256
_SCHEMES = frozenset(("http", "https", "ws", "wss"))

Connection = tuple[Any, Any, Any, Any, bytes]
"""Scheme, HTTP version, server and client as the ASGI scope has them, and ``User-Agent``."""
Served = tuple[str, int, str, str, tuple[str, ...], Connection]
"""Method, status, route template, ``error.type``, why it is kept, and its connection."""


def served_of(request: RequestContext, error_type: str, reasons: Sequence[str]) -> Served:
    """What the attributes of a request's span are made of.

    Args:
        request: The request.
        error_type: ``error.type``; empty for none.
        reasons: Why it is kept.
    """
    return (
        request.method,
        request.status,
        request.route,
        error_type,
        tuple(reasons),
        connection_of(request.http),
    )


def connection_of(scope: Mapping[str, Any]) -> Connection:
    """What the ASGI scope says of a connection."""
    get = scope.get
    agent = b""
    for name, value in get("headers", ()):
        if name == _USER_AGENT:
            agent = value[:MAX_USER_AGENT]
            break
    client = get("client")  # its port is another one for each connection
    server = get("server")
    return (
        *(get("scheme", "http"), get("http_version")),
        *(tuple(server) if server else None, client[0] if client else None, agent),
    )


def server_attributes(served: Served) -> dict[str, Any]:
    """The attributes of a request's span.

    A path may hold a token, so it is the route template.
    """
    method, status, route, error_type, reasons, connection = served
    attributes: dict[str, Any] = {
        "http.request.method": method,
        "http.response.status_code": status,
        KEPT: reasons,
        **connection_attributes(connection),
    }
    if route:
        attributes["http.route"] = attributes["url.path"] = route
    if error_type:
        attributes["error.type"] = error_type
    return attributes


def connection_attributes(connection: Connection) -> dict[str, Any]:
    """The attributes of a connection."""
    scheme, version, server, client, agent = connection
    attributes: dict[str, Any] = {"url.scheme": scheme if scheme in _SCHEMES else "_OTHER"}
    if version:
        attributes["network.protocol.version"] = version
    if server:
        attributes["server.address"] = str(server[0])
        if len(server) > 1 and isinstance(server[1], int):
            attributes["server.port"] = server[1]
    if client and _is_address(client):
        attributes["client.address"] = client
    if agent:
        attributes["user_agent.original"] = agent.decode("latin-1")
    return attributes


@lru_cache(maxsize=1_024)
def _is_address(text: Any) -> bool:
    """Whether it is an IP address: a proxy may pass on any text of a client's as one."""
    try:
        return isinstance(text, str) and bool(ip_address(text))
    except ValueError:
        return False
