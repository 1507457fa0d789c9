"""What an entry says after redaction, for whatever it is written as."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from vitals.logging.entries import EVENT_FIELDS, Content, Entry, Fields, KitEntry
from vitals.logging.exception_stacks import as_dicts
from vitals.logging.record_context import TRACE_ID
from vitals.redactor import Redactor

OURS = frozenset(
    ("timestamp", "level", "logger", "event", "service.name", "exception", "stack_info")
)
"""Names of our own fields: those of the host's with these names get a prefix."""
_NO_MORE = Content("")[1:]
"""What is kept of a record of which only the message is."""
_TRACE_ID = re.compile("[0-9a-f]{32}")


class Redacted(NamedTuple):
    """An entry without its secrets.

    Attributes:
        event: The message.
        trace_id: Of its request; empty outside of one.
        fields: Its further fields; ``exception`` is a list of structlog's dictionaries, or a text.
    """

    event: Any
    trace_id: str
    fields: Fields


class EntryRedactor:
    """Redacts entries, by the rules of every application of the process.

    Args:
        redactor: Redacts every entry.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactors = [redactor]

    def add(self, redactor: Redactor) -> None:
        """Redact every entry by the rules of one more application."""
        if not redactor.is_default:
            self._redactors.append(redactor)

    def prepare(self, entries: Sequence[Entry | KitEntry]) -> None:
        """Find out together which messages hold no secrets, before their entries are redacted."""
        texts = [entry.content.event for entry in entries if isinstance(entry, Entry)]
        with suppress(Exception):  # it only saves time: what is not learnt is checked one by one
            for redactor in self._redactors:
                redactor.learn(texts)

    def __call__(self, entry: Entry) -> Redacted:
        """Redact an entry."""
        if (plain := self._plain(entry)) is not None:
            return plain
        line = _line_of(entry)
        trace_id = line.pop(TRACE_ID, "") or entry.trace_id
        if trace_id and not (isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id)):
            line["extra.trace_id"], trace_id = trace_id, ""  # a value of the host's: redacted
        exception = line.pop("exception", None)  # beside the rest, which seldom holds secrets
        for redactor in self._redactors:
            line = dict(redactor(None, "", line))
            exception = None if exception is None else redactor.exception(exception)
        if exception is not None:
            line["exception"] = exception
        del line["logger"]
        return Redacted(line.pop("event"), trace_id, line)

    def _plain(self, entry: Entry) -> Redacted | None:
        """An entry of nothing but a message that is known to hold no secrets; None for others."""
        content, trace_id = entry.content, entry.trace_id
        if entry.fields or content[1:] != _NO_MORE:
            return None
        if trace_id and not (isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id)):
            return None
        if not all(redactor.is_known_plain(content.event) for redactor in self._redactors):
            return None
        return Redacted(content.event, trace_id, {})

    def fields(self, fields: Fields) -> Fields:
        """Redact further fields; those with names of ours are left out."""
        for redactor in self._redactors:
            fields = redactor.fields(fields)
        return {key: fields[key] for key in fields if key not in OURS}


def _line_of(entry: Entry) -> Fields:
    """The fields of a line that are redacted."""
    fields, content = entry.fields, entry.content
    event, exception = content.event, content.exception
    rendered: Any = as_dicts(exception) if isinstance(exception, list) else exception
    if content.is_json and (found := _parse(event)):
        event = str(found.pop("event" if "event" in found else "message"))
        rendered = rendered or found.pop("exception", None)
        fields = fields | {key: each for key, each in found.items() if key not in EVENT_FIELDS}
    line: Fields = {f"extra.{key}" if key in OURS else key: fields[key] for key in fields}
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
