"""Fast path for the kit's frequent log events: bypasses structlog and the standard library.

A line takes structlog and the standard library 30 µs, of which encoding JSON is 2 µs. While the
configuration of `vitals.logging.setup.configure` is unchanged and no other handler or filter is
attached, the result is the same; otherwise events take the normal path.
"""

import json
import logging
from datetime import UTC, datetime
from time import time_ns
from typing import Any

import msgspec
import structlog

from vitals.logging.log_handler import QueueLogHandler

Event = dict[str, Any]

_encode = msgspec.json.Encoder(enc_hook=str).encode


class _Timestamps:
    """Formats timestamps in ISO 8601; the part down to the second is cached for a second."""

    def __init__(self) -> None:
        self._cached = (0, "")

    def now(self) -> str:
        """The current time, in UTC."""
        second, nanoseconds = divmod(time_ns(), 1_000_000_000)
        cached = self._cached
        if second != cached[0]:
            moment = datetime.fromtimestamp(second, UTC).replace(tzinfo=None)
            cached = self._cached = (second, moment.isoformat())
        return f"{cached[1]}.{nanoseconds // 1000:06d}Z"


class FastLogger:
    """Writes log events of one logger on the fast path.

    Args:
        name: The logger's name.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._log = structlog.stdlib.get_logger(name)
        self._clock = _Timestamps()

    def info(self, event: str, fields: Event) -> None:
        """Log an event; the fields include what structlog's processors would add of a request."""
        handler = self._sole_handler()
        if handler is None:
            self._log.info(event, **fields)
        elif self._logger.isEnabledFor(logging.INFO):
            line = structlog.contextvars.get_contextvars()
            if line:
                line = handler.redactor.fields(line)
            line.update(fields)
            line.update(handler.static_fields)
            line["event"] = event
            line["level"] = "info"
            line["logger"] = self._logger.name
            line["timestamp"] = self._clock.now()
            handler.put(_encode_line(line))

    def _sole_handler(self) -> QueueLogHandler | None:
        """The queue handler, if the logger's events reach it, it alone, and unchanged."""
        found: list[logging.Handler] = []
        logger: logging.Logger | None = self._logger
        while logger is not None:
            found += logger.handlers
            logger = logger.parent if logger.propagate else None
        if len(found) != 1 or self._logger.filters or found[0].filters:
            return None
        (only,) = found
        configured = structlog.get_config()["processors"]
        if not isinstance(only, QueueLogHandler) or only.processors is not configured:
            return None
        return only


def _encode_line(line: Event) -> str:
    written = _encode(line)
    # The application chooses the stream's encoding; all encodings include ASCII.
    return written.decode() if written.isascii() else json.dumps(line, default=str)
