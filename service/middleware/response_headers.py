"""Headers of every response, errors included: security, caching, and the request id.

Pure ASGI middleware, outside of everything but the instrumentation. It also serves HEAD wherever
GET is allowed.
"""

import re
import secrets
from collections.abc import Callable

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
SECURITY_HEADERS: dict[bytes, bytes] = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    # The API has no pages: a response shown as one may load nothing and may not be framed.
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
HSTS = (b"strict-transport-security", b"max-age=31536000")
SAFE_METHODS = frozenset({"GET", "HEAD"})
CACHING, VARY = b"cache-control", b"vary"
ERROR = 400


class ResponseHeaders:
    """Adds default headers to responses; those that a response sets itself stay.

    Without ``Cache-Control``, a response to a read gets ``private, no-cache``; errors and responses
    to writes get ``no-store``. So a shared cache never shows one user's response to another, even
    if an endpoint sets no header.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and complete its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        request_id = _id_of(scope)
        # Not unbound at the end: the request's log event is written after this.
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())

        async def send_completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                _complete(headers, scope, method, message["status"])
                headers.append((b"x-request-id", request_id))
                message = {**message, "headers": headers}
                scope["method"] = method  # the server omits the body for HEAD
            await send(message)

        if method == "HEAD":
            # In place, because the instrumentation reads the route from the same scope.
            scope["method"] = "GET"
        try:
            await self._app(scope, receive, send_completed)
        finally:
            scope["method"] = method


def install(app: FastAPI) -> None:
    """Complete every response of ``app``; call it before what must be outside of it."""
    build: Callable[[], ASGIApp] = app.build_middleware_stack
    # Not add_middleware: Starlette handles unexpected errors outside of that middleware.
    app.build_middleware_stack = lambda: ResponseHeaders(build())  # type: ignore[method-assign]


def _id_of(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(16).encode()


def _complete(headers: list[tuple[bytes, bytes]], scope: Scope, method: str, status: int) -> None:
    present = dict(headers)
    headers += ((name, value) for name, value in SECURITY_HEADERS.items() if name not in present)
    if scope.get("scheme") == "https":
        headers.append(HSTS)
    if CACHING not in present:
        storable = method in SAFE_METHODS and status < ERROR
        headers.append((CACHING, b"private, no-cache" if storable else b"no-store"))
    if method in SAFE_METHODS:
        public = present.get(CACHING, b"").startswith(b"public")
        varies = [present[VARY]] if VARY in present else []
        wanted = (b"Accept-Encoding",) if public else (b"Accept-Encoding", b"Authorization")
        varies += (name for name in wanted if name.lower() not in b"".join(varies).lower())
        headers[:] = [header for header in headers if header[0] != VARY]
        headers.append((VARY, b", ".join(varies)))
