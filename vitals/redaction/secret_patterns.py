"""What looks like a secret, whatever its name: tokens, cards, bank accounts, addresses, keys.

Each pattern begins where its run of characters does and never gives back what it took: a text
made to be slow to search is searched in one pass, too.
"""

import re
import string
from binascii import Error, a2b_base64
from collections.abc import Collection
from itertools import accumulate

import re2

from vitals.redaction.sensitive_fields import MASK

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
_GROUPED_CARD = re.compile(
    r"(?<![\d.])\d{4}(?:(?:[^\w]{1,3}|_)\d{4,6}){2,4}+(?:(?:[^\w]{1,3}|_)\d{1,3})?+(?!\d)"
)
_SPELT_CARD = re.compile(r"(?<![\d.])\d(?:(?:[^\w]{1,3}|_)\d){12,18}+(?!\d)")
_IBAN = re.compile(
    r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?:(?:[^A-Z0-9\n]{1,3}(?=[A-Z0-9]))?[A-Z0-9]){11,30}+",
    re.IGNORECASE | re.ASCII,
)
_SOCIAL = re.compile(
    r"(?<![\w.-])(?!000|666|9)\d{3}([^\w\n]{1,3}|_)(?!00)\d\d\1(?!0000)\d{4}(?![\w-]|\.\d)"
)
_CARD_GROUPS, _CARD_WAYS = 16, 10
_NO_SEPARATORS = {ord(" "): None, ord("-"): None}
_ONCE = bytes.maketrans(b"0123456789", bytes(range(10)))
_TWICE = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_ISSUERS = frozenset("23456")
"""First digits of cards' numbers."""
_IBAN_LENGTH = 15
_BETWEEN_WORDS = re.compile(r"[-_+]")
_LONGEST_WORD = 20
_VERSION = re.compile(r"[\^~]?v?\d{1,4}(?:\.\d{1,4}){0,3}(?!\w)[\w.-]*+", re.ASCII)
_PREFIXED = re2.compile(
    rb"\b(?:(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}|gh[pousr]_\w{16,}|github_pat_\w{16,}"
    rb"|gl(?:pat|ptt|dt|rt|soat)-[\w-]{12,}|xox[abeoprs]-[\w-]{8,}|xapp-[\w-]{8,}"
    rb"|(?:sk|rk|whsec)_(?:live_|test_)?[A-Za-z0-9]{12,}|pk_live_[A-Za-z0-9]{12,}"
    rb"|sk-[A-Za-z0-9_-]{16,}|AIza[\w-]{30,}|ya29\.[\w-]{10,}|GOCSPX-[\w-]{16,}"
    rb"|SG\.[\w-]{10,}\.[\w-]{10,}|npm_\w{20,}|pypi-[\w-]{16,}|do[opr]_v1_\w{16,}"
    rb"|hf_[A-Za-z0-9]{16,}|shp(?:at|ca|pa|ss)_\w{16,}|sq0[a-z]{3}-[\w-]{16,}|EAAC\w{16,}"
    rb"|key-[0-9a-f]{32}|(?:AC|SK)[0-9a-f]{32}|lin_api_\w{16,}|hv[bs]\.[\w-]{16,}"
    rb"|dapi[0-9a-f]{32}|(?i:age-secret-key-1)\w{16,}|\d{8,10}:AA[\w-]{30,}"
    rb"|[MNO][\w-]{22,28}\.[\w-]{6}\.[\w-]{25,}|nvapi-[\w-]{16,}|dckr_pat_[\w-]{16,}"
    rb"|glsa_\w{16,}|rubygems_\w{16,}|PMAK-[\w-]{16,}|secret_[A-Za-z0-9]{20,}"
    rb"|figd_[\w-]{16,}|tskey-[\w-]{12,}|sntry[su]_[\w=+/-]{16,}|pplx-\w{16,}|gsk_\w{16,})"
)
"""Tokens that say by their beginning whose they are."""
_IBAN_LENGTHS = {
    lengths[at : at + 2]: int(lengths[at + 2 : at + 4])
    for lengths in (
        "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18",
        "FO18FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20",
        "LU20LV21LY25MC27MD24ME22MK19MR27MT31MU30NL18NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SE24",
        "SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20",
    )
    for at in range(0, len(lengths), 4)
}
_PEMS = ("-----BEGIN", "---- BEGIN", "PuTTY-User-Key-File")
_WORD = re.compile(r"[\w+-]{10,}+", re.ASCII)
_RUNS = re.compile(r"[A-Z]?[a-z]++|[A-Z]++(?![a-z])|[A-Z]|[0-9]++")
_SOCIAL_LENGTH = 11
_RANDOM_LENGTH, _MEAN_RUN = 10, 2.5

