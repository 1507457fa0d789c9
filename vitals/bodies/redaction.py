"""Takes secrets out of bodies: by the names of members, and by what values look like.

Names are compared without case, separators and compatibility forms, so ``Pass-Word``,
``pass_word`` and ``PASSWORD`` are one. Where an object only *names* a secret beside its value, as
validation errors do that quote the input, all of its values go.
"""

import json
import re
import unicodedata
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from vitals.media import Kind

MASK = "[redacted]"

ANYWHERE = (
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "authorization",
    "credential", "apikey", "accesskey", "privatekey", "signature", "session", "cookie", "jwt",
    "cardnumber", "creditcard", "cardholder", "securitycode", "iban", "email",
)  # fmt: skip
"""A name that contains one of these is a secret's."""

WHOLE = frozenset(
    ("pass", "auth", "bearer", "card", "cvv", "cvc", "csc", "pan", "pin", "otp", "ssn", "mail")
)
"""A name that has one of these among its words is a secret's."""

HARMLESS = frozenset(("tokentype", "maxtokens"))

_NAMING = frozenset(("name", "key", "field", "loc", "path", "pointer", "parameter", "header"))
_SAYING = frozenset(("type", "code", "status"))
_NAME_LENGTH = 64
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_IDENTIFIER = re.compile(r"[a-zA-Z][\w.\[\]-]{0,31}", re.ASCII)
_PLAIN_NUMBER = 10**12
_TOKEN_LENGTH = 40
_SECRET_LENGTH = 6
_SECRETS = 50

# Each begins where its run of characters does and never gives back what it took: a body made to
# be slow to search is searched in one pass, too.
_TOKENS = re.compile(r"(?<![\w+-])(?:eyJ[\w-]{4,}+\.[\w.-]++|[\w+-]{40,}+)", re.ASCII)
_BEARER = re.compile(r"\b(bearer\s++)[\w.~+/=-]+", re.IGNORECASE)
_MAIL = re.compile(r"(?<![^\s@\"'<>(),;:/=])[^\s@\"'<>(),;:/=]++@[^\s@\"'<>(),;:/=]++")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:[\d:.]{2,15}(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
_LOGIN = re.compile(r"(://)[^/\s]*+")
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,}+")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", re.IGNORECASE | re.ASCII)
_CARD_DIGITS = range(13, 20)
_CARD_GROUPS = 16
_IBAN_LENGTH = 15
_OPENING = frozenset('{["')
_PEM = "-----BEGIN"


