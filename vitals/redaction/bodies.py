"""Redacts bodies: by field names, and by patterns of secrets in values.

In an object that *names* a secret in a sibling field, as validation errors do that quote the input,
all values are redacted.
"""

import html
import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
import re2

from vitals.asgi.content_type import BodyKind
from vitals.json_decoding import decode
from vitals.redaction.secret_patterns import (
    CARD_DIGITS,
    TIMESTAMP,
    TOKEN_LENGTH,
    contain_no_secrets,
    may_state_secret,
    redact_authorization,
    redact_patterns,
    redact_ssn,
)
from vitals.redaction.sensitive_fields import MASK, SensitiveFields
from vitals.redaction.xml import redact_elements

_MIN_SECRET_LENGTH = 6
_MAX_SECRETS = 50
_MAX_MATCHES = 100
"""Most matches of a custom pattern that are masked one by one; beyond, the text is masked."""
_SHORT = CARD_DIGITS.start
_PLAIN_NUMBER = 10 ** (_SHORT - 1)
_LONG_NUMBER = 10.0 ** (CARD_DIGITS.stop - 1)
_PAIR = 2
_MAX_LAYERS = 3
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_OPENING = frozenset('{["')

_encode = msgspec.json.Encoder().encode


class Redaction:
    """Redacts secrets in bodies and other values.

    Args:
        names: Additional sensitive names; fields whose name contains one are masked.
        patterns: Additional regular expressions in RE2 syntax; their matches in any value are
            masked.
        harmless: Names that are kept although they match a sensitive name.

    Raises:
        ValueError: A name has neither letters nor digits, or a pattern is not valid in RE2, which
            has no look-arounds and back-references, and therefore linear time.
    """

    def __init__(
        self,
        names: Collection[str] = (),
        patterns: Iterable[str] = (),
        harmless: Collection[str] = (),
    ) -> None:
        self._names = SensitiveFields(names, harmless, self.text)
        self._patterns = [_compile(pattern) for pattern in patterns]

    def body(self, content: bytes, kind: BodyKind, secrets: set[str] | None = None) -> str | None:
        """Redact a body; None if it is not of its declared kind.

        Args:
            content: The entire body.
            kind: Its declared kind.
            secrets: Known secret values, masked everywhere; values found under a sensitive name
                are added. A response may repeat those of the request.
        """
        secrets = set() if secrets is None else secrets
        try:
            if kind is BodyKind.JSON:
                text = self._json(content, secrets)
            elif kind is BodyKind.FORM:
                text = self._form(content.decode(), secrets)
            else:
                text = self.text(content.decode())
        except (ValueError, RecursionError):
            return None
        # The longest first, or the rest of a longer secret would remain.
        for secret in sorted(secrets, key=len, reverse=True) if len(secrets) > 1 else secrets:
            text = _mask_occurrences(text, secret)
        return text

    def _redact_inner_json(self, text: str, secrets: set[str] | None) -> str | None:
        """Redact JSON in a string; callers that pass ``secrets`` mask them in the entire body."""
        try:
            if secrets is None:
                return self.body(text.encode(), BodyKind.JSON)
            return self._json(text.encode(), secrets)
        except (ValueError, RecursionError):
            return None

    def _json(self, content: bytes, secrets: set[str]) -> str:
        return _encode(self._redact_value(decode(content), secrets)).decode()

    def text(self, text: str, secrets: set[str] | None = None) -> str:
        """Redact a string, whatever it holds: an address, a URL, JSON."""
        length = len(text)
        # Fast path for most strings: numbers, dates and words.
        if length < _SHORT and text.replace("-", "").isalnum() and text.isascii():
            if "-" in text:
                text = redact_ssn(text)
        elif length < TOKEN_LENGTH and text.isascii() and text.replace(" ", "").isalpha():
            if " " in text:
                text = self._redact_stated(text, text.lower())
        else:
            text = self._redact_layers(text, secrets)
        for pattern in self._patterns:
            text, matches = pattern.subn(MASK, text, _MAX_MATCHES)
            if matches == _MAX_MATCHES:
                return MASK
        return text

    def _redact_layers(self, text: str, secrets: set[str] | None) -> str:
        """Redact a text and its decoded forms; the text is decoded only if a secret is found."""
        redacted = current = self._redact_once(text, secrets)
        for _ in range(_MAX_LAYERS):
            decoded = _decode_layer(current)
            if decoded == current:
                break
            current = self._redact_once(decoded, secrets)
            if current != decoded:
                redacted = current
        return redacted

    def _redact_once(self, text: str, secrets: set[str] | None) -> str:
        if text[:1] in _OPENING:
            inner = self._redact_inner_json(text, secrets)
            if inner is not None:
                return inner
        if "<" in text:
            text = redact_elements(text, self._names)
        if (":" in text or "=" in text) and not TIMESTAMP.fullmatch(text):
            text = self._names.redact_assignments(text)
        text = redact_patterns(text)
        return self._redact_stated(text, text.lower())

    def prose(self, text: str) -> str:
        """Redact prose, where a value may follow a sensitive name without a sign."""
        return self.text(self._names.redact_following_values(text))

    def value(self, value: Any) -> Any:
        """Redact a decoded value; containers are changed in place."""
        return self._redact_value(value, set())

    @property
    def names(self) -> SensitiveFields:
        """Classifies field names."""
        return self._names

    @property
    def has_patterns(self) -> bool:
        """Whether there are custom patterns."""
        return bool(self._patterns)

    def _redact_stated(self, text: str, lower: str) -> str:
        """Redact secrets that a text states in words."""
        if may_state_secret(lower):
            text = self._names.redact_assignments(text)
        return redact_authorization(text, lower)

    def _redact_value(self, value: Any, secrets: set[str]) -> Any:
        """Redact a decoded value; containers are changed in place."""
        whole = [value]
        texts = self._redact_named(whole, secrets)
        # Check all texts together; one by one only if that fails.
        if texts and (self._patterns or not contain_no_secrets(texts)):
            self._redact_patterns_in(whole, secrets)
        return whole[0]

    # One loop, because calls would dominate its time.
    def _redact_named(self, whole: list[Any], secrets: set[str]) -> list[str]:  # noqa: C901
        """Mask values under sensitive names; returns the remaining texts."""
        texts, ordinary = [], self._names.ordinary
        containers: list[Any] = [whole]
        for container in containers:  # nested containers are appended meanwhile
            if type(container) is dict:
                if not ordinary.issuperset(container):
                    self._redact_members(container, secrets)
                values = container.values()
            else:
                if len(container) == _PAIR and self._names_secret(container[0]):
                    self._redact_pair(container, secrets)
                values = container
            for value in values:
                kind = type(value)
                if kind is str:
                    if value is not MASK:
                        texts.append(value)
                elif kind is int or kind is float:
                    if not -_PLAIN_NUMBER < value < _PLAIN_NUMBER and _may_be_card(value):
                        texts.append(_as_text(value))
                elif kind is dict or kind is list:
                    containers.append(value)
        return texts

    def _redact_pair(self, pair: list[Any], secrets: set[str]) -> None:
        if not self._names_secret(pair[1]):  # otherwise it may be a list of names
            _collect_secrets(pair[1], secrets)
        pair[1] = MASK

    def _redact_members(self, members: dict[str, Any], secrets: set[str]) -> None:
        names, ordinary = self._names, self._names.ordinary
        names_secret = types_secret = renamed = False
        for key, value in members.items():
            if key in ordinary:
                continue
            name = names[key]
            if name.secret:
                if value is not None and type(value) is not bool:
                    _collect_secrets(value, secrets)
                    members[key] = MASK
            elif name.holds_name and not names_secret:
                names_secret = self._names_secret(value)
            elif name.holds_type and not types_secret:
                types_secret = self._names_secret(value)
            if name.redacted != key:
                renamed = True
        if names_secret or types_secret or renamed:
            self._redact_siblings(
                members, secrets, names_secret=names_secret, types_secret=types_secret
            )

    def _redact_siblings(
        self, members: dict[str, Any], secrets: set[str], *, names_secret: bool, types_secret: bool
    ) -> None:
        redacted = [(self._names[key], value) for key, value in members.items()]
        members.clear()
        for name, value in redacted:
            redact = (names_secret and not (name.holds_name or name.always_kept)) or (
                types_secret and name.holds_value
            )
            if redact and name.holds_value:
                _collect_secrets(value, secrets)
            members[name.redacted] = MASK if redact else value

    def _redact_patterns_in(self, container: Any, secrets: set[str]) -> None:
        """Mask values that match a pattern of a secret."""
        items = container.items() if type(container) is dict else enumerate(container)
        for key, value in items:
            kind = type(value)
            if kind is str:
                if value is not MASK:
                    container[key] = self.text(value, secrets)
            elif kind is dict or kind is list:
                self._redact_patterns_in(value, secrets)
            elif (kind is int or kind is float) and _may_be_card(value):
                digits = _as_text(value)
                redact_number = self.text if self._patterns else redact_patterns
                if redact_number(digits) != digits:
                    container[key] = MASK

    def _names_secret(self, value: Any) -> bool:
        if type(value) is list:
            return any(self._names_secret(each) for each in value)
        return self._names.secret(value)

    def _form(self, text: str, secrets: set[str]) -> str:
        redacted = []
        pairs = parse_qsl(text, keep_blank_values=True)
        names_secret = any(
            self._names_secret(value)
            for key, value in pairs
            if (name := self._names[key]).holds_name or name.holds_type
        )
        for key, value in pairs:
            name = self._names[key]
            if name.secret or (names_secret and name.holds_value):
                _collect_secrets(value, secrets)
                # A name without a value may be name and value joined.
                redacted.append(f"{name.redacted if value else MASK}={MASK}")
            else:
                redacted.append(f"{name.redacted}={self.text(value, secrets)}")
        return "&".join(redacted)


