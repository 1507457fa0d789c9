"""Log handler that writes JSON lines in place of a handler of the host, by that one's rules.

The replaced handler decides by its level and its filters, which may also change the record, as
long as the host keeps it: a change to either handler applies to both. Where its class has an
``emit`` of its own, that is called, once for each record: it may do more than write.
"""

import copy
import logging
import threading
from collections.abc import Callable, Mapping
from time import time
from typing import Any

from vitals.log_events import OnDrop
from vitals.logging import active_export, record_context
from vitals.logging.emitted_text import Emission, emit_apart, has_own_emit
from vitals.logging.entries import (
    Entry,
    KitEntry,
    bound_by_structlog,
    entry_of_record,
    without_colours,
)
from vitals.logging.line_writer import LineWriter

_PLAIN_FORMATTERS = frozenset(
    (
        "builtins.NoneType",
        "logging.Formatter",
        "uvicorn.logging.ColourizedFormatter",
        "uvicorn.logging.DefaultFormatter",
        "uvicorn.logging.AccessFormatter",
    )
)
"""Formatters that change nothing of a message but its colours."""
_PROCESSOR_FORMATTER = "structlog.stdlib.ProcessorFormatter"

_TRACEBACK = "\nTraceback (most recent call last):\n"
"""How the traceback begins that a formatter adds to a message."""

Say = Callable[[logging.LogRecord], str | None]


class JsonHandler(logging.Handler):
    """Queues a JSON line for each record.

    Args:
        writer: Writes the lines.
        on_drop: Called with the reason for each record that is lost.
        replaced: The host's handler that it replaces; None for an additional one.
    """

    def __init__(
        self,
        writer: LineWriter[Entry | KitEntry],
        on_drop: OnDrop,
        replaced: logging.Handler | None = None,
    ) -> None:
        self.writer = writer
        self.replaced = replaced
        self._rules = replaced or logging.NullHandler()
        self._on_drop = on_drop
        self._formatter: Any = self  # none of the host's
        self._say: Say | None = None
        super().__init__(self._rules.level)
        self.filters = self._rules.filters

    @property
    def level(self) -> int:
        """The replaced handler's level."""
        return self._rules.level

    @level.setter
    def level(self, level: int) -> None:
        self._rules.level = level

    def __eq__(self, other: object) -> bool:
        """Whether it is the same, or the one it replaces: the host may remove that."""
        return other is self or (other is not None and other is self.replaced)

    def __hash__(self) -> int:
        return object.__hash__(self)

    def createLock(self) -> None:  # noqa: N802  # logging's name
        """Need no lock: the queue has one."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Queue a record, if the replaced handler would write it."""
        accepted: Any = self._rules.filter(record)
        if not accepted:
            return False
        # Since Python 3.12 a filter may return another record.
        known = (id(record), record.created)  # the logged one, which all handlers get
        self._queue(accepted if isinstance(accepted, logging.LogRecord) else record, known)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record once, whichever loggers' handlers it passes; never raises."""
        self._queue(record, (id(record), record.created))

    def _queue(self, record: logging.LogRecord, written: tuple[int, float]) -> None:
        is_written = getattr(_LAST, "written", None) == written
        _LAST.written = written
        try:
            text = self._text(record, is_written=is_written)
            if is_written:
                return
            entry = entry_of_record(record, text)
            _LAST.entry = None if active_export.current is None else entry
            self.writer.put(entry, entry.size)
        except Exception:  # noqa: BLE001  # a record that cannot be formatted must not raise into the caller
            if not is_written:
                _LAST.entry = LOST
            self._on_drop("log_format")

    def _text(self, record: logging.LogRecord, *, is_written: bool) -> str | None:
        """What the replaced handler makes of a message; None for the message itself."""
        say, replaced = self.speaker(), self.replaced
        if replaced is not None and has_own_emit(replaced):
            return message_of(replaced, say, record, emit_apart(replaced, record))
        return None if is_written or say is None else say(record)

    def write_event(
        self, logger: str, level: int, event: str, fields: Mapping[str, Any], service_name: str
    ) -> bool:
        """Queue an event of the kit, unless the host's rules need a record of it."""
        rules = self._rules
        if rules.filters or level < rules.level or self.speaker() is not None:
            return False
        if has_own_emit(rules):
            return False
        if type(rules).filter is not logging.Handler.filter or record_context.has_inner():
            return False
        bound = bound_by_structlog()
        entry = KitEntry(time(), level, logger, event, fields, bound, service_name)
        self.writer.put(entry, entry.size)
        if active_export.current is not None:
            active_export.current.put(entry)
        return True

    def speaker(self) -> Say | None:
        """How the replaced handler formats a message; None if it changes nothing of it."""
        rules = self._rules
        if rules.formatter is not self._formatter:
            self._formatter, self._say = rules.formatter, speaker_of(rules)
        return self._say

    def flush(self) -> None:
        """Wait until the queue has been written, for a limited time."""
        self.writer.flush()

    def close(self) -> None:
        """Write the queue. ``logging.config`` closes every handler, also those that stay in use."""
        self.flush()
        super().close()


