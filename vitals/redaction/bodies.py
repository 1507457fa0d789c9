"""Takes secrets out of bodies: by the names of members, and by what values look like.

Where an object only *names* a secret beside its value, as validation errors do that quote the
input, all of its values go.
"""

import html
import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
import re2

from vitals.asgi.content_type import Kind
from vitals.json_decoding import decode
from vitals.redaction.secret_patterns import (
    CARD_DIGITS,
    TIME,
    TOKEN_LENGTH,
    are_plain,
    says_something,
    without_credentials,
    without_lookalikes,
    without_social,
)
from vitals.redaction.sensitive_fields import MASK, Names
from vitals.redaction.xml import without_elements

_SECRET_LENGTH = 6
_SECRETS = 50
_MATCHES = 100
"""Matches of an own pattern that are masked one by one; with more of them, the text is masked."""
_SHORT = CARD_DIGITS.start
_PLAIN_NUMBER = 10 ** (_SHORT - 1)
_LONG_NUMBER = 10.0 ** (CARD_DIGITS.stop - 1)
_PAIR = 2
_LAYERS = 3
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_OPENING = frozenset('{["')

_encode = msgspec.json.Encoder().encode


class Redaction:
    """Writes bodies without what must not be known.

    Args:
        names: Further names of secrets; a member whose name contains one is masked.
        patterns: Further regular expressions, in the syntax of RE2; what they match in any value
            is masked.
        harmless: Names that are shown although they look like a secret's.

    Raises:
        ValueError: A name has neither letters nor digits, or a pattern is none of RE2's, which
            knows neither look-arounds nor back-references: no text can make it slow.
    """

    def __init__(
        self,
        names: Collection[str] = (),
        patterns: Iterable[str] = (),
        harmless: Collection[str] = (),
    ) -> None:
        self._names = Names(names, harmless, self.text)
        self._patterns = [_compile(pattern) for pattern in patterns]

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
                text = self._json(content, secrets)
            elif kind is Kind.FORM:
                text = self._form(content.decode(), secrets)
            else:
                text = self.text(content.decode())
        except (ValueError, RecursionError):
            return None
        # The longest first, else what it has more than another stays.
        for secret in sorted(secrets, key=len, reverse=True) if len(secrets) > 1 else secrets:
            text = _without(text, secret)
        return text

    def _inner(self, text: str, secrets: set[str] | None) -> str | None:
        """JSON that stands in a string; whoever gives ``secrets`` masks those in the whole."""
        try:
            if secrets is None:
                return self.body(text.encode(), Kind.JSON)
            return self._json(text.encode(), secrets)
        except (ValueError, RecursionError):
            return None

    def _json(self, content: bytes, secrets: set[str]) -> str:
        return _encode(self._without_secrets(decode(content), secrets)).decode()

    def text(self, text: str, secrets: set[str] | None = None) -> str:
        """A string, whatever it holds: an address, a URL, JSON once more."""
        length = len(text)
        # Most of what strings hold are numbers, dates and words, which take one look each.
        if length < _SHORT and text.replace("-", "").isalnum() and text.isascii():
            if "-" in text:
                text = without_social(text)
        elif length < TOKEN_LENGTH and text.isascii() and text.replace(" ", "").isalpha():
            if " " in text:
                text = self._without_told(text, text.lower())
        else:
            text = self._through_layers(text, secrets)
        for pattern in self._patterns:
            text, matches = pattern.subn(MASK, text, _MATCHES)
            if matches == _MATCHES:
                return MASK
        return text

    def _through_layers(self, text: str, secrets: set[str] | None) -> str:
        """A text without secrets, be they encoded once or twice; decoded only where one is."""
        shown = current = self._look(text, secrets)
        for _ in range(_LAYERS):
            decoded = _decode_layer(current)
            if decoded == current:
                break
            current = self._look(decoded, secrets)
            if current != decoded:
                shown = current
        return shown

    def _look(self, text: str, secrets: set[str] | None) -> str:
        if text[:1] in _OPENING:
            inner = self._inner(text, secrets)
            if inner is not None:
                return inner
        if "<" in text:
            text = without_elements(text, self._names)
        if (":" in text or "=" in text) and not TIME.fullmatch(text):
            text = self._names.without_assigned(text)
        text = without_lookalikes(text)
        return self._without_told(text, text.lower())

    def told(self, text: str) -> str:
        """A string written for people: what follows a secret's name may be one without a sign."""
        return self.text(self._names.without_given(text))

    def value(self, value: Any) -> Any:
        """A decoded value, in which containers change in place."""
        return self._without_secrets(value, set())

    @property
    def names(self) -> Names:
        """Judges names."""
        return self._names

    @property
    def has_patterns(self) -> bool:
        """Whether the host has given patterns of its own."""
        return bool(self._patterns)

    def _without_told(self, text: str, lower: str) -> str:
        """A text without what its words give away."""
        if says_something(lower):
            text = self._names.without_assigned(text)
        return without_credentials(text, lower)

    def _without_secrets(self, value: Any, secrets: set[str]) -> Any:
        """A decoded value, in which containers change in place."""
        whole = [value]
        texts = self._hide_named(whole, secrets)
        # A look at all texts together, and seldom one at each.
        if texts and (self._patterns or not are_plain(texts)):
            self._hide_lookalikes(whole, secrets)
        return whole[0]

    # In one loop, as calls would be most of its time.
    def _hide_named(self, whole: list[Any], secrets: set[str]) -> list[str]:  # noqa: C901
        """Mask what stands under a secret's name; returns what else might hold one."""
        texts, ordinary = [], self._names.ordinary
        containers: list[Any] = [whole]
        for container in containers:  # to which are added those inside of each
            if type(container) is dict:
                if not ordinary.issuperset(container):
                    self._hide_members(container, secrets)
                values = container.values()
            else:
                if len(container) == _PAIR and self._names_secret(container[0]):
                    self._hide_second(container, secrets)
                values = container
            for value in values:
                kind = type(value)
                if kind is str:
                    if value is not MASK:
                        texts.append(value)
                elif kind is int or kind is float:
                    if not -_PLAIN_NUMBER < value < _PLAIN_NUMBER and _may_be_card(value):
                        texts.append(_written(value))
                elif kind is dict or kind is list:
                    containers.append(value)
        return texts

    def _hide_second(self, pair: list[Any], secrets: set[str]) -> None:
        if not self._names_secret(pair[1]):  # else it may be a list of names
            _remember(pair[1], secrets)
        pair[1] = MASK

    def _hide_members(self, members: dict[str, Any], secrets: set[str]) -> None:
        names, ordinary = self._names, self._names.ordinary
        about_secret = valued = renamed = False
        for key, value in members.items():
            if key in ordinary:
                continue
            name = names[key]
            if name.secret:
                if value is not None and type(value) is not bool:
                    _remember(value, secrets)
                    members[key] = MASK
            elif name.naming and not about_secret:
                about_secret = self._names_secret(value)
            elif name.typing and not valued:
                valued = self._names_secret(value)
            if name.shown != key:
                renamed = True
        if about_secret or valued or renamed:
            self._retell(members, secrets, about_secret=about_secret, valued=valued)

    def _retell(
        self, members: dict[str, Any], secrets: set[str], *, about_secret: bool, valued: bool
    ) -> None:
        told = [(self._names[key], value) for key, value in members.items()]
        members.clear()
        for name, value in told:
            hidden = (about_secret and not (name.naming or name.saying)) or (
                valued and name.valuing
            )
            if hidden and name.valuing:
                _remember(value, secrets)
            members[name.shown] = MASK if hidden else value

    def _hide_lookalikes(self, container: Any, secrets: set[str]) -> None:
        """Mask what looks like a secret."""
        places = container.items() if type(container) is dict else enumerate(container)
        for place, value in places:
            kind = type(value)
            if kind is str:
                if value is not MASK:
                    container[place] = self.text(value, secrets)
            elif kind is dict or kind is list:
                self._hide_lookalikes(value, secrets)
            elif (kind is int or kind is float) and _may_be_card(value):
                written = _written(value)
                look = self.text if self._patterns else without_lookalikes
                if look(written) != written:
                    container[place] = MASK

    def _names_secret(self, value: Any) -> bool:
        if type(value) is list:
            return any(self._names_secret(each) for each in value)
        return self._names.secret(value)

    def _form(self, text: str, secrets: set[str]) -> str:
        told = []
        pairs = parse_qsl(text, keep_blank_values=True)
        about_secret = any(
            self._names_secret(value)
            for key, value in pairs
            if (name := self._names[key]).naming or name.typing
        )
        for key, value in pairs:
            name = self._names[key]
            if name.secret or (about_secret and name.valuing):
                _remember(value, secrets)
                # A name without a value may be both, run together.
                told.append(f"{name.shown if value else MASK}={MASK}")
            else:
                told.append(f"{name.shown}={self.text(value, secrets)}")
        return "&".join(told)