class _Name(NamedTuple):
    shown: str
    secret: bool
    naming: bool
    saying: bool


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
        anywhere = (*ANYWHERE, *map(_squash, names))
        if "" in anywhere:
            raise ValueError("a name to redact must have letters or digits")
        self._anywhere = anywhere
        self._harmless = HARMLESS | {_squash(name) for name in harmless}
        self._patterns = [re.compile(pattern) for pattern in patterns]
        words = "|".join(
            (*map(_spread, anywhere), *(rf"(?<![^\W_]){word}(?![^\W_])" for word in WHOLE))
        )
        self._assigned = re.compile(
            rf"((?:{words})[^:=]{{0,40}}[:=]\s*).+", re.IGNORECASE | re.DOTALL
        )
        self._hints = (*anywhere, *WHOLE)
        self._known = lru_cache(4096)(self._look_up)

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
            text = content.decode()
            if kind is Kind.JSON:
                text = _encode(self._value(_decode(text), secrets))
            else:
                text = self._form(text, secrets) if kind is Kind.FORM else self.text(text)
            for secret in secrets:
                text = text.replace(_encode(secret)[1:-1], MASK).replace(secret, MASK)
        except (ValueError, RecursionError):
            return None
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

    def text(self, text: str, secrets: set[str] | None = None) -> str:
        """A string, whatever it holds: an address, a URL, JSON once more."""
        # Words are most of what strings hold, and all they could hide is a token of letters.
        if len(text) >= _TOKEN_LENGTH or not text.replace(" ", "").isalpha():
            if text[:1] in _OPENING:
                inner = self.body(text.encode(), Kind.JSON, secrets)
                if inner is not None:
                    return inner
            text = self._symbols(text)
        if "earer" in text.lower():
            text = _BEARER.sub(rf"\1{MASK}", text)
        for pattern in self._patterns:
            text = pattern.sub(MASK, text)
        return text

    def _symbols(self, text: str) -> str:
        if _PEM in text:
            return MASK
        if (":" in text or "=" in text) and not _TIME.fullmatch(text):
            text = _LOGIN.sub(_mask_login, self._assignment(text))
        if "@" in text:
            text = _MAIL.sub(MASK, text)
        length = len(text)
        if length >= _TOKEN_LENGTH or "eyJ" in text:
            text = _TOKENS.sub(MASK, text)
        if length >= _CARD_DIGITS.start:
            text = _IBAN.sub(_mask_iban, _CARD.sub(_mask_card, text))
        return text

    def _assignment(self, text: str) -> str:
        folded = text.casefold().translate(_SEPARATORS)
        for hint in self._hints:
            if hint in folded:
                return self._assigned.sub(rf"\1{MASK}", text)
        return text

    def _members(self, members: dict[str, Any], secrets: set[str]) -> dict[str, Any]:
        cleaned: dict[str, Any] = {}
        about_secret = False
        for key, value in members.items():
            shown, secret, naming, _ = self._name(key)
            if secret:
                cleaned[shown] = MASK
                _remember(value, secrets)
            else:
                is_text = type(value) is str
                cleaned[shown] = (self.text if is_text else self._value)(value, secrets)
                if naming and self._names_secret(value):
                    about_secret = True
        if about_secret:
            for shown in cleaned:
                name = self._name(shown)
                if not (name.naming or name.saying):
                    cleaned[shown] = MASK
        return cleaned

    def _names_secret(self, value: Any) -> bool:
        if isinstance(value, list):
            return any(self._names_secret(each) for each in value)
        return isinstance(value, str) and self._name(value).secret

    def _form(self, text: str, secrets: set[str]) -> str:
        told = []
        for key, value in parse_qsl(text, keep_blank_values=True):
            name = self._name(key)
            if name.secret:
                _remember(value, secrets)
                # A name without a value may be both, run together.
                told.append(f"{name.shown if value else MASK}={MASK}")
            else:
                told.append(f"{name.shown}={self.text(value, secrets)}")
        return "&".join(told)

    def _name(self, key: str) -> _Name:
        # A longer one is no name but data; it is neither shown nor remembered.
        return self._known(key) if len(key) <= _NAME_LENGTH else _Name(MASK, True, False, False)

    def _look_up(self, key: str) -> _Name:
        squashed = _squash(key)
        words = {word.lower() for word in _WORD.findall(unicodedata.normalize("NFKD", key))}
        secret = squashed not in self._harmless and (
            any(part in squashed for part in self._anywhere)
            or not WHOLE.isdisjoint(words)
            or squashed in WHOLE
        )
        # What follows a secret's name within the name may be the secret.
        shown = MASK if secret and not _IDENTIFIER.fullmatch(key) else self.text(key)
        return _Name(shown, secret, squashed in _NAMING, squashed in _SAYING)


_decode = json.JSONDecoder().decode
_SEPARATORS = dict.fromkeys(map(ord, "_- ."))
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _remember(value: Any, secrets: set[str]) -> None:
    """Add the texts of a secret value, as far as they are long enough to be told from others."""
    if isinstance(value, str):
        if len(value) >= _SECRET_LENGTH and len(secrets) < _SECRETS:
            secrets.add(value)
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            _remember(each, secrets)


def _squash(name: str) -> str:
    """Letters and digits only, in one case and form."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(filter(str.isalnum, folded))


def _spread(name: str) -> str:
    """A pattern of the name with separators between its letters."""
    return r"[_ .-]?".join(map(re.escape, name))


def _mask_login(match: re.Match[str]) -> str:
    _, at, host = match[0].rpartition("@")
    return f"://{MASK}@{host}" if at else match[0]


def _mask_card(match: re.Match[str]) -> str:
    groups = re.split("[ -]", match[0])
    if len(groups) > _CARD_GROUPS:
        return MASK
    # The number before or after a card's is written like one of its groups.
    for first in range(len(groups)):
        for last in range(first, len(groups)):
            digits = "".join(groups[first : last + 1])
            if len(digits) in _CARD_DIGITS and _has_check_digit(digits):
                return MASK
    return match[0]


def _has_check_digit(number: str) -> bool:
    """Luhn's (ISO/IEC 7812-1, annex B)."""
    digits = [int(digit) for digit in reversed(number)]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def _mask_iban(match: re.Match[str]) -> str:
    # ISO 13616: country and check digits are moved to the end, letters count from ten. Where the
    # number ends is not known: what follows may be the next word.
    head, *tail = (match[0].replace(" ", "")[:4], *match[0].replace(" ", "")[4:])
    end = int("".join(str(int(sign, 36)) for sign in head))
    rest = 0
    for length, sign in enumerate(tail, start=5):
        number = int(sign, 36)
        rest = (rest * (100 if number > 9 else 10) + number) % 97  # noqa: PLR2004
        if length >= _IBAN_LENGTH and (rest * 1_000_000 + end) % 97 == 1:
            return MASK
    return match[0]
