"""HTTP protocol with limits that uvicorn does not set: a deadline per phase, and sizes.

A connection is always in one of these phases, and each has a deadline:

- waiting for a request head, the first or a later one: `head_timeout`;
- handling a request: the application's limits, those on its body included (see docs/bodies.md);
- discarding the rest of a body that the application did not read: `unread_timeout`;
- idle between two requests: `keep_alive_timeout`, by uvicorn;
- in any of them, sending what the client does not read: `response_timeout`.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service.middleware import response_headers
from service.server.drain import Drain
from service.server.refusals import HEAD_LIMIT, RESPONSES, Refusals, error_response
from service.settings import Settings
from vitals.metrics.meter import Meter

PIPELINE_LIMIT = 100
"""Pipelined requests that may wait on one connection."""
MIN_RATE = 1_000
"""Bytes a second of a response that a client must read."""
KERNEL_LIMIT = 65_536
"""Unsent bytes of a response in the kernel's buffer; the default is megabytes."""
_CLOSE = (b"connection", b"close")
_TCP_NOTSENT_LOWAT = 25  # Linux; the module `socket` names it from Python 3.12 on


class ConnectionLimits:
    """Limits that the connections of one process share, and the record of refusals.

    Args:
        settings: The limits.
        meter: Counts the refusals.
        drain: Whether the process will end.

    Attributes:
        settings: The limits.
        drain: Whether the process will end.
        refusals: The record.
        max_connections: Most open connections.
        interval: Seconds between two checks of a connection's deadlines.
    """

    STATE = "connections"
    """Key in the lifespan's state."""

    def __init__(self, settings: Settings, meter: Meter, drain: Drain) -> None:
        self.settings = settings
        self.drain = drain
        self.refusals = Refusals(meter)
        self.max_connections = settings.connections()
        timeouts = (settings.head_timeout, settings.unread_timeout, settings.response_timeout)
        self.interval = min(1.0, *(seconds / 4 for seconds in timeouts))


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with deadlines and size limits.

    `Upgrade` is ignored, as RFC 9110 (7.8) allows: the request is handled as if it had none.
    """

    _shared: ConnectionLimits
    _timer: asyncio.TimerHandle
    _in_head = True  # also before the first byte
    _in_body = False
    _delivered = False  # whether the latest data completed a head or was part of a body
    _arrived = 0  # bytes of the latest data
    _undelivered = 0  # bytes before it that did neither
    _requests = 0
    _running: RequestResponseCycle | None = None  # the newest, `cycle`, may wait for it
    _refused = False
    _phase: tuple[str, int] = ("head_too_slow", 0)
    _phase_began = 0.0
    _unsent = 0  # bytes in the write buffer at the last check
    _taken = 0  # bytes that the client read since ...
    _window_began = 0.0  # ... this time,
    _window_unsent = 0  # when this many were unsent

    def connection_made(self, transport: Any) -> None:
        """Start the first deadline, or refuse a connection above the limit."""
        super().connection_made(transport)
        # Makes a slow client's reads visible, and limits its memory.
        self._set_option(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, KERNEL_LIMIT)
        self._shared = self.app_state[ConnectionLimits.STATE]
        self.timeout_keep_alive = self._shared.settings.keep_alive_timeout
        self._phase_began = self.loop.time()
        self._timer = self.loop.call_later(self._shared.interval, self._check_deadlines)
        if len(self.connections) > self._shared.max_connections:
            self._refuse("too_many_connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadlines."""
        self._timer.cancel()
        self._notify_disconnect()
        super().connection_lost(exc)

    # -- Receiving ---------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse received data."""
        if self._refused:
            return
        self._in_head = self._in_head or not self._in_body
        self._delivered, self._arrived = False, len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._refuse("malformed")
        # The parser joins the pieces of a header: without a limit, one header of 100 MB blocks the
        # event loop for many seconds.
        self._undelivered = 0 if self._delivered else self._undelivered + len(data)
        if self._undelivered > HEAD_LIMIT:
            self._refuse("head_too_large")

    def _parse(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # The parser treats the rest, also a body, as another protocol: start again.
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version)]
        lines += (b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"".join((*lines, b"\r\n"))

    def on_message_begin(self) -> None:
        """Enter the head phase."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check the head, and enter the body phase."""
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
            if self._shared.drain.has_begun:  # the client's next request goes elsewhere
                self.cycle.default_headers = [*self.cycle.default_headers, _CLOSE]
            if not waits:
                self._running = self.cycle

    def on_body(self, body: bytes) -> None:
        """Pass a part of a body on."""
        self._delivered = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Leave the body phase."""
        self._in_body = False
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _stop_parsing(self, reason: str) -> None:
        self._refuse(reason)
        raise httptools.HttpParserCallbackError(reason)

    def on_response_complete(self) -> None:
        """Continue with the next pipelined request."""
        if self.pipeline:
            self._running = self.pipeline[-1][0]
        super().on_response_complete()

    # -- Sending -----------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """Count what the client has read, then pause."""
        self._count_taken()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Count what the client has read, then resume."""
        self._count_taken()
        super().resume_writing()

    def _count_taken(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._taken += max(0, self._unsent - unsent)
        self._unsent = unsent

    def _is_taken_too_slowly(self, now: float) -> bool:
        """Return whether the client read too little of the unsent bytes in a whole window."""
        self._count_taken()
        seconds = self._shared.settings.response_timeout
        if self._unsent and now - self._window_began < seconds:
            return False
        least = min(self._window_unsent, int(seconds * MIN_RATE))
        too_slowly = self._unsent > 0 and self._taken < least
        self._window_began, self._window_unsent, self._taken = now, self._unsent, 0
        return too_slowly

    # -- Deadlines ---------------------------------------------------------------------------

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; other phases have deadlines of their own."""
        if not (self._in_head or self._in_body or self._is_answering):
            super().timeout_keep_alive_handler()

    @property
    def _is_answering(self) -> bool:
        newest: RequestResponseCycle | None = self.cycle
        return newest is not None and not newest.response_complete

    def _check_deadlines(self) -> None:
        """Close the connection if its phase has lasted too long."""
        self._timer = self.loop.call_later(self._shared.interval, self._check_deadlines)
        now = self.loop.time()
        if self._is_taken_too_slowly(now):
            self._record("response_unread")
            self._abort()  # also a closing connection with unsent data
        name, seconds = self._current_deadline()
        if self._phase != (name, self._requests):
            self._phase, self._phase_began = (name, self._requests), now
        elif seconds and now - self._phase_began >= seconds:
            self._refuse(name)

    def _current_deadline(self) -> tuple[str, float]:
        """Return the refusal reason of the current phase, and its deadline in seconds (0: none)."""
        settings = self._shared.settings
        if self._is_answering or self.transport.is_closing():
            return "", 0
        if self._in_body:
            return "body_unread", settings.unread_timeout
        if self._in_head:
            return "head_too_slow", settings.head_timeout
        return "", 0

    def _refuse(self, reason: str) -> None:
        """Count, log, respond where possible, and close; once."""
        if self._refused:
            return
        self._record(reason)
        if self.pipeline or (self._is_answering and not self._in_body):
            self.cycle.keep_alive = False  # earlier requests are answered, then it closes
        elif self._is_answering and self.cycle.response_started:
            self._abort()
        else:
            if reason in RESPONSES and not self.transport.is_closing():
                headers = (
                    *self.server_state.default_headers,
                    *response_headers.SECURITY_HEADERS.items(),
                )
                self.transport.write(error_response(reason, headers))
            self._notify_disconnect()
            self.transport.close()

    def _record(self, reason: str) -> None:
        if not self._refused:
            self._shared.refusals.record(
                reason, self.client[0] if self.client else "a local socket"
            )
        self._refused = True

    def _abort(self) -> None:
        """Reset the connection, discarding unsent data here and in the kernel."""
        self._set_option(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._notify_disconnect()
        self.transport.abort()

    def _set_option(self, level: int, option: int, value: int | bytes) -> None:
        with suppress(OSError):  # not on a Unix socket
            self.transport.get_extra_info("socket").setsockopt(level, option, value)

    def _notify_disconnect(self) -> None:
        """Signal the disconnect to the application, before it writes to a closed connection."""
        for cycle in (self._running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
