"""HTTP connections with bounds that uvicorn does not set: one deadline a phase, and sizes.

A connection is always in one of these phases, and each has an end:

- waiting for a head, the first or a later one: `head_timeout`;
- answering: the application's own bounds, those of the body it reads included (see docs/bodies.md);
- dropping the rest of a body that the application answered without reading: `unread_timeout`;
- idle between two requests: `keep_alive_timeout`, by uvicorn;
- in any of them, sending what the client does not take: `response_timeout`.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.middleware import response_headers
from service.server.refusals import ANSWERS, HEAD_LIMIT, Refusals, answer
from service.settings import Settings
from vitals.metrics.meter import Meter

PIPELINE_LIMIT = 100
"""Requests that may wait for the answer to one before them on the same connection."""
LEAST_RATE = 1_000
"""Bytes a second of a response that a client must take."""
KERNEL_LIMIT = 65_536
"""Bytes of a response that wait to be sent in the kernel; by default these are megabytes."""
_TCP_NOTSENT_LOWAT = 25  # Linux; the module `socket` names it from Python 3.12 on


class Connections:
    """What the connections of one process share: their bounds, and the record of refusals.

    Args:
        settings: The bounds.
        meter: Counts the refusals.

    Attributes:
        settings: The bounds.
        refusals: The record.
        most: Connections that may be open at a time.
        interval: Seconds between two looks at a connection.
    """

    STATE = "connections"
    """The key under which the lifespan's state holds it."""

    def __init__(self, settings: Settings, meter: Meter) -> None:
        self.settings = settings
        self.refusals = Refusals(meter)
        self.most = settings.connections()
        timeouts = (settings.head_timeout, settings.unread_timeout, settings.response_timeout)
        self.interval = min(1.0, *(seconds / 4 for seconds in timeouts))


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which ends what takes too long or is too large.

    `Upgrade` is ignored, as RFC 9110 (7.8) allows: the request is answered as if it were not there.
    """

    _shared: Connections
    _timer: asyncio.TimerHandle
    _in_head = True  # or nothing has come yet
    _in_body = False
    _delivered = False  # of what has just come, something was a whole head or part of a body
    _arrived = 0  # bytes of what has just come
    _undelivered = 0  # bytes that came before it, none of which was
    _requests = 0
    _running: RequestResponseCycle | None = None  # the newest, `cycle`, may wait for it
    _refused = False
    _phase: tuple[str, int] = ("head_too_slow", 0)
    _phase_began = 0.0
    _unsent = 0  # bytes that were waiting to be sent at the last look
    _taken = 0  # bytes that the client took since ...
    _window_began = 0.0  # ... this moment,
    _window_unsent = 0  # when this many were waiting

    def connection_made(self, transport: Any) -> None:
        """Start the first deadline, or refuse one connection too many."""
        super().connection_made(transport)
        # A client that reads slowly is then seen to read at all, and costs little memory.
        self._set_option(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, KERNEL_LIMIT)
        self._shared = self.app_state[Connections.STATE]
        self.timeout_keep_alive = self._shared.settings.keep_alive_timeout
        self._phase_began = self.loop.time()
        self._timer = self.loop.call_later(self._shared.interval, self._look)
        if len(self.connections) > self._shared.most:
            self._refuse("too_many_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """End the deadlines."""
        self._timer.cancel()
        self._leave_application()
        super().connection_lost(exc)

    # -- What arrives ------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse on."""
        if self._refused:
            return
        self._in_head = self._in_head or not self._in_body
        self._delivered, self._arrived = False, len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse("malformed")
        # The parser joins the pieces of a header as they come: without a bound one header of
        # 100 MB holds up everybody for many seconds.
        self._undelivered = 0 if self._delivered else self._undelivered + len(data)
        if self._undelivered > HEAD_LIMIT:
            self._refuse("head_too_large")

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # The parser takes what follows for another protocol, also a body: begin anew.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version)]
        lines += (b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"".join((*lines, b"\r\n"))

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check the head; the rest is a body."""
        self._delivered = True
        if self._undelivered + self._arrived > HEAD_LIMIT and self._head_size() > HEAD_LIMIT:
            self._stop_parsing("head_too_large")
        if self.parser.get_method() == b"CONNECT":
            self._stop_parsing("connect")
        if len(self.pipeline) >= PIPELINE_LIMIT:
            self._stop_parsing("too_many_pipelined")
        self._in_head = False
        if not self.parser.should_upgrade():
            self._in_body = True
            self._requests += 1
            waits = self._is_answering
            super().on_headers_complete()
            if not waits:
                self._running = self.cycle

    def on_body(self, body: bytes) -> None:
        """A part of a body has come."""
        self._delivered = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _stop_parsing(self, reason: str) -> None:
        self._refuse(reason)
        raise httptools.HttpParserCallbackError(reason)

    def on_response_complete(self) -> None:
        """The next request that waits is answered."""
        if self.pipeline:
            self._running = self.pipeline[-1][0]
        super().on_response_complete()

    # -- What leaves -------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Much is waiting to be sent."""
        self._tally()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        self._tally()
        super().resume_writing()

    def _tally(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._taken += max(0, self._unsent - unsent)
        self._unsent = unsent

    def _is_taken_too_slowly(self, now: float) -> bool:
        """Whether a client took less of what was waiting than it must, in a whole window."""
        self._tally()
        seconds = self._shared.settings.response_timeout
        if self._unsent and now - self._window_began < seconds:
            return False
        least = min(self._window_unsent, int(seconds * LEAST_RATE))
        too_slowly = self._unsent > 0 and self._taken < least
        self._window_began, self._window_unsent, self._taken = now, self._unsent, 0
        return too_slowly

    # -- Deadlines ---------------------------------------------------------------------------

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it is idle; other phases have deadlines of their own."""
        if not (self._in_head or self._in_body or self._is_answering):
            super().timeout_keep_alive_handler()

    @property
    def _is_answering(self) -> bool:
        newest: RequestResponseCycle | None = self.cycle
        return newest is not None and not newest.response_complete

    def _look(self) -> None:
        """End the connection if its phase has lasted too long."""
        self._timer = self.loop.call_later(self._shared.interval, self._look)
        now = self.loop.time()
        if self._is_taken_too_slowly(now):
            self._record("response_unread")
            self._abort()  # also what was closed before, and waits to be sent
        name, seconds = self._waiting_for()
        if self._phase != (name, self._requests):
            self._phase, self._phase_began = (name, self._requests), now
        elif seconds and now - self._phase_began >= seconds:
            self._refuse(name)

    def _waiting_for(self) -> tuple[str, float]:
        """Why to end the connection if this phase lasts, and after how many seconds (0: never)."""
        settings = self._shared.settings
        if self._is_answering or self.transport.is_closing():
            return "", 0
        if self._in_body:
            return "body_unread", settings.unread_timeout
        if self._in_head:
            return "head_too_slow", settings.head_timeout
        return "", 0

    def _refuse(self, reason: str) -> None:
        """Count, log, answer where that is possible, and close; once."""
        if self._refused:
            return
        self._record(reason)
        if self.pipeline or (self._is_answering and not self._in_body):
            self.cycle.keep_alive = False  # what was asked before is answered, then it closes
        elif self._is_answering and self.cycle.response_started:
            self._abort()
        else:
            if reason in ANSWERS and not self.transport.is_closing():
                headers = (*self.server_state.default_headers, *response_headers.SAFE.items())
                self.transport.write(answer(reason, headers))
            self._leave_application()
            self.transport.close()

    def _record(self, reason: str) -> None:
        if not self._refused:
            self._shared.refusals.record(
                reason, self.client[0] if self.client else "a local socket"
            )
        self._refused = True

    def _abort(self) -> None:
        """Close at once, without what waits to be sent, here and in the kernel."""
        self._set_option(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._leave_application()
        self.transport.abort()

    def _set_option(self, level: int, option: int, value: int | bytes) -> None:
        with suppress(OSError):  # a local socket has no such option
            self.transport.get_extra_info("socket").setsockopt(level, option, value)

    def _leave_application(self) -> None:
        """Tell whoever answers that the client is gone, before it writes to what is closed."""
        for cycle in (self._running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
