"""Redacts everything that leaves the process except bodies: log events, exceptions, spans.

All outputs share one redactor, so that none reveals what another hides.
"""

import re
import string
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from vitals.db.statements.fingerprint import normalise
from vitals.message_redaction import MessageRedactor
from vitals.redaction.bodies import Redaction
from vitals.redaction.secret_patterns import contain_no_secrets, redact_random_words
from vitals.redaction.sensitive_fields import MASK

Event = dict[str, Any]
Fields = MutableMapping[str, Any]

MAX_DEPTH = 8
"""Most levels of nested containers that are kept."""

_SCALARS = frozenset((int, float, bool, type(None)))
_DIGIT = re.compile(r"\d")
_LONG_NUMBER = 10**12
"""The smallest number that may be a card number."""
_MAX_CACHED_LENGTH, _MAX_CACHED = 200, 1_000
"""Most characters of a text that is cached as harmless, and most such texts."""
_CHECKED_TOGETHER = 100
_ORDINARY = frozenset(" .,-_/()" + string.ascii_letters + string.digits)
"""Characters of texts that are checked together: no sign that assigns or quotes."""
_OWN_FIELDS = frozenset(
    (
        *("timestamp", "level", "logger", "service.name", "trace_id"),
        *("vitals.error.fingerprint", "vitals.error.place", "vitals.error.counted"),
    )
)
"""Fields that the kit's own processors have set."""
_BODY_FIELDS = (
    f"http.{side}.body.{field}"
    for side in ("request", "response")
    for field in ("content", "withheld", "hash")
)
_UNREDACTED = {
    "vitals.db": _OWN_FIELDS
    | {"db.query.text", "db.query.summary", "db.query.fingerprint", "plan", "plan_before"}
    | {"advice", "code.source", "http.route", "relationship", "error.type"},
    "vitals.requests": _OWN_FIELDS | {"http.route", "http.request.method", "error.type"},
    "vitals.body": _OWN_FIELDS | {"http.route", "http.request.method", *_BODY_FIELDS},
}
"""The same for the kit's own loggers, whose fields are redacted already."""
_URL_ATTRIBUTES = frozenset(("url.full", "http.url", "http.target"))
"""Attributes that may hold a query string, which is removed."""
_STATEMENT_ATTRIBUTES = frozenset(("db.query.text", "db.statement"))
_STATEMENT_LOGGERS = ("sqlalchemy.engine", "aiosqlite")
"""Loggers that write statements with their parameters."""


