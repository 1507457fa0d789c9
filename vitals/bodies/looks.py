"""What looks like a secret, whatever its name: tokens, cards, bank accounts, addresses, keys.

Each pattern begins where its run of characters does and never gives back what it took: a text
made to be slow to search is searched in one pass, too.
"""

import re
import string
from binascii import Error, a2b_base64
from collections.abc import Collection
from itertools import accumulate

from vitals.bodies.names import MASK

TOKEN_LENGTH = 40
"""Characters in a row from which on they are taken for a token."""

CARD_DIGITS = range(13, 20)
"""Digits of a card's number: a shorter text holds none, and no bank account's either."""

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:[\d:.]{2,15}(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
"""A moment, in which a colon assigns nothing."""

_TOKENS = re.compile(r"(?<![\w+-])(?:eyJ[\w-]{4,}+\.[\w.-]++|[\w+-]{40,}+)", re.ASCII)
_BEARER = re.compile(r"\b(bearer\s++)[\w.~+/=-]+", re.IGNORECASE)
_BASIC = re.compile(r"\b(basic\s++)([\w+/-]{4,}+)(=*+)", re.IGNORECASE | re.ASCII)
_URL_SAFE = str.maketrans("-_", "+/")
_MAIL = re.compile(r"(?<![^\s@\"'<>(),;:/=])[^\s@\"'<>(),;:/=]++@[^\s@\"'<>(),;:/=]++")
_LOGIN = re.compile(r"://([^/\s]*+)(\S*+)")
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,}+")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}", re.IGNORECASE | re.ASCII)
_CARD_GROUPS, _CARD_WAYS = 16, 10
_NO_SEPARATORS = {ord(" "): None, ord("-"): None}
_ONCE = bytes.maketrans(b"0123456789", bytes(range(10)))
_TWICE = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_IBAN_LENGTH = 15
_PEM = "-----BEGIN"
_WORD = re.compile(r"[\w+-]{10,}+", re.ASCII)
_RUNS = re.compile(r"[A-Z]?[a-z]++|[A-Z]++(?![a-z])|[A-Z]|[0-9]++")
_RANDOM_LENGTH, _MEAN_RUN = 10, 2.5

_LINES_OF_TIME = re.compile(f"^(?:{TIME.pattern})$", re.ASCII | re.MULTILINE)
_LETTERS, _NUMERALS = string.ascii_letters.encode(), string.digits.encode()
_KINDS = bytes.maketrans(b'@:={["' + _LETTERS + _NUMERALS, b"!" * 6 + b"a" * 52 + b"0" * 10)
_IN_TOKENS = bytes.maketrans(_LETTERS + _NUMERALS + b"_+-", b"x" * 65)
_DIGITS, _TOKEN = b"0" * CARD_DIGITS.start, b"x" * TOKEN_LENGTH
_IBAN_KINDS = re.compile(rb"aa00[a0]{11}")


def are_plain(texts: Collection[str]) -> bool:
    """Whether texts certainly hold no secret, nor JSON that might.

    One look at all of them costs what a look at two does. It is short and errs to the safe side:
    what it does not clear is looked at text by text.
    """
    joined = "\n".join(texts)
    if len(joined) < CARD_DIGITS.start and joined.isalnum():
        return True
    if not joined.isascii():
        return False
    if ":" in joined and joined.count("\n") < len(texts):  # each text is a line
        joined = _LINES_OF_TIME.sub("", joined)
    lower, said = joined.lower(), joined.encode()
    kinds = said.translate(_KINDS, b" ")
    return not (
        b"!" in kinds
        or " is " in lower
        or "earer" in lower
        or "asic" in lower
        or "eyJ" in joined
        or _DIGITS in kinds.replace(b"-", b"")
        or (b"aa00" in kinds and _IBAN_KINDS.search(kinds))
        or b"-----" in kinds
        or _TOKEN in said.translate(_IN_TOKENS)
    )


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


def without_random(text: str) -> str:
    """A text without words that chance has made: upper, lower and digits change all the time."""
    return _WORD.sub(_mask_random, text) if len(text) >= _RANDOM_LENGTH else text


def is_random(word: str) -> bool:
    """Whether no person and no programmer would make up a word so."""
    runs = _RUNS.findall(word)
    length = sum(map(len, runs))
    return (
        length >= _RANDOM_LENGTH
        and length < _MEAN_RUN * len(runs)
        and not (word.isupper() or word.islower())
        and not word.isalpha()
    )


def without_credentials(text: str, lower: str) -> str:
    """A text, also given in lower case, without what follows a scheme's name (RFC 6750, 7617)."""
    if "earer" in lower:
        text = _BEARER.sub(rf"\1{MASK}", text)
    return _BASIC.sub(_mask_basic, text) if "asic" in lower else text


def _mask_random(match: re.Match[str]) -> str:
    return MASK if is_random(match[0]) else match[0]


def _mask_basic(match: re.Match[str]) -> str:
    # A name, a colon and a password: what decodes to anything else is the next word.
    scheme, coded, padding = match.groups()
    try:
        login = b":" in a2b_base64(coded.translate(_URL_SAFE) + "=" * (-len(coded) % 4))
    except Error:
        login = False
    return scheme + MASK if login or padding else match[0]


def _mask_login(match: re.Match[str]) -> str:
    authority, path = match.groups()
    # What stands before a slash may be a port, or a password that has one in it.
    whole, rest = (authority + path, "") if ":" in authority else (authority, path)
    _, at, host = whole.rpartition("@")
    return f"://{MASK}@{host}{rest}" if at else match[0]


def _mask_card(match: re.Match[str]) -> str:
    # The number before or after a card's is written like one of its groups. Of many ways to put
    # groups together, some have a right check digit by chance.
    ends = [0, *accumulate(map(len, re.split("[ -]", match[0])))]
    if len(ends) > _CARD_GROUPS + 1:
        return MASK
    ways = [
        slice(ends[first], ends[last])
        for first in range(len(ends))
        for last in range(first + 1, len(ends))
        if ends[last] - ends[first] in CARD_DIGITS
    ]
    digits = match[0].translate(_NO_SEPARATORS)
    if not digits.isascii():  # of another script
        digits = "".join(str(int(digit)) for digit in digits)
    if len(ways) > _CARD_WAYS or any(_has_check_digit(digits[way].encode()) for way in ways):
        return MASK
    return match[0]


def _has_check_digit(number: bytes) -> bool:
    """Luhn's (ISO/IEC 7812-1, annex B)."""
    return (sum(number[::-2].translate(_ONCE)) + sum(number[-2::-2].translate(_TWICE))) % 10 == 0


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
