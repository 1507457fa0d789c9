"""Patterns of secrets, independent of field names: tokens, cards, bank accounts, addresses, keys.

Every pattern starts at the start of a run of characters and never backtracks, so adversarial texts
are searched in one pass too.
"""

import re
import string
from binascii import Error, a2b_base64
from collections.abc import Collection
from itertools import accumulate

import re2

from vitals.redaction.sensitive_fields import MASK

TOKEN_LENGTH = 40
"""Minimum length of a run of characters that counts as a token."""

CARD_DIGITS = range(13, 20)
"""Lengths of card numbers; shorter texts hold no card number, and no IBAN."""

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:[\d:.]{2,15}(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
"""A timestamp, whose colons assign nothing."""

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
_SPACED_CARD = re.compile(r"(?<![\d.])\d(?:(?:[^\w]{1,3}|_)\d){12,18}+(?!\d)")
_IBAN = re.compile(
    r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?:(?:[^A-Z0-9\n]{1,3}(?=[A-Z0-9]))?[A-Z0-9]){11,30}+",
    re.IGNORECASE | re.ASCII,
)
_SSN = re.compile(
    r"(?<![\w.-])(?!000|666|9)\d{3}([^\w\n]{1,3}|_)(?!00)\d\d\1(?!0000)\d{4}(?![\w-]|\.\d)"
)
_MAX_CARD_GROUPS, _MAX_CARD_CANDIDATES = 16, 10
_NO_SEPARATORS = {ord(" "): None, ord("-"): None}
_ONCE = bytes.maketrans(b"0123456789", bytes(range(10)))
_TWICE = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_ISSUERS = frozenset("23456")
"""First digits of card numbers."""
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
"""Tokens with a known prefix."""
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
_PRIVATE_KEY_MARKERS = ("-----BEGIN", "---- BEGIN", "PuTTY-User-Key-File")
_WORD = re.compile(r"[\w+-]{10,}+", re.ASCII)
_RUNS = re.compile(r"[A-Z]?[a-z]++|[A-Z]++(?![a-z])|[A-Z]|[0-9]++")
_SSN_LENGTH = 11
_RANDOM_LENGTH, _MEAN_RUN = 10, 2.5

_TIMESTAMP_LINES = re.compile(f"^(?:{TIMESTAMP.pattern})$", re.ASCII | re.MULTILINE)
_LETTERS, _NUMERALS = string.ascii_letters.encode(), string.digits.encode()
_SUSPICIOUS = b'@:={["%<&' + b"\\"
_CHARACTER_CLASSES = bytes.maketrans(
    _SUSPICIOUS + _LETTERS + _NUMERALS, b"!" * len(_SUSPICIOUS) + b"a" * 52 + b"0" * 10
)
_SEPARATOR_MARKS = bytes(set(string.punctuation.encode()) - set(_SUSPICIOUS)) + b"\t\r"
_IN_TOKENS = bytes.maketrans(_LETTERS + _NUMERALS + b"_+-", b"x" * 65)
_LONG_WORD = b"x" * 10
_SSN_DIGITS = b"0" * 9
_DIGITS, _TOKEN = b"0" * CARD_DIGITS.start, b"x" * TOKEN_LENGTH
_IBAN_CLASSES = re.compile(rb"aa00[a0]{11}")


def contain_no_secrets(texts: Collection[str]) -> bool:
    """Whether texts certainly contain no secret, nor JSON that might.

    Checking all texts together costs as much as checking two. The check is conservative: texts
    that do not pass are checked one by one.
    """
    joined = "\n".join(texts)
    if len(joined) < CARD_DIGITS.start and joined.isalnum() and joined.isascii():
        return True
    if not joined.isascii():
        return False
    lines = joined.count("\n") < len(texts)  # no text has a line break
    if ":" in joined and lines:
        joined = _TIMESTAMP_LINES.sub("", joined)
    lower, encoded = joined.lower(), joined.encode()
    classes = encoded.translate(_CHARACTER_CLASSES, b" ")
    # Without characters that may separate groups of digits.
    runs = encoded.translate(_IN_TOKENS)
    bare = classes.translate(None, _SEPARATOR_MARKS if lines else _SEPARATOR_MARKS + b"\n")
    return not (
        b"!" in classes
        or may_state_secret(lower)
        or "earer" in lower
        or "asic" in lower
        or "eyJ" in joined
        or _DIGITS in bare
        or (
            b"aa00" in bare
            and _IBAN_CLASSES.search(bare)
            and _IBAN.sub(_mask_iban, joined) != joined
        )
        or (_SSN_DIGITS in bare and _SSN.search(joined))
        or b"----" in classes
        or "PuTTY" in joined
        or _TOKEN in runs
        or (_LONG_WORD in runs and _PREFIXED.search(encoded))
    )


