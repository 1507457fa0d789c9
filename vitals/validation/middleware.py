"""Checks bodies while the application reads them, and refuses what it should not work on.

Nothing is read here. The application asks for the body, each part is looked at in passing, and the
last one is handed over only once the whole has been found good: no endpoint ever works on a body
that is refused. Declared faults are found when the application first asks, so before a client that
waits for ``100 Continue`` has sent a byte.

A refusal is raised into the reader as an ``HTTPException``. The application answers it as it does
its own, through all of its middlewares (CORS, security headers); where it answers anything else,
or nothing, the guard answers.
"""

import asyncio
from time import monotonic
from typing import NoReturn

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitals.asgi.content_type import Kind, essence, kind
from vitals.asgi.route_template import RouteTemplates
from vitals.metrics.catalogue import HTTP_REQUESTS_REFUSED, Reason
from vitals.metrics.meter import Meter
from vitals.validation import ijson, size_limits
from vitals.validation.config import Guard, Head, matches
from vitals.validation.problems import MEDIA_TYPE, REASONS, Refused, answer

BODILESS = frozenset(("GET", "HEAD", "OPTIONS"))
_LENGTH_DIGITS = 18


class BodyGuard:
    """ASGI middleware that refuses bodies.

    Args:
        app: The application inside.
        guard: What a body must keep to.
        routes: Templates of the application's routes.
        meter: Counts what was refused.
    """

    def __init__(self, app: ASGIApp, guard: Guard, routes: RouteTemplates, meter: Meter) -> None:
        self.app = app
        self.guard = guard
        self.routes = routes
        family = meter.counter(HTTP_REQUESTS_REFUSED)
        self.refusals = {reason: family.bind(Reason(reason)) for reason in REASONS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        head = Head.of(scope)
        # RFC 9112, 6.3: without either header a request of HTTP/1 has no body. With a method that
        # usually has one, the server's word is not taken for it.
        if (
            scope["method"] in BODILESS
            and not (head.lengths or head.chunked)
            and scope["http_version"].startswith("1")
        ):
            return await self.app(scope, receive, send)
        exchange = _Exchange(self, scope, head, receive, send)
        try:
            await self.app(scope, exchange.hear, exchange.say)
        except* Refused:
            if exchange.refused is None or exchange.late:
                raise
        return await exchange.finish()


class _Exchange:
    """One request on its way in, and its answer on the way out."""

    def __init__(
        self, watch: BodyGuard, scope: Scope, head: Head, receive: Receive, send: Send
    ) -> None:
        self._watch = watch
        self._scope = scope
        self._head = head
        self._receive = receive
        self._send = send
        self._root = scope.get("root_path", "")
        self._limit = watch.guard.limit
        self._begun = self._over = self._started = self._replaced = False
        self._typed = self._strict = False
        self._held = bytearray()
        self._received = 0
        self._waited = 0.0
        self.refused: Refused | None = None
        self.late = False  # refused when the answer had begun

    async def hear(self) -> Message:
        """``receive`` for the application."""
        if self.refused is not None:
            return {"type": "http.disconnect"}
        if self._over:
            return await self._receive()
        if not self._begun:
            self._begun = True
            self._check_head()
        message = await (self._receive() if self._started else self._receive_in_time())
        if message["type"] != "http.request":
            self._over = True
            return message
        body = message.get("body", b"")
        self._received += len(body)
        if self._received > self._limit:
            self._refuse_size()
        # Once the answer has begun nobody waits for a verdict on the body.
        if not self._started:
            if body and not self._typed:
                self._check_type()
            if self._strict:
                self._held += body
            if not message.get("more_body", False):
                self._check_whole()
        self._over = not message.get("more_body", False)
        return message

    async def say(self, message: Message) -> None:
        """``send`` for the application."""
        if self.refused is None:
            self._started = True
        elif not self._started:
            self._started = True
            if not self._is_refusal(message):
                await self._answer()
        if not self._replaced:
            await self._send(message)

    async def finish(self) -> None:
        """Answer a refused request that the application has not answered."""
        if self.refused is not None and not self._started:
            await self._answer()

    async def _answer(self) -> None:
        self._started = self._replaced = True
        response = await answer(Request(self._scope), self.refused or Refused("length", ""))
        await response(self._scope, self._receive, self._send)

    def _is_refusal(self, message: Message) -> bool:
        """Whether the application answers the refusal as such, in its own words or ours."""
        if self.refused is None or message["type"] != "http.response.start":
            return False
        media = dict(message.get("headers", ())).get(b"content-type", b"")
        return message["status"] == self.refused.status_code and essence(media) == MEDIA_TYPE

    def _refuse(self, reason: str, detail: str, **where: str | None) -> NoReturn:
        # The rest of the body stays unread, so the connection is of no use any more.
        close = not self._over and self._scope["http_version"].startswith("1")
        self._held.clear()
        self.late = self._started
        self.refused = Refused(
            reason, detail, headers={"connection": "close"} if close else None, **where
        )
        self._watch.refusals[reason].inc()
        raise self.refused

    def _refuse_size(self, **where: str) -> NoReturn:
        self._refuse("too_large", f"The body is larger than {self._limit} bytes.", **where)

    def _check_head(self) -> None:
        head, routes = self._head, self._watch.routes
        if limits := self._watch.guard.routes:
            self._limit = limits.get(routes.of(self._scope, self._root), self._limit)
        if head.lengths:
            self._check_length(head)
        if head.chunked or (head.lengths and int(head.lengths[0])):
            self._check_type()

    def _check_type(self) -> None:
        self._typed = True
        head = self._head
        accepted = self._watch.routes.media_type(self._scope)
        if accepted and not matches(accepted, head.media):
            self._refuse("media_type", f"This takes a body of {accepted}.", header="content-type")
        self._strict = kind(head.media) is Kind.JSON and not head.coded

    def _check_length(self, head: Head) -> None:
        length = head.lengths[0]
        if head.chunked or any(other != length for other in head.lengths):
            self._refuse("length", "The body's length is declared twice.", header="content-length")
        if not length.isdigit():
            self._refuse("length", "Content-Length is not a number.", header="content-length")
        if len(length) > _LENGTH_DIGITS or int(length) > self._limit:
            self._refuse_size(header="content-length")

    def _check_whole(self) -> None:
        self._over = True
        head = self._head
        if head.lengths and int(head.lengths[0]) != self._received:
            self._refuse(
                "length",
                f"{self._received} bytes came, not as many as declared.",
                header="content-length",
            )
        if self._strict and self._received:
            body, guard = bytes(self._held), self._watch.guard
            self._held.clear()
            fault = size_limits.excess(body, guard) or ijson.fault(body, guard.depth)
            if fault is not None:
                self._refuse(fault.reason, fault.detail, pointer=fault.pointer)

    async def _receive_in_time(self) -> Message:
        """Wait for the next message no longer than the rate allows; only waiting counts."""
        guard = self._watch.guard
        allowed = min(guard.seconds, guard.grace + self._received / guard.bytes_per_second)
        began = monotonic()
        try:
            async with asyncio.timeout(allowed - self._waited) as timer:
                message = await self._receive()
        except TimeoutError:
            if not timer.expired():
                raise
            self._refuse("too_slow", f"{self._received} bytes of the body came in time.")
        self._waited += monotonic() - began
        return message
