"""Access to ``/metrics``: clients that send the token; without a token, this machine only.

A connection counts as one of this machine if both its ends are loopback addresses and nothing in
the request says that a proxy stands between: a proxy on the same machine has a loopback address
too, and its clients would read the metrics. So these need a token: a server in a container,
behind a proxy or on a Unix socket, whose peers are proxies. In-process clients of tests are served.
"""

import hmac
import logging
import os
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Literal

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Scope

TOKEN = "VITALS_METRICS_TOKEN"  # noqa: S105  # the name of a variable
TOKEN_FILE = "VITALS_METRICS_TOKEN_FILE"  # noqa: S105  # the name of a variable

Token = str | Literal[False] | None
"""A bearer token; False serves everyone; None takes that of the environment."""

_PROXY_HEADERS = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
)


class Access:
    """Decides who may read the metrics.

    Args:
        token: The bearer token; False serves everyone. None reads ``VITALS_METRICS_TOKEN``, or the
            file that ``VITALS_METRICS_TOKEN_FILE`` names; without them only clients on this machine
            are served.

    Raises:
        ValueError: The token is empty, its file is unreadable, or both variables are set.
    """

    def __init__(self, token: Token = None) -> None:
        self._token = _from_environment() if token is None else token
        if self._token == "":
            raise ValueError("metrics_token is empty: name a token, or False to serve everyone")
        self._reported = False

    def refuse(self, scope: Scope, headers: Headers) -> Response | None:
        """The response to a request that may not read the metrics; None if it may."""
        if self._token is False:
            return None
        if self._token is not None:
            if _has_token(headers.get("authorization", ""), self._token):
                return None
            return PlainTextResponse(
                "send the metrics token as 'Authorization: Bearer ...'\n",
                401,
                {"www-authenticate": "Bearer"},
            )
        if is_local(scope, headers):
            return None
        self._report(scope)
        return PlainTextResponse(
            "this service has no metrics token, so it serves its metrics to its own machine only: "
            f"set {TOKEN} or {TOKEN_FILE}, and send it as 'Authorization: Bearer ...'\n",
            403,
        )

    def _report(self, scope: Scope) -> None:
        if not self._reported:
            self._reported = True
            logging.getLogger(__name__).warning(
                "metrics: a request from %s was refused, because it may come from another machine "
                "and no token is set: set %s or %s, and let Prometheus send it (`authorization: "
                "credentials_file: ...`); metrics_token=False serves everyone",
                (scope.get("client") or ["a Unix socket"])[0],
                TOKEN,
                TOKEN_FILE,
            )


def _from_environment() -> str | None:
    token, file = os.environ.get(TOKEN, "").strip(), os.environ.get(TOKEN_FILE, "").strip()
    if not file:
        return token or None
    if token:
        raise ValueError(f"{TOKEN} and {TOKEN_FILE} are both set: use one of them")
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{TOKEN_FILE}: {file} cannot be read: {error}") from error
    if not token:
        raise ValueError(f"{TOKEN_FILE}: {file} is empty: write the token into it")
    return token


def _has_token(authorization: str, token: str) -> bool:
    scheme, _, credentials = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        credentials.strip().encode("latin-1"), token.encode()
    )


def is_local(scope: Scope, headers: Headers) -> bool:
    """Whether a request comes from this machine, by all that it shows.

    A proxy on this machine that leaves no trace, neither a header nor its name for the service,
    cannot be told from a local client.
    """
    client, server = scope.get("client"), scope.get("server")
    if not client or not server or any(name in headers for name in _PROXY_HEADERS):
        return False
    if _is_in_process(server[0]):
        return client[0] == "testclient" or _is_loopback(client[0])
    return (
        _is_loopback(client[0])
        and (_is_loopback(server[0]) or server[0] == "localhost")
        and scope.get("http_version") != "1.0"  # nginx's default; Prometheus has 1.1
        and _is_local_name(headers.get("host", "localhost"))
    )


def _is_in_process(server: str) -> bool:
    """Whether the server's name is that of a test client's URL: servers give an address."""
    return (
        bool(server) and server != "localhost" and server[0] not in "/\0@" and _ip(server) is None
    )


def _ip(address: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(address)
    except ValueError:
        return None


def _is_loopback(address: str) -> bool:
    parsed = _ip(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed is not None and parsed.is_loopback


def _is_local_name(host: str) -> bool:
    """Whether a Host header names this machine: a browser sends the name of a rebound domain."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)