_LINES_OF_TIME = re.compile(f"^(?:{TIME.pattern})$", re.ASCII | re.MULTILINE)
_LETTERS, _NUMERALS = string.ascii_letters.encode(), string.digits.encode()
_FOUND = b'@:={["%<&' + b"\\"
_KINDS = bytes.maketrans(_FOUND + _LETTERS + _NUMERALS, b"!" * len(_FOUND) + b"a" * 52 + b"0" * 10)
_MARKS = bytes(set(string.punctuation.encode()) - set(_FOUND)) + b"\t\r"
_IN_TOKENS = bytes.maketrans(_LETTERS + _NUMERALS + b"_+-", b"x" * 65)
_LONG_WORD = b"x" * 10
_SOCIAL_DIGITS = b"0" * 9
_DIGITS, _TOKEN = b"0" * CARD_DIGITS.start, b"x" * TOKEN_LENGTH
_IBAN_KINDS = re.compile(rb"aa00[a0]{11}")


def are_plain(texts: Collection[str]) -> bool:
    """Whether texts certainly hold no secret, nor JSON that might.

    One look at all of them costs what a look at two does. It is short and errs to the safe side:
    what it does not clear is looked at text by text.
    """
    joined = "\n".join(texts)
    if len(joined) < CARD_DIGITS.start and joined.isalnum() and joined.isascii():
        return True
    if not joined.isascii():
        return False
    lines = joined.count("\n") < len(texts)  # each text is one
    if ":" in joined and lines:
        joined = _LINES_OF_TIME.sub("", joined)
    lower, said = joined.lower(), joined.encode()
    kinds = said.translate(_KINDS, b" ")
    # Without what may stand between groups of digits.
    runs = said.translate(_IN_TOKENS)
    bare = kinds.translate(None, _MARKS if lines else _MARKS + b"\n")
    return not (
        b"!" in kinds
        or says_something(lower)
        or "earer" in lower
        or "asic" in lower
        or "eyJ" in joined
        or _DIGITS in bare
        or (b"aa00" in bare and _IBAN_KINDS.search(bare))
        or (_SOCIAL_DIGITS in bare and _SOCIAL.search(joined))
        or b"----" in kinds
        or "PuTTY" in joined
        or _TOKEN in runs
        or (_LONG_WORD in runs and _PREFIXED.search(said))
    )


def says_something(lower: str) -> bool:
    """Whether a text in lower case may be a sentence that tells a secret."""
    # No loop: it would take as long as all of them.
    return (
        " is " in lower
        or " ist " in lower
        or " lautet " in lower
        or " es " in lower
        or " est " in lower
        or " jest " in lower
        or not lower.isascii()
    )


def without_lookalikes(text: str) -> str:
    """A text without what looks like a secret."""
    if any(pem in text for pem in _PEMS):
        return MASK
    said = text.encode(errors="replace")
    if _PREFIXED.search(said):
        text = _PREFIXED.sub(MASK.encode(), said).decode(errors="replace")
    if ":" in text:
        text = _LOGIN.sub(_mask_login, text)
    if "@" in text:
        text = _MAIL.sub(_mask_mail, text)
    length = len(text)
    if length >= TOKEN_LENGTH or "eyJ" in text:
        text = _TOKENS.sub(_mask_token, text)
    if length >= _SOCIAL_LENGTH:
        text = _SOCIAL.sub(MASK, text)
    if length >= CARD_DIGITS.start:
        text = _SPELT_CARD.sub(_mask_grouped, _GROUPED_CARD.sub(_mask_grouped, text))
        text = _IBAN.sub(_mask_iban, _CARD.sub(_mask_card, text))
    return text


def without_social(text: str) -> str:
    """A text without numbers like those of the US social security."""
    return _SOCIAL.sub(MASK, text)


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
    if len(ways) > _CARD_WAYS or any(_is_card(digits[way]) for way in ways):
        return MASK
    return match[0]


def _is_card(digits: str) -> bool:
    return digits[0] in _ISSUERS and _has_check_digit(digits.encode())


def _has_check_digit(number: bytes) -> bool:
    """Luhn's (ISO/IEC 7812-1, annex B)."""
    return (sum(number[::-2].translate(_ONCE)) + sum(number[-2::-2].translate(_TWICE))) % 10 == 0


def _mask_iban(match: re.Match[str]) -> str:
    # ISO 13616: country and check digits are moved to the end, letters count from ten. Each country
    # has a length of its own: what follows may be the next word.
    number = "".join(filter(str.isalnum, match[0])).upper()
    length = _IBAN_LENGTHS.get(number[:2], 0)
    if not _IBAN_LENGTH <= length <= len(number):
        return match[0]
    number = number[4:length] + number[:4]
    checked = int("".join(str(int(sign, 36)) for sign in number)) % 97 == 1
    return MASK if checked else match[0]


def _mask_grouped(match: re.Match[str]) -> str:
    digits = "".join(str(int(sign)) for sign in match[0] if sign.isdecimal())
    return MASK if len(digits) in CARD_DIGITS and _is_card(digits) else match[0]


def _mask_token(match: re.Match[str]) -> str:
    # Words with hyphens between them are a title in an address, or a name in code.
    words = _BETWEEN_WORDS.split(match[0])
    if all(word.isalpha() and len(word) <= _LONGEST_WORD for word in words if word):
        return match[0]
    return MASK


def _mask_mail(match: re.Match[str]) -> str:
    # A version is no host: react@18.2.0.
    return match[0] if _VERSION.fullmatch(match[0].rpartition("@")[2]) else MASK
