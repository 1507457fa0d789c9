"""JSON log lines: redacts and encodes entries."""

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from vitals.logging.entries import Entry, Fields, KitEntry
from vitals.logging.redacted_entries import EntryRedactor
from vitals.redactor import Redactor

_encode = msgspec.json.Encoder(enc_hook=str).encode


class JsonLines:
    """Renders entries.

    Args:
        service_name: ``service.name`` of lines outside of a request.
        redactor: Redacts every line.
    """

    def __init__(self, service_name: str, redactor: Redactor) -> None:
        self.service_name = service_name
        self._redact = EntryRedactor(redactor)

    def add_redactor(self, redactor: Redactor) -> None:
        """Redact every line by the rules of one more application."""
        self._redact.add(redactor)

    def prepare(self, entries: Sequence[Entry | KitEntry]) -> None:
        """Find out together which messages hold no secrets, before their entries are rendered."""
        self._redact.prepare(entries)

    def render(self, entry: Entry | KitEntry) -> bytes:
        """The line of an entry, without a line break; ASCII, so that any stream takes it."""
        if isinstance(entry, KitEntry):
            line = self._head(entry, logging.getLevelName(entry.level).lower(), entry.event)
            if entry.bound:
                line |= self._redact.fields(entry.bound)
            line.update(entry.fields)
            return _encode_line(line)
        event, trace_id, fields = self._redact(entry)
        line = self._head(entry, entry.level, event)
        if trace_id:
            line["trace_id"] = trace_id
        if entry.route:
            line["http.route"] = entry.route
        line.update(fields)
        return _encode_line(line)

    def _head(self, entry: Entry | KitEntry, level: str, event: Any) -> Fields:
        return {
            "timestamp": datetime.fromtimestamp(entry.created, UTC),
            "level": level,
            "logger": entry.logger,
            "event": event,
            "service.name": entry.service_name or self.service_name,
        }


def _encode_line(line: Fields) -> bytes:
    try:
        written = _encode(line)
        return written if written.isascii() else json.dumps(json.loads(written)).encode()
    except (ValueError, TypeError, OverflowError):  # a lone surrogate, or a large number
        return json.dumps(line, default=str).encode()