class Redactor:
    """Redacts log events and spans.

    Args:
        redaction: What is redacted; the built-in names and patterns when None.

    Attributes:
        is_default: Whether only the built-in ones are.
    """

    def __init__(self, redaction: Redaction | None = None) -> None:
        self.is_default = redaction is None
        self._redaction = redaction or Redaction()
        self._messages = MessageRedactor(self._redaction)
        self._plain: set[str] = set()
        self._plain_errors: set[str] = set()

    def __call__(self, _logger: Any, _method: str, event: Fields) -> Fields:
        """Redact an event (a structlog processor)."""
        unredacted = _UNREDACTED.get(event.get("logger", ""), _OWN_FIELDS)
        names, plain = self._redaction.names, self._plain
        for key, value in event.items():
            if key in unredacted:
                continue
            kind = type(value)
            if kind is str:
                if value not in plain and not self._is_plain(value):
                    break
            elif kind not in _SCALARS or (kind is int and value >= _LONG_NUMBER):
                break
            name = names[key]
            if name.ordinary:
                continue
            if name.secret or name.redacted != key or names.secret(value):
                break
        else:  # most events hold no secrets
            return event
        return self._redact_event(event, unredacted)

    def _is_plain(self, text: str) -> bool:
        """Whether a short text needs no redaction; cached, because messages recur.

        It saves 80 % of an event without secrets (decision 17).
        """
        if len(text) > _MAX_CACHED_LENGTH or not text.isascii():
            return False
        suspicious = self._redaction.has_patterns or (
            not self._messages.are_ordinary((text,))
            if _DIGIT.search(text)
            else not contain_no_secrets((text,))
        )
        if suspicious and self._messages.log_message(text) != text:
            return False
        if len(self._plain) >= _MAX_CACHED:
            self._plain.clear()
        self._plain.add(text)
        return True

    def learn(self, texts: Sequence[str]) -> None:
        """Remember which texts need no redaction; to check many together saves half a line."""
        if self._redaction.has_patterns:
            return
        for start in range(0, len(texts), _CHECKED_TOGETHER):
            some = texts[start : start + _CHECKED_TOGETHER]
            new = [
                text
                for text in some
                if len(text) <= _MAX_CACHED_LENGTH and _ORDINARY.issuperset(text)
            ]
            if len(new) > 1 and self._messages.are_ordinary(new):
                if len(self._plain) >= _MAX_CACHED:
                    self._plain.clear()
                self._plain.update(new)

    def fields(self, fields: Mapping[str, Any]) -> Event:
        """Redact the fields of an event or the attributes of a span."""
        return self._redact({key: to_plain(value) for key, value in fields.items()})

    def _redact_event(self, event: Fields, unredacted: frozenset[str]) -> Event:
        texts = {"event", "exception", "stack_info"}
        redacted = {key: value for key, value in event.items() if key in unredacted}
        skipped = unredacted | texts
        redacted |= self.fields({k: v for k, v in event.items() if k not in skipped})
        message, exception, stack = (event.get(key) for key in ("event", "exception", "stack_info"))
        if message is not None:
            text = message if isinstance(message, str) else str(message)
            statement = str(event.get("logger", "")).startswith(_STATEMENT_LOGGERS)
            redacted["event"] = self._messages.statement(text) if statement else self.message(text)
        if exception is not None:
            redacted["exception"] = self.exception(exception)
        if stack is not None:
            redacted["stack_info"] = self._messages.traceback(str(stack))
        return redacted

    def message(self, text: str) -> str:
        """Redact a log message."""
        return self._messages.log_message(text)

    def exception(self, exception: Any) -> Any:
        """Redact an exception, as structlog's dictionaries or as a formatted traceback."""
        if isinstance(exception, str):
            return self._messages.traceback(exception)
        if not isinstance(exception, list):
            return MASK
        return [self._stack(each) if isinstance(each, dict) else MASK for each in exception]

    def _stack(self, stack: Event) -> Event:
        stack = dict(stack)
        stack["exc_type"] = redact_random_words(str(stack.get("exc_type", "")))
        stack["exc_value"] = self._error(str(stack.get("exc_value", "")))
        stack["exc_notes"] = [self._error(str(note)) for note in stack.get("exc_notes") or ()]
        stack["exceptions"] = [self.exception(each) for each in stack.get("exceptions") or ()]
        if stack.get("syntax_error"):  # it quotes the parsed text
            stack["syntax_error"] = {**stack["syntax_error"], "line": MASK, "msg": MASK}
        return stack

    def _error(self, text: str) -> str:
        """Redact an exception's text; those without secrets are cached, because errors recur."""
        if text in self._plain_errors:
            return text
        redacted = self._messages.error(text)
        if redacted == text and len(text) <= _MAX_CACHED_LENGTH:
            if len(self._plain_errors) >= _MAX_CACHED:
                self._plain_errors.clear()
            self._plain_errors.add(text)
        return redacted

    def attributes(self, attributes: Mapping[str, Any]) -> Event:
        """Redact the attributes of a span or span event."""
        redacted = self.fields(attributes)
        for key, value in attributes.items():
            if isinstance(value, list | tuple):
                redacted[key] = _without_random_words(redacted.get(key))
            if not isinstance(value, str):
                continue
            if key in _URL_ATTRIBUTES:
                redacted[key] = self._redaction.text(value.partition("?")[0])
            elif key == "exception.stacktrace":
                redacted[key] = self._messages.traceback(value)
            elif key == "exception.message":
                redacted[key] = self._messages.error(value)
            elif key in _STATEMENT_ATTRIBUTES:
                redacted[key] = redact_random_words(normalise(value))
            elif isinstance(redacted.get(key), str):
                redacted[key] = redact_random_words(redacted[key])
        return redacted

    def status(self, text: str) -> str:
        """Redact the description of a span's status: an exception's text, often after its name."""
        return self._messages.traceback(text)

    def _redact(self, fields: Event) -> Event:
        redacted: Event = self._redaction.value(fields)
        return redacted


def _without_random_words(values: Any) -> Any:
    """An attribute of several values; none that was redacted as a whole."""
    if not isinstance(values, list):
        return values
    return [redact_random_words(each) if isinstance(each, str) else each for each in values]


def to_plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A copy of a value in JSON types; other types are converted by ``str``."""
    kind = type(value)
    if kind is str or kind in _SCALARS or (isinstance(value, int | float)):
        return value
    if isinstance(value, Mapping):
        if not depth:
            return MASK
        return {str(key): to_plain(each, depth - 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(each, depth - 1) for each in value] if depth else MASK
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode(errors="replace")
    return str(value)