def _may_be_card(number: float) -> bool:
    """Whether a number has as many digits as that of a card, or is an integer of more."""
    size = abs(number)
    return size >= _PLAIN_NUMBER and (size < _LONG_NUMBER or type(number) is int)


def _decode_layer(text: str) -> str:
    """A text with full-width letters, percent signs and references to characters as they read."""
    if "\\u" in text:
        text = _ESCAPED.sub(lambda escaped: chr(int(escaped[1], 16)), text)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if "%" in text:
        text = unquote(text)
    return html.unescape(text) if "&" in text else text


def _written(number: float) -> str:
    return f"{number:.0f}" if type(number) is float else str(number)


def _without(text: str, secret: str) -> str:
    if secret.isalnum():
        return text.replace(secret, MASK)
    # JSON may stand in a string of JSON, where what is escaped is escaped again.
    forms = [secret]
    while len(forms[-1]) < len(text):
        escaped = _encode(forms[-1])[1:-1].decode()
        if escaped == forms[-1]:
            break
        forms.append(escaped)
    for form in reversed(forms):
        text = text.replace(form, MASK)
    return text


def _remember(value: Any, secrets: set[str]) -> None:
    """Add the texts of a secret value, as far as they are long enough to be told from others."""
    kind = type(value)
    if kind is str or kind is int:
        value = str(value)
        if len(value) >= _SECRET_LENGTH and len(secrets) < _SECRETS and value not in MASK:
            secrets.add(value)
    elif kind is dict or kind is list:
        for each in value.values() if kind is dict else value:
            _remember(each, secrets)


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(f"RE2 cannot read the pattern {pattern!r}: {error}") from None
