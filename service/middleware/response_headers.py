"""What every answer carries, also the ones to errors: headers for safety, for caches, and an id.

Pure ASGI, outside of everything but the measuring. It also lets HEAD ask wherever GET may.
"""

import re
import secrets
from collections.abc import Callable

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
SAFE: dict[bytes, bytes] = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    # Nothing here is a page: whatever is shown as one may load nothing and be framed by nobody.
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
}
HSTS = (b"strict-transport-security", b"max-age=31536000")
READING = frozenset({"GET", "HEAD"})
CACHING, VARY = b"cache-control", b"vary"
ERROR = 400


class Envelope:
    """Completes the headers of answers; what an answer says itself stays.

    Without ``Cache-Control`` of its own, what was read may be kept by the reader alone, who must
    ask again before using it; errors and what was written are kept by nobody. So what is meant
    for one user can never be shown to another, even if an endpoint forgets to say so.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back in an envelope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        request_id = _id_of(scope)
        # Not taken back at the end: the line that tells of the request is written after us.
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                _complete(headers, scope, method, message["status"])
                headers.append((b"x-request-id", request_id))
                message = {**message, "headers": headers}
                scope["method"] = method  # the server keeps the body back from HEAD
            await send(message)

        if method == "HEAD":
            # In place, because what measures us reads the route from this very scope.
            scope["method"] = "GET"
        try:
            await self._app(scope, receive, say)
        finally:
            scope["method"] = method


def install(app: FastAPI) -> None:
    """Put an envelope around every answer of ``app``; call it before what shall stand outside."""
    build: Callable[[], ASGIApp] = app.build_middleware_stack
    # Not add_middleware: Starlette answers to unforeseen errors outside of what is added so.
    app.build_middleware_stack = lambda: Envelope(build())  # type: ignore[method-assign]


def _id_of(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and REQUEST_ID.fullmatch(value):
            return bytes(value)
    return secrets.token_hex(16).encode()


def _complete(headers: list[tuple[bytes, bytes]], scope: Scope, method: str, status: int) -> None:
    said = dict(headers)
    headers += ((name, value) for name, value in SAFE.items() if name not in said)
    if scope.get("scheme") == "https":
        headers.append(HSTS)
    if CACHING not in said:
        kept = method in READING and status < ERROR
        headers.append((CACHING, b"private, no-cache" if kept else b"no-store"))
    if method in READING:
        public = said.get(CACHING, b"").startswith(b"public")
        varies = [said[VARY]] if VARY in said else []
        wanted = (b"Accept-Encoding",) if public else (b"Accept-Encoding", b"Authorization")
        varies += (name for name in wanted if name.lower() not in b"".join(varies).lower())
        headers[:] = [header for header in headers if header[0] != VARY]
        headers.append((VARY, b", ".join(varies)))
