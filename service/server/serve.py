"""Serves the app by uvicorn: on loopback, or publicly with TLS and a metrics token."""

import ipaddress
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from service.server.protocol import BoundedProtocol
from service.settings import Settings


class LoopbackOnly:
    """Refuses requests to another address than loopback.

    ``python -m service`` refuses to start on such an address without TLS. Another server's address
    is known from a request only.

    Args:
        app: Handles the others, the metrics endpoint included.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or refuse it."""
        if scope["type"] == "http" and is_public(scope.get("server")):
            await _refuse(send)
        else:
            await self.app(scope, receive, send)


def is_public(server: Any) -> bool:
    """Return whether a server's address is not loopback."""
    try:
        return not ipaddress.ip_address(server[0]).is_loopback
    except (TypeError, ValueError):
        return False  # a socket's path, or a name given by a test


async def _refuse(send: Send) -> None:
    text = (
        b'{"type":"urn:problem-type:service:not-public","title":"Not public","status":403,'
        b'"detail":"This service listens on a public address without TLS and a metrics token. Set '
        b'SERVICE_HOST and the settings that it then requires."}'
    )
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    headers += [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
    headers.append((b"content-length", str(len(text)).encode()))
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def serve(settings: Settings, app: ASGIApp) -> int:
    """Serve until stopped; return the exit code.

    Args:
        settings: Address, number of workers, timeouts.
        app: Served by a single worker. Several workers build their own.
    """
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "http": BoundedProtocol,
        "ws": "none",  # there are no WebSockets here
        "ssl_certfile": settings.tls_cert_file,
        "ssl_keyfile": settings.tls_key_file,
        "access_log": False,  # Vitals measures every request, and logs those that matter
        "log_config": None,
        "server_header": False,
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": settings.trusted_proxies,
        "timeout_graceful_shutdown": settings.shutdown_timeout,
    }
    if settings.workers > 1:
        # By default a worker that takes 5 s to import everything is killed: on a busy machine none
        # would ever serve.
        options["timeout_worker_healthcheck"] = 60
        uvicorn.run("service.main:app", workers=settings.workers, **options)
        return 0
    server = uvicorn.Server(uvicorn.Config(app, **options))
    server.run()
    return 0 if server.started else 1