_LAST = threading.local()
"""The record that each thread has written last; not the object, which holds what it logged."""


LOST = object()
"""Stands for what was kept of a record that could not be formatted, and was counted."""


def last_entry(record: logging.LogRecord) -> Any:
    """What was kept of a record that this thread has just queued: an entry, or `LOST`.

    Returns:
        None of any other record.
    """
    if getattr(_LAST, "written", None) != (id(record), record.created):
        return None
    entry = getattr(_LAST, "entry", None)
    _LAST.entry = None
    return entry


def speaker_of(handler: logging.Handler) -> Say | None:
    """How a handler formats a message; None if it changes nothing of it.

    A formatter of the host's, or a handler's ``format``, may mask secrets.
    """
    formatter = handler.formatter
    kind = type(formatter)
    name = f"{kind.__module__}.{kind.__qualname__}"
    formats_itself = type(handler).format is not logging.Handler.format
    if name == _PROCESSOR_FORMATTER:
        from vitals.logging.structlog_output import rendering_json  # noqa: PLC0415  # optional

        formatter = rendering_json(formatter)  # type: ignore[arg-type]
    elif name in _PLAIN_FORMATTERS and not formats_itself:
        return None
    elif isinstance(formatter, logging.Formatter):
        formatter = copy.copy(formatter)
        formatter._style = logging.PercentStyle("%(message)s")  # noqa: SLF001  # of the copy
        formatter._fmt = "%(message)s"  # noqa: SLF001
    elif formatter is None:
        formatter = logging.Formatter()

    def say(record: logging.LogRecord) -> str | None:
        plain = copy.copy(record)
        plain.exc_info = plain.exc_text = plain.stack_info = None
        if formats_itself:
            speaker = copy.copy(handler)
            speaker.formatter = formatter
            text = speaker.format(plain)
        else:
            text = formatter.format(plain)
        # A formatter may insist on its own format: the message is in it, unless it was masked.
        if not text.startswith("{") and record.getMessage() in text:
            return None
        return without_colours(text)

    return say


def message_of(
    handler: logging.Handler, say: Say | None, record: logging.LogRecord, emission: Emission
) -> str | None:
    """The message in what a handler has written, which may mask by its ``emit``.

    Args:
        handler: The handler.
        say: How it formats a message.
        record: The record.
        emission: What it has written of the record.

    Returns:
        None for the message as it is.

    Raises:
        ValueError: The handler cannot write the record, or it is not known what it has written.
    """
    if emission.has_failed:
        raise ValueError("the host's handler cannot write the record")
    text = emission.text
    formatted = handler.format(record)
    if not text or text == formatted:  # as its formatter words it
        return None if say is None else say(record)
    message = record.getMessage()
    if not text.startswith("{") and message in text:
        return None
    before, found, after = formatted.partition(message)
    if found and text.startswith(before):
        text = text[len(before) :]
        text = text.removesuffix(after) if after else text
    return without_colours(text.partition(_TRACEBACK)[0])
