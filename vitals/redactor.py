"""What leaves the process beside bodies, without secrets: log events, exceptions, spans.

All ways out pass here, so that what one of them hides no other shows.
"""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from vitals.db.statements.fingerprint import normalise
from vitals.message_redaction import Messages
from vitals.redaction.bodies import Redaction
from vitals.redaction.secret_patterns import are_plain, without_random
from vitals.redaction.sensitive_fields import MASK

Event = dict[str, Any]
Fields = MutableMapping[str, Any]

DEEP = 8
"""Containers within each other that are told."""

_SCALARS = frozenset((int, float, bool, type(None)))
_DIGIT = re.compile(r"\d")
_LONG_NUMBER = 10**12
"""The least that might be a card's number."""
_SHORT, _REMEMBERED = 200, 1_000
"""Characters of a text that is remembered as plain, and how many such texts are."""
_OURS = frozenset(("timestamp", "level", "logger", "service.name", "trace_id"))
"""Fields that hold what the kit's own processors have put there."""
_BODIES = (
    f"http.{side}.body.{field}"
    for side in ("request", "response")
    for field in ("content", "withheld", "hash")
)
_KEPT = {
    "vitals.db": _OURS
    | {"db.query.text", "db.query.summary", "db.query.fingerprint", "plan", "plan_before"}
    | {"advice", "code.source", "http.route", "relationship", "error.type"},
    "vitals.requests": _OURS | {"http.route", "http.request.method", "error.type"},
    "vitals.body": _OURS | {"http.route", "http.request.method", *_BODIES},
}
"""The same by the kit's own loggers, whose fields are without values already."""
_ADDRESSES = frozenset(("url.full", "http.url", "http.target"))
"""Attributes that may hold a query string, which is not told."""
_STATEMENTS = frozenset(("db.query.text", "db.statement"))
_LIBRARIES = ("sqlalchemy.engine", "aiosqlite")
"""Loggers that write statements with their values."""


class Redactor:
    """Takes secrets out of events and spans.

    Args:
        redaction: What is a secret.
    """

    def __init__(self, redaction: Redaction | None = None) -> None:
        self._redaction = redaction or Redaction()
        self._messages = Messages(self._redaction)
        self._plain: set[str] = set()

    def __call__(self, _logger: Any, _method: str, event: Fields) -> Fields:
        """An event as it may be written (a structlog processor)."""
        kept = _KEPT.get(event.get("logger", ""), _OURS)
        names, plain = self._redaction.names, self._plain
        for key, value in event.items():
            if key in kept:
                continue
            kind = type(value)
            if kind is str:
                if value not in plain and not self._is_plain(value):
                    break
            elif kind not in _SCALARS or (kind is int and value >= _LONG_NUMBER):
                break
            name = names[key]
            if not name.ordinary and (name.secret or name.shown != key or names.secret(value)):
                break
        else:  # most events hold nothing to take out
            return event
        return self._without_secrets(event, kept)

    def _is_plain(self, text: str) -> bool:
        """Whether a short text stays as it is; what does is remembered, as messages come again."""
        if len(text) > _SHORT or not text.isascii():
            return False
        doubtful = self._redaction.has_patterns or _DIGIT.search(text) or not are_plain((text,))
        if doubtful and self._messages.logged(text) != text:
            return False
        if len(self._plain) >= _REMEMBERED:
            self._plain.clear()
        self._plain.add(text)
        return True

    def fields(self, fields: Mapping[str, Any]) -> Event:
        """Fields of an event, or attributes of a span, as they may be told."""
        return self._hide({key: _plain(value, DEEP) for key, value in fields.items()})

    def _without_secrets(self, event: Fields, kept: frozenset[str]) -> Event:
        apart = {"event", "exception", "stack_info"}
        told = {key: value for key, value in event.items() if key in kept}
        told |= self.fields({k: v for k, v in event.items() if k not in kept and k not in apart})
        said, exception, stack = (event.get(key) for key in ("event", "exception", "stack_info"))
        if said is not None:
            text = said if isinstance(said, str) else str(said)
            statement = str(event.get("logger", "")).startswith(_LIBRARIES)
            told["event"] = self._messages.statement(text) if statement else self.message(text)
        if exception is not None:
            told["exception"] = self._exception(exception)
        if stack is not None:
            told["stack_info"] = self._messages.traceback(str(stack))
        return told

    def message(self, text: str) -> str:
        """A log message as it may be told."""
        return self._messages.logged(text)

    def _exception(self, told: Any) -> Any:
        """An exception as structlog's transformer describes it, or as a formatted traceback."""
        if isinstance(told, str):
            return self._messages.traceback(told)
        if not isinstance(told, list):
            return MASK
        return [self._stack(each) if isinstance(each, dict) else MASK for each in told]

    def _stack(self, stack: Event) -> Event:
        stack = dict(stack)
        stack["exc_type"] = without_random(str(stack.get("exc_type", "")))
        stack["exc_value"] = self._messages.error(str(stack.get("exc_value", "")))
        stack["exc_notes"] = [self._messages.error(str(n)) for n in stack.get("exc_notes") or ()]
        stack["exceptions"] = [self._exception(each) for each in stack.get("exceptions") or ()]
        if stack.get("syntax_error"):  # of a text that was parsed
            stack["syntax_error"] = {**stack["syntax_error"], "line": MASK, "msg": MASK}
        return stack

    def attributes(self, attributes: Mapping[str, Any]) -> Event:
        """Attributes of a span or of one of its events."""
        told = self.fields(attributes)
        for key, value in attributes.items():
            if not isinstance(value, str):
                continue
            if key in _ADDRESSES:
                told[key] = self._redaction.text(value.partition("?")[0])
            elif key == "exception.stacktrace":
                told[key] = self._messages.traceback(value)
            elif key == "exception.message":
                told[key] = self._messages.error(value)
            elif key in _STATEMENTS:
                told[key] = without_random(normalise(value))
            elif isinstance(told.get(key), str):
                told[key] = without_random(told[key])
        return told

    def status(self, text: str) -> str:
        """The description of a span's status: what an exception says, often after its name."""
        return self._messages.traceback(text)

    def _hide(self, fields: Event) -> Event:
        hidden: Event = self._redaction.value(fields)
        return hidden


def _plain(value: Any, deep: int) -> Any:
    """A copy of a value, of what JSON knows; of anything else what it says of itself."""
    kind = type(value)
    if kind is str or kind in _SCALARS or (isinstance(value, int | float)):
        return value
    if isinstance(value, Mapping):
        if not deep:
            return MASK
        return {str(key): _plain(each, deep - 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, deep - 1) for each in value] if deep else MASK
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode(errors="replace")
    return str(value)
