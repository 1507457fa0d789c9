"""Takes secrets out of bodies: by the names of members, and by what values look like.

Where an object only *names* a secret beside its value, as validation errors do that quote the
input, all of its values go.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from vitals.bodies.looks import CARD_DIGITS, TOKEN_LENGTH, without_bearer, without_lookalikes
from vitals.bodies.names import MASK, Names
from vitals.media import Kind

_SECRET_LENGTH = 6
_SECRETS = 50
_PLAIN_NUMBER = 10 ** (CARD_DIGITS.start - 1)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:[\d:.]{2,15}(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
_OPENING = frozenset('{["')

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Redaction:
    """Writes bodies without what must not be known.

    Args:
        names: Further names of secrets; a member whose name contains one is masked.
        patterns: Further regular expressions; what they match in any value is masked.
        harmless: Names that are shown although they look like a secret's.
    """

    def __init__(
        self,
        names: Collection[str] = (),
        patterns: Iterable[str] = (),
        harmless: Collection[str] = (),
    ) -> None:
        self._names = Names(names, harmless, self.text)
        self._patterns = [re.compile(pattern) for pattern in patterns]

    def body(self, content: bytes, kind: Kind, secrets: set[str] | None = None) -> str | None:
        """A body as it may be logged; None where it is not what it claims to be.

        Args:
            content: The whole body.
            kind: What it claims to be.
            secrets: Values known to be secret, masked wherever they stand; those that are found
                under a secret's name are added. An answer may repeat what was asked.
        """
        secrets = set() if secrets is None else secrets
        try:
            if kind is Kind.JSON:
                text = _encode(self._value(_decode(content), secrets)).decode()
            elif kind is Kind.FORM:
                text = self._form(content.decode(), secrets)
            else:
                text = self.text(content.decode())
        except (ValueError, RecursionError):
            return None
        for secret in sorted(secrets, key=len, reverse=True):  # else the rest of a longer one stays
            text = text.replace(_encode(secret)[1:-1].decode(), MASK).replace(secret, MASK)
        return text

    def text(self, text: str, secrets: set[str] | None = None) -> str:
        """A string, whatever it holds: an address, a URL, JSON once more."""
        length = len(text)
        # Most of what strings hold are numbers, dates and words, which take one look each.
        if length < CARD_DIGITS.start and text.replace("-", "").isalnum():
            pass
        elif length < TOKEN_LENGTH and text.replace(" ", "").isalpha():
            text = without_bearer(text)
        else:
            if text[:1] in _OPENING:
                inner = self.body(text.encode(), Kind.JSON, secrets)
                if inner is not None:
                    return inner
            if (":" in text or "=" in text) and not _TIME.fullmatch(text):
                text = self._names.without_assigned(text)
            text = without_bearer(without_lookalikes(text))
        for pattern in self._patterns:
            text = pattern.sub(MASK, text)
        return text

    def _value(self, value: Any, secrets: set[str]) -> Any:
        kind = type(value)
        if kind is str:
            return self.text(value, secrets)
        if kind is dict:
            return self._members(value, secrets)
        if kind is list:
            return [self._value(each, secrets) for each in value]
        if value is None or -_PLAIN_NUMBER < value < _PLAIN_NUMBER:
            return value
        written = f"{value:.0f}" if kind is float else str(value)
        return value if self.text(written) == written else MASK

    def _members(self, members: dict[str, Any], secrets: set[str]) -> dict[str, Any]:
        """The members without secrets; those of ordinary names change in place."""
        names = self._names
        ordinary, about_secret = True, False
        for key, value in members.items():
            name = names[key]
            if not name.ordinary:
                ordinary = False
                if name.secret:
                    members[key] = MASK
                    _remember(value, secrets)
                    continue
                about_secret = about_secret or (name.naming and self._names_secret(value))
            kind = type(value)
            if kind is str:
                members[key] = self.text(value, secrets)
            elif kind is dict or kind is list or not _is_plain(value):
                members[key] = self._value(value, secrets)
        return members if ordinary else self._retold(members, about_secret=about_secret)

    def _retold(self, members: dict[str, Any], *, about_secret: bool) -> dict[str, Any]:
        told = {}
        for key, value in members.items():
            name = self._names[key]
            hidden = about_secret and not (name.naming or name.saying)
            told[name.shown] = MASK if hidden else value
        return told

    def _names_secret(self, value: Any) -> bool:
        if isinstance(value, list):
            return any(self._names_secret(each) for each in value)
        return isinstance(value, str) and self._names[value].secret

    def _form(self, text: str, secrets: set[str]) -> str:
        told = []
        for key, value in parse_qsl(text, keep_blank_values=True):
            name = self._names[key]
            if name.secret:
                _remember(value, secrets)
                # A name without a value may be both, run together.
                told.append(f"{name.shown if value else MASK}={MASK}")
            else:
                told.append(f"{name.shown}={self.text(value, secrets)}")
        return "&".join(told)


def _is_plain(value: Any) -> bool:
    return value is None or -_PLAIN_NUMBER < value < _PLAIN_NUMBER


def _remember(value: Any, secrets: set[str]) -> None:
    """Add the texts of a secret value, as far as they are long enough to be told from others."""
    if isinstance(value, str | int):
        value = str(value)
        if len(value) >= _SECRET_LENGTH and len(secrets) < _SECRETS:
            secrets.add(value)
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _remember(each, secrets)
