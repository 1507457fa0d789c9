"""Measures WebSockets: how many are open, and for how long."""

from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.asgi.activity import Activity
from vitals.asgi.route_template import RouteTemplates
from vitals.errors import ErrorCounter
from vitals.http.observed_request import is_cancelled_by_server
from vitals.metrics.catalogue import (
    HTTP_ACTIVE_WEBSOCKETS,
    HTTP_WEBSOCKET_DURATION,
    WebSocketLabels,
)
from vitals.metrics.declarations import NoLabels
from vitals.metrics.meter import Meter


class WebSocketProbe:
    """ASGI middleware that measures WebSockets.

    Args:
        app: The application inside.
        meter: Where to record.
        routes: Templates of the application's routes.
        errors: Counts exceptions; None for nothing.
        activity: Knows what is in flight.
    """

    def __init__(
        self,
        app: ASGIApp,
        meter: Meter,
        routes: RouteTemplates,
        errors: ErrorCounter | None = None,
        *,
        activity: Activity,
    ) -> None:
        self.app = app
        self._meter = meter
        self._routes = routes
        self._errors = errors
        self._activity = activity
        self._sockets = meter.gauge(HTTP_ACTIVE_WEBSOCKETS).bind(NoLabels())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        outer_root = scope.get("root_path", "")
        code = ""

        async def observed_receive() -> Message:
            nonlocal code
            message = await receive()
            if message["type"] == "websocket.disconnect":
                code = code or _close_code(message.get("code", 1005))
            return message

        async def observed_send(message: Message) -> None:
            nonlocal code
            await send(message)
            if message["type"] == "websocket.close":
                code = code or _close_code(message.get("code", 1000))
            elif message["type"] == "websocket.http.response.start":
                code = code or "refused"

        self._sockets.inc()
        self._activity.sockets += 1
        begin = self._activity.on_begin  # read once: another thread may take it back
        if begin is not None:
            begin()
        started = perf_counter()
        try:
            await self.app(scope, observed_receive, observed_send)
        except BaseException as error:
            if isinstance(error, Exception) and self._errors is not None and not code:
                route = self._routes.of(scope, outer_root)
                self._errors.count_work("WebSocket", error, None, route)
            code = code or (SERVICE_RESTART if is_cancelled_by_server() else "1011")
            raise
        finally:
            self._sockets.dec()
            self._activity.sockets -= 1
            try:
                labels = WebSocketLabels(self._routes.of(scope, outer_root), code or "1006")
                self._meter.histogram(HTTP_WEBSOCKET_DURATION).bind(labels).observe(
                    perf_counter() - started
                )
            except Exception:  # noqa: BLE001  # a measurement must not fail the application
                self._meter.dropped("http_probe")


SERVICE_RESTART = "1012"
"""The close code of a WebSocket that the server ends at its shutdown."""
_STANDARD_CODES = range(1000, 1016)


def _close_code(code: Any) -> str:
    """A close code as a label; clients choose those above 1015, so they share one value."""
    return str(code) if code in _STANDARD_CODES else "private"
