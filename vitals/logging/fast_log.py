"""Fast path for the kit's frequent log events: bypasses structlog and the standard library.

A line takes structlog and the standard library 30 µs, of which encoding JSON is 2 µs. While the
configuration of `vitals.logging.setup.configure` is unchanged and no other handler or filter is
attached, the result is the same; otherwise events take the normal path.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from vitals.logging.log_handler import QueueLogHandler

Event = dict[str, Any]

_encode = msgspec.json.Encoder(enc_hook=str).encode


class FastLogger:
    """Writes log events of one logger on the fast path.

    Args:
        name: The logger's name.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)
        self._log = structlog.stdlib.get_logger(name)

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
            line["timestamp"] = datetime.now(UTC)
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
    return written.decode() if written.isascii() else json.dumps(json.loads(written))
