"""How the service is served: uvicorn, with bounds that uvicorn itself does not have."""

import asyncio
import ipaddress
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.settings import Settings

HEAD_LIMIT = 65_536
"""Bytes that the address and the headers of a request may have."""

HEAD_SECONDS = 20.0
"""Time that a client may take for them."""


class BoundedHead(HttpToolsProtocol):
    """Gives up on a request whose head is too large or too slow.

    The parser joins the pieces of a header as they come, whatever their number: without a bound
    one client with an address of 100 MB holds up everybody for many seconds.
    """

    _head = 0
    _in_head = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._give_up, b"408 Request Timeout")

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, while the head is within its bounds."""
        self._in_head = self._in_head or self._head == 0
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > HEAD_LIMIT:
                self._give_up(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        """Count anew."""
        self._head, self._in_head = 1, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The rest is a body, which the application bounds."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self, status: bytes) -> None:
        if not self.transport.is_closing():
            lines = (b"HTTP/1.1 " + status, b"connection: close", b"content-length: 0", b"", b"")
            self.transport.write(b"\r\n".join(lines))
            self.transport.close()


class LoopbackOnly:
    """Refuses whoever comes by another address than loopback.

    ``python -m service`` knows where it will listen, and refuses to start there without TLS. Under
    another server only a request tells.

    Args:
        app: What answers the others, the metrics page included.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "http" and is_public(scope.get("server")):
            await _refuse(send)
        else:
            await self.app(scope, receive, send)


def is_public(server: Any) -> bool:
    """Whether a server's address is one that others may reach."""
    try:
        return not ipaddress.ip_address(server[0]).is_loopback
    except (TypeError, ValueError):
        return False  # a socket's path, or a name given by a test


async def _refuse(send: Send) -> None:
    text = (
        b'{"type":"urn:problem-type:service:not-public","title":"Not public","status":403,'
        b'"detail":"This service listens for others without TLS and a metrics token. Say how it '
        b'is protected: SERVICE_HOST and what it then asks for."}'
    )
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(text)).encode()))
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def serve(settings: Settings, app: ASGIApp) -> int:
    """Serve until told to stop; the exit code.

    Args:
        settings: Where, and by how many workers.
        app: What one worker serves. Several build it anew in each.
    """
    options: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "http": BoundedHead,
        "ssl_certfile": settings.tls_cert_file,
        "ssl_keyfile": settings.tls_key_file,
        "access_log": False,  # every request is measured by the kit, and told when it matters
        "log_config": None,
        "server_header": False,
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": settings.trusted_proxies,
        "timeout_graceful_shutdown": settings.shutdown_timeout,
    }
    if settings.workers > 1:
        uvicorn.run("service.main:app", workers=settings.workers, **options)
        return 0
    server = uvicorn.Server(uvicorn.Config(app, **options))
    server.run()
    return 0 if server.started else 1
