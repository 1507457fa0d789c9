"""JSON log lines: redacts and encodes entries."""

import json
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from vitals.logging.entries import EVENT_FIELDS, Entry, Fields, KitEntry
from vitals.logging.exception_stacks import as_dicts
from vitals.logging.record_context import TRACE_ID
from vitals.redactor import Redactor

_OURS = frozenset(
    ("timestamp", "level", "logger", "event", "service.name", "exception", "stack_info")
)
"""Names of our own fields: those of the host's with these names get a prefix."""
_TRACE_ID = re.compile("[0-9a-f]{32}")

_encode = msgspec.json.Encoder(enc_hook=str).encode


class JsonLines:
    """Renders entries.

    Args:
        service_name: ``service.name`` of lines outside of a request.
        redactor: Redacts every line.
    """

    def __init__(self, service_name: str, redactor: Redactor) -> None:
        self.service_name = service_name
        self._redactors = [redactor]

    def add_redactor(self, redactor: Redactor) -> None:
        """Redact every line by the rules of one more application."""
        if not redactor.is_default:
            self._redactors.append(redactor)

    def prepare(self, entries: Sequence[Entry | KitEntry]) -> None:
        """Find out together which messages hold no secrets, before their entries are rendered."""
        texts = [entry.content.event for entry in entries if isinstance(entry, Entry)]
        for redactor in self._redactors:
            redactor.learn(texts)

    def render(self, entry: Entry | KitEntry) -> bytes:
        """The line of an entry, without a line break; ASCII, so that any stream takes it."""
        if isinstance(entry, KitEntry):
            line = self._head(entry, logging.getLevelName(entry.level).lower(), entry.event)
            if entry.bound:
                line |= self._redacted(entry.bound)
            line.update(entry.fields)
            return _encode_line(line)
        return self._render(entry)

    def _render(self, entry: Entry) -> bytes:
        line = _line_of(entry)
        trace_id = line.pop(TRACE_ID, "") or entry.trace_id
        if trace_id and not (isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id)):
            line["extra.trace_id"], trace_id = trace_id, ""  # a value of the host's: redacted
        for redactor in self._redactors:
            line = dict(redactor(None, "", line))
        head = self._head(entry, entry.level, line.pop("event"))
        if trace_id:
            head["trace_id"] = trace_id
        if entry.route:
            head["http.route"] = entry.route
        del line["logger"]
        return _encode_line(head | line)

    def _redacted(self, fields: Fields) -> Fields:
        for redactor in self._redactors:
            fields = redactor.fields(fields)
        return {key: fields[key] for key in fields if key not in _OURS}

    def _head(self, entry: Entry | KitEntry, level: str, event: Any) -> Fields:
        return {
            "timestamp": datetime.fromtimestamp(entry.created, UTC),
            "level": level,
            "logger": entry.logger,
            "event": event,
            "service.name": entry.service_name or self.service_name,
        }


def _line_of(entry: Entry) -> Fields:
    """The fields of a line that are redacted."""
    fields, content = entry.fields, entry.content
    event, exception = content.event, content.exception
    rendered: Any = as_dicts(exception) if isinstance(exception, list) else exception
    if content.is_json and (found := _parse(event)):
        event = str(found.pop("event" if "event" in found else "message"))
        rendered = rendered or found.pop("exception", None)
        fields = fields | {key: each for key, each in found.items() if key not in EVENT_FIELDS}
    line: Fields = {f"extra.{key}" if key in _OURS else key: fields[key] for key in fields}
    line |= {"event": event, "logger": entry.logger}
    if rendered is not None:
        line["exception"] = rendered
    if content.stack is not None:
        line["stack_info"] = content.stack
    return line


def _parse(text: str) -> Fields | None:
    """The fields of an event that the host has rendered as JSON; None if it is no such text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and ("event" in found or "message" in found) else None


def _encode_line(line: Fields) -> bytes:
    try:
        written = _encode(line)
        return written if written.isascii() else json.dumps(json.loads(written)).encode()
    except (ValueError, TypeError, OverflowError):  # a lone surrogate, or a large number
        return json.dumps(line, default=str).encode()
