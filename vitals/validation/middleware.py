"""Middleware that validates request bodies while the application reads them.

It reads nothing itself. The application awaits the body; each part is checked as it passes, and the
last one is delivered only once the entire body has been found valid: no endpoint ever works on a
body that is refused. Faults in the headers are found when the application first reads, before a
client that waits for ``100 Continue`` has sent a byte.

A refusal is raised into the reader as an ``HTTPException``. The application responds to it as to
its own, through all of its middleware (CORS, security headers). If it responds anything else, or
nothing, this middleware responds.
"""

import asyncio
from time import monotonic
from typing import NoReturn

import anyio
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.asgi.content_type import BodyKind, essence, kind
from vitals.asgi.route_template import RouteTemplates
from vitals.metrics.catalogue import HTTP_REQUESTS_REFUSED, ReasonLabels
from vitals.metrics.meter import Meter
from vitals.validation import ijson, json_limits
from vitals.validation.config import BodyHeaders, Validation, matches
from vitals.validation.problems import MEDIA_TYPE, REASONS, BodyRefused, handle_refused

BODILESS = frozenset(("GET", "HEAD", "OPTIONS"))
REFUSAL_SECONDS = 2.0
"""How long an application that reads on after a refusal waits for its own response to end."""
_LENGTH_DIGITS = 18


