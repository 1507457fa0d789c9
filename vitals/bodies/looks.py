"""What looks like a secret, whatever its name: tokens, cards, bank accounts, addresses, keys.

Each pattern begins where its run of characters does and never gives back what it took: a text
made to be slow to search is searched in one pass, too.
"""

import re

from vitals.bodies.names import MASK

TOKEN_LENGTH = 40
"""Characters in a row from which on they are taken for a token."""

CARD_DIGITS = range(13, 20)
"""Digits of a card's number: a shorter text holds none, and no bank account's either."""

_TOKENS = re.compile(r"(?<![\w+-])(?:eyJ[\w-]{4,}+\.[\w.-]++|[\w+-]{40,}+)", re.ASCII)
_BEARER = re.compile(r"\b(bearer\s++)[\w.~+/=-]+", re.IGNORECASE)
_MAIL = re.compile(r"(?<![^\s@\"'<>(),;:/=])[^\s@\"'<>(),;:/=]++@[^\s@\"'<>(),;:/=]++")
_LOGIN = re.compile(r"(://)[^/\s]*+")
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,}+")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", re.IGNORECASE | re.ASCII)
_CARD_GROUPS = 16
_IBAN_LENGTH = 15
_PEM = "-----BEGIN"


def without_lookalikes(text: str) -> str:
    """A text without what looks like a secret."""
    if _PEM in text:
        return MASK
    if ":" in text:
        text = _LOGIN.sub(_mask_login, text)
    if "@" in text:
        text = _MAIL.sub(MASK, text)
    length = len(text)
    if length >= TOKEN_LENGTH or "eyJ" in text:
        text = _TOKENS.sub(MASK, text)
    if length >= CARD_DIGITS.start:
        text = _IBAN.sub(_mask_iban, _CARD.sub(_mask_card, text))
    return text


def without_bearer(text: str) -> str:
    """A text without the token that follows the word."""
    return _BEARER.sub(rf"\1{MASK}", text) if "earer" in text.lower() else text


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
            if len(digits) in CARD_DIGITS and _has_check_digit(digits):
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
