"""Access of web pages: the viewer's may read, others nothing; none may write.

The rules are those of the inbox and the gate (`stack.inbox.origins`).
"""

from collections.abc import Container
from email.message import Message

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as AsgiMessage

from stack.inbox import origins

_SAFE = frozenset({"GET", "HEAD"})


class PageAccess:
    """A middleware that refuses cross-site requests.

    Args:
        app: The application.
        page_origins: Origins of the viewer's pages.
        names: Host names that are accepted.
    """

    def __init__(
        self,
        app: ASGIApp,
        page_origins: Container[str] = (),
        names: Container[str] = origins.LOOPBACK_NAMES,
    ) -> None:
        self._app, self._page_origins, self._names = app, page_origins, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        reason = origins.refusal(_message(headers), self._names, self._page_origins)
        if not reason and origin and scope.get("method", "GET") not in _SAFE:
            reason = "Pages may only read."
        if reason and scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
            return
        if reason:
            await PlainTextResponse(reason, 403)(scope, receive, send)
            return

        async def with_origin(message: AsgiMessage) -> None:
            if message["type"] == "http.response.start":
                added = MutableHeaders(scope=message)
                added["X-Content-Type-Options"] = "nosniff"
                added["Cache-Control"] = "no-store"
                added["Vary"] = "Origin"
                if origin in self._page_origins:
                    added["Access-Control-Allow-Origin"] = origin
            await send(message)

        await self._app(scope, receive, with_origin)


def _message(headers: Headers) -> Message:
    message = Message()
    for name in ("Host", "Origin"):
        for value in headers.getlist(name):
            message[name] = value
    return message