class BodyValidationMiddleware:
    """ASGI middleware that refuses invalid bodies.

    Args:
        app: The application inside.
        limits: Limits of a body.
        routes: Templates of the application's routes.
        meter: Counts refusals.
    """

    def __init__(
        self, app: ASGIApp, limits: Validation, routes: RouteTemplates, meter: Meter
    ) -> None:
        self.app = app
        self.limits = limits
        self.routes = routes
        family = meter.counter(HTTP_REQUESTS_REFUSED)
        self.refusals = {reason: family.bind(ReasonLabels(reason)) for reason in REASONS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = BodyHeaders.of(scope)
        # RFC 9112, 6.3: without either header an HTTP/1 request has no body. For methods that
        # usually have one, this is not relied on.
        if (
            scope["method"] in BODILESS
            and not (headers.lengths or headers.chunked)
            and scope["http_version"].startswith("1")
        ):
            return await self.app(scope, receive, send)
        request = _ValidatedRequest(self, scope, headers, receive, send)
        try:
            await self.app(scope, request.receive, request.send)
        except* BodyRefused:
            if request.refused is None or request.after_response_start:
                raise
        return await request.finish()


class _ValidatedRequest:
    """One request whose body is validated."""

    def __init__(
        self,
        middleware: BodyValidationMiddleware,
        scope: Scope,
        headers: BodyHeaders,
        receive: Receive,
        send: Send,
    ) -> None:
        self._middleware = middleware
        self._scope = scope
        self._headers = headers
        self._receive = receive
        self._send = send
        self._root = scope.get("root_path", "")
        self._limit = middleware.limits.limit
        self._headers_checked = self._complete = self._response_started = self._refusal_sent = False
        self._type_checked = self._is_json = False
        self._body = bytearray()
        self._received = 0
        self._wait_seconds = 0.0
        self._response_ended = anyio.Event()
        self.refused: BodyRefused | None = None
        self.after_response_start = False  # refused after the response had started

    async def receive(self) -> Message:
        """``receive`` for the application."""
        if self.refused is not None:
            # Starlette cancels a response when it hears of a disconnect, so not before its end.
            with anyio.move_on_after(REFUSAL_SECONDS):
                await self._response_ended.wait()
            return {"type": "http.disconnect"}
        if self._complete:
            return await self._receive()
        if not self._headers_checked:
            self._headers_checked = True
            self._check_headers()
        message = await (self._receive() if self._response_started else self._receive_in_time())
        if message["type"] != "http.request":
            self._complete = True
            return message
        body = message.get("body", b"")
        self._received += len(body)
        if self._received > self._limit:
            self._refuse_size()
        # Once the response has started, it is too late to refuse the body.
        if not self._response_started:
            if body and not self._type_checked:
                self._check_type()
            if self._is_json:
                self._body += body
            if not message.get("more_body", False):
                self._check_whole()
        self._complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """``send`` for the application."""
        if self.refused is None:
            self._response_started = True
        elif not self._response_started:
            self._response_started = True
            if not self._is_refusal(message):
                await self._send_refusal()
        if not self._refusal_sent:
            await self._send(message)
        if self.refused is not None and not message.get("more_body", True):
            self._response_ended.set()

    async def finish(self) -> None:
        """Respond to a refused request if the application has not."""
        if self.refused is not None and not self._response_started:
            await self._send_refusal()

    async def _send_refusal(self) -> None:
        self._response_started = self._refusal_sent = True
        response = await handle_refused(
            Request(self._scope), self.refused or BodyRefused("length", "")
        )
        await response(self._scope, self._receive, self._send)
        self._response_ended.set()

    def _is_refusal(self, message: Message) -> bool:
        """Whether the application itself responds with the refusal."""
        if self.refused is None or message["type"] != "http.response.start":
            return False
        media = dict(message.get("headers", ())).get(b"content-type", b"")
        return message["status"] == self.refused.status_code and essence(media) == MEDIA_TYPE

    def _refuse(self, reason: str, detail: str, **where: str | None) -> NoReturn:
        # The rest of the body stays unread, so the connection cannot be reused.
        close = not self._complete and self._scope["http_version"].startswith("1")
        self._body.clear()
        self.after_response_start = self._response_started
        self.refused = BodyRefused(
            reason, detail, headers={"connection": "close"} if close else None, **where
        )
        self._middleware.refusals[reason].inc()
        raise self.refused

    def _refuse_size(self, **where: str) -> NoReturn:
        self._refuse("too_large", f"The body is larger than {self._limit} bytes.", **where)

    def _check_headers(self) -> None:
        headers, routes = self._headers, self._middleware.routes
        if limits := self._middleware.limits.routes:
            self._limit = limits.get(routes.of(self._scope, self._root), self._limit)
        if headers.lengths:
            self._check_length(headers)
        if headers.chunked or (headers.lengths and int(headers.lengths[0])):
            self._check_type()

    def _check_type(self) -> None:
        self._type_checked = True
        headers = self._headers
        accepted = self._middleware.routes.media_type(self._scope)
        if accepted and not matches(accepted, headers.media):
            self._refuse("media_type", f"Send a body of type {accepted}.", header="content-type")
        self._is_json = kind(headers.media) is BodyKind.JSON and not headers.encoded

    def _check_length(self, headers: BodyHeaders) -> None:
        length = headers.lengths[0]
        if headers.chunked or any(other != length for other in headers.lengths):
            self._refuse("length", "The body's length is declared twice.", header="content-length")
        if not length.isdigit():
            self._refuse("length", "Content-Length is not a number.", header="content-length")
        if len(length) > _LENGTH_DIGITS or int(length) > self._limit:
            self._refuse_size(header="content-length")

    def _check_whole(self) -> None:
        self._complete = True
        headers = self._headers
        if headers.lengths and int(headers.lengths[0]) != self._received:
            self._refuse(
                "length",
                f"Received {self._received} bytes, not as many as declared.",
                header="content-length",
            )
        if self._is_json and self._received:
            body, limits = bytes(self._body), self._middleware.limits
            self._body.clear()
            fault = json_limits.exceeded_limit(body, limits) or ijson.fault(body, limits.depth)
            if fault is not None:
                self._refuse(fault.reason, fault.detail, pointer=fault.pointer)

    async def _receive_in_time(self) -> Message:
        """Receive within the time that the minimum rate allows; only waiting time counts."""
        limits = self._middleware.limits
        allowed = min(limits.seconds, limits.grace + self._received / limits.bytes_per_second)
        began = monotonic()
        try:
            async with asyncio.timeout(allowed - self._wait_seconds) as timer:
                message = await self._receive()
        except TimeoutError:
            if not timer.expired():
                raise
            self._refuse("too_slow", f"Received only {self._received} bytes of the body in time.")
        self._wait_seconds += monotonic() - began
        return message