def _may_be_card(number: float) -> bool:
    """Whether a number has as many digits as a card number, or is a longer integer."""
    size = abs(number)
    return size >= _PLAIN_NUMBER and (size < _LONG_NUMBER or type(number) is int)


def _decode_layer(text: str) -> str:
    """Decode full-width letters, percent encoding, and character references, one layer."""
    if "\\u" in text:
        text = _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if "%" in text:
        text = unquote(text)
    return html.unescape(text) if "&" in text else text


def _as_text(number: float) -> str:
    return f"{number:.0f}" if type(number) is float else str(number)


def _mask_occurrences(text: str, secret: str) -> str:
    if secret.isalnum():
        return text.replace(secret, MASK)
    # JSON may be nested in a JSON string, where escapes are escaped again.
    forms = [secret]
    while len(forms[-1]) < len(text):
        escaped = _encode(forms[-1])[1:-1].decode()
        if escaped == forms[-1]:
            break
        forms.append(escaped)
    for form in reversed(forms):
        text = text.replace(form, MASK)
    return text


def _collect_secrets(value: Any, secrets: set[str]) -> None:
    """Add the texts of a secret value, if they are long enough to be distinctive."""
    kind = type(value)
    if kind is str or kind is int:
        value = str(value)
        if len(value) >= _MIN_SECRET_LENGTH and len(secrets) < _MAX_SECRETS and value not in MASK:
            secrets.add(value)
    elif kind is dict or kind is list:
        for each in value.values() if kind is dict else value:
            _collect_secrets(each, secrets)


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"RE2 cannot read the pattern {pattern!r}: {error}") from None