def may_state_secret(lower: str) -> bool:
    """Whether a lower-case text may be a sentence that states a secret."""
    # Not a loop, which would double the time.
    return (
        " is " in lower
        or " ist " in lower
        or " lautet " in lower
        or " es " in lower
        or " est " in lower
        or " jest " in lower
        or not lower.isascii()
    )


def redact_patterns(text: str) -> str:
    """Redact everything that matches a pattern of a secret."""
    if any(marker in text for marker in _PRIVATE_KEY_MARKERS):
        return MASK
    encoded = text.encode(errors="replace")
    if _PREFIXED.search(encoded):
        text = _PREFIXED.sub(MASK.encode(), encoded).decode(errors="replace")
    if ":" in text:
        text = _LOGIN.sub(_mask_login, text)
    if "@" in text:
        text = _MAIL.sub(_mask_mail, text)
    length = len(text)
    if length >= TOKEN_LENGTH or "eyJ" in text:
        text = _TOKENS.sub(_mask_token, text)
    if length >= _SSN_LENGTH:
        text = _SSN.sub(MASK, text)
    if length >= CARD_DIGITS.start:
        text = _SPACED_CARD.sub(_mask_grouped, _GROUPED_CARD.sub(_mask_grouped, text))
        text = _IBAN.sub(_mask_iban, _CARD.sub(_mask_card, text))
    return text


def redact_ssn(text: str) -> str:
    """Redact US social security numbers."""
    return _SSN.sub(MASK, text)


def redact_random_words(text: str) -> str:
    """Redact random words: frequent changes between upper case, lower case and digits."""
    return _WORD.sub(_mask_random, text) if len(text) >= _RANDOM_LENGTH else text


def looks_random(word: str) -> bool:
    """Whether a word is probably generated at random."""
    runs = _RUNS.findall(word)
    length = sum(map(len, runs))
    return (
        length >= _RANDOM_LENGTH
        and length < _MEAN_RUN * len(runs)
        and not (word.isupper() or word.islower())
        and not word.isalpha()
    )


def redact_authorization(text: str, lower: str) -> str:
    """Redact Bearer and Basic credentials (RFC 6750, 7617); takes the text in lower case too."""
    if "earer" in lower:
        text = _BEARER.sub(rf"\1{MASK}", text)
    return _BASIC.sub(_mask_basic, text) if "asic" in lower else text


def _mask_random(match: re.Match[str]) -> str:
    return MASK if looks_random(match[0]) else match[0]


def _mask_basic(match: re.Match[str]) -> str:
    # Basic credentials decode to ``name:password``; anything else is an ordinary word.
    scheme, encoded, padding = match.groups()
    try:
        login = b":" in a2b_base64(encoded.translate(_URL_SAFE) + "=" * (-len(encoded) % 4))
    except Error:
        login = False
    return scheme + MASK if login or padding else match[0]


def _mask_login(match: re.Match[str]) -> str:
    authority, path = match.groups()
    # The part before a slash may end with a port, or with a password that contains the slash.
    whole, rest = (authority + path, "") if ":" in authority else (authority, path)
    _, at, host = whole.rpartition("@")
    return f"://{MASK}@{host}{rest}" if at else match[0]


def _mask_card(match: re.Match[str]) -> str:
    # Adjacent numbers look like groups of the card number. Of many combinations of groups, some
    # have a valid check digit by chance.
    ends = [0, *accumulate(map(len, re.split("[ -]", match[0])))]
    if len(ends) > _MAX_CARD_GROUPS + 1:
        return MASK
    candidates = [
        slice(ends[first], ends[last])
        for first in range(len(ends))
        for last in range(first + 1, len(ends))
        if ends[last] - ends[first] in CARD_DIGITS
    ]
    digits = match[0].translate(_NO_SEPARATORS)
    if not digits.isascii():  # digits of another script
        digits = "".join(str(int(digit)) for digit in digits)
    if len(candidates) > _MAX_CARD_CANDIDATES:
        return MASK
    if any(_is_card(digits[candidate]) for candidate in candidates):
        return MASK
    return match[0]


def _is_card(digits: str) -> bool:
    return digits[0] in _ISSUERS and _has_check_digit(digits.encode())


def _has_check_digit(number: bytes) -> bool:
    """Luhn's (ISO/IEC 7812-1, annex B)."""
    return (sum(number[::-2].translate(_ONCE)) + sum(number[-2::-2].translate(_TWICE))) % 10 == 0


def _mask_iban(match: re.Match[str]) -> str:
    # ISO 13616: country and check digits move to the end, letters count from ten. The length
    # depends on the country: the rest may be the next word.
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
    # Hyphenated words are a slug in a URL, or an identifier.
    words = _BETWEEN_WORDS.split(match[0])
    if all(word.isalpha() and len(word) <= _LONGEST_WORD for word in words if word):
        return match[0]
    return MASK


def _mask_mail(match: re.Match[str]) -> str:
    # A version is not a host: react@18.2.0.
    return match[0] if _VERSION.fullmatch(match[0].rpartition("@")[2]) else MASK
