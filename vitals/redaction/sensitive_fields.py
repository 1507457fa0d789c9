"""Decides which field names are sensitive.

Names are compared without case, separators and compatibility forms, so ``Pass-Word``,
``pass_word`` and ``PASSWORD`` are equal.
"""

import re
import unicodedata
from collections.abc import Callable, Collection
from typing import Any

import re2

MASK = "[redacted]"

NAME_PARTS = (
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "authorization",
    "credential", "apikey", "accesskey", "privatekey", "signature", "session", "cookie", "jwt",
    "cardnumber", "creditcard", "cardholder", "securitycode", "iban", "email",
    # signing and encryption keys, and substitutes for passwords
    "signingkey", "signkey", "signerkey", "encryptionkey", "encryptkey", "decryptionkey",
    "masterkey", "hmackey", "sharedkey", "authkey", "licensekey", "sshkey", "gpgkey", "pgpkey",
    "sshprivate", "rsakey", "aeskey", "privkey", "storagekey", "accountkey", "servicekey",
    "webhookkey",
    "connectionstring", "recoverycode", "backupcode", "recoveryphrase", "seedphrase", "mnemonic",
    "socialsecurity", "dbpass", "userpass", "rootpass", "adminpass", "dbpw", "userpw",
)  # fmt: skip
"""A name that contains one of these is sensitive."""

TRANSLATED_NAME_PARTS = (
    "passwort", "kennwort", "geheim", "zugangsdaten", "mot de passe", "contraseña", "contrasenya",
    "senha", "segredo", "palavra passe", "wachtwoord", "lösenord", "adgangskode", "salasana",
    "jelszó", "heslo", "hasło", "haslo", "lozinka", "geslo", "slaptažodis", "şifre", "mật khẩu",
    "kata sandi", "пароль", "пароля", "парола", "секрет", "лозинка", "κωδικός", "סיסמה",
    "كلمة المرور", "كلمة السر", "密码", "密碼", "口令", "密钥", "パスワード", "暗証番号",
    "비밀번호", "비번", "암호", "पासवर्ड", "รหัสผ่าน",
)  # fmt: skip
"""The same in other languages."""

NAME_WORDS = frozenset(
    (
        *("pass", "auth", "bearer", "card", "cvv", "cvc", "csc", "pan", "pin", "otp", "ssn"),
        *(
            "mail",
            "pw",
            "psw",
            "pswd",
            "psswd",
            "pwrd",
            "passw",
            "mdp",
            "clave",
            "parola",
            "parole",
        ),
        *("parol", "creds", "cred", "psk", "totp", "hmac", "csrf", "xsrf"),
    )
)
"""A name that has one of these as a whole word is sensitive."""

HARMLESS = frozenset(("tokentype", "maxtokens", "tokencount", "totaltokens", "tokenizer"))

_MIN_MISSPELT_LENGTH = 8
"""Minimum length of names that match with one letter wrong, missing, doubled or swapped."""
_SIMILAR_WORDS = ("passport",)
"""Words one letter from a sensitive name that are harmless."""

LINKING_VERBS = ("is", "ist", "lautet", "es", "est", "jest")
"""Verbs between a sensitive name and its value in a sentence; see ``may_state_secret`` too."""

MAX_NAME_LENGTH = 64
"""Most characters of a name; anything longer is data, which is masked and not cached."""

MAX_CACHED_NAMES = 4_096
"""Names whose classification is cached."""

_HOLD_NAME = frozenset(
    (
        *("name", "key", "field", "loc", "path", "pointer", "parameter", "header", "label"),
        *(
            "fieldname",
            "keyname",
            "paramname",
            "property",
            "attribute",
            "variable",
            "setting",
            "option",
        ),
    )
)
_METADATA_WORDS = frozenset(
    (
        *("count", "length", "size", "limit", "policy", "strength", "expiry", "expires", "ttl"),
        *("verified", "enabled", "required", "timeout", "lifetime", "attempts", "age"),
        *("algorithm", "at", "in"),
    )
)
"""Last words of names that hold metadata about a secret, not the secret."""
_HOLD_TYPE = frozenset(("type", "kind", "k", "n"))
_HOLD_VALUE = frozenset(
    (
        *("value", "val", "v", "values", "content", "data", "text", "input", "answer", "default"),
        *("raw", "plain", "plaintext", "current", "new", "old"),
    )
)
_ALWAYS_KEPT = frozenset(("type", "code", "status"))
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DIGIT = re.compile(r"\d")
_IDENTIFIER = re.compile(r"[a-zA-Z][\w.\[\]-]{0,31}", re.ASCII)
_NAMED = re.compile(r"(?<![\w.-])([\w.-]{6,64}+)[\"' ]{0,3}+[:=]\s*+(?=\S)")
_NO_SEPARATORS = dict.fromkeys(map(ord, "_-."))
_MAX_DISTANCE = 40
"""Most characters between a sensitive name and the sign that assigns a value."""
_SPACE = r"[\s\pZ\x0b\x1c-\x1f\x85]"
_LETTER, _OTHER = r"[\pL\pN]", r"[^\pL\pN]"
_REMARK = (
    rf"(?:(?:not|no|too|already|still){_SPACE}+)*(?:wrong|(?:in)?correct|(?:in)?valid|missing|"
    r"required|empty|expired|short|long|weak|taken|unknown|known|set|allowed|needed|revoked|"
    rf"refused|over){_SPACE}*[.!]?{_SPACE}*\z"
)
"""Remarks about a secret that do not reveal it."""


class FieldName:
    """Classification of one field name.

    Attributes:
        redacted: The name itself, redacted.
        secret: Whether its value is secret.
        holds_name: Whether its value may be the name of a secret in a sibling field.
        holds_type: Whether its value may be the type of a secret in a sibling field.
        holds_value: Whether it is a generic name for a value.
        always_kept: Whether its value is kept even beside a secret.
        ordinary: Whether none of this applies, and the name itself is unchanged.
    """

    __slots__ = (
        "always_kept",
        "holds_name",
        "holds_type",
        "holds_value",
        "ordinary",
        "redacted",
        "secret",
    )

    def __init__(self, key: str, redacted: str, *, secret: bool, normalised: str) -> None:
        self.redacted = redacted
        self.secret = secret
        self.holds_name = normalised in _HOLD_NAME
        self.holds_type = normalised in _HOLD_TYPE
        self.holds_value = normalised in _HOLD_VALUE
        self.always_kept = normalised in _ALWAYS_KEPT
        self.ordinary = redacted == key and not (secret or self.holds_name or self.holds_type)


_TOO_LONG = FieldName("", MASK, secret=True, normalised="")


class SensitiveFields(dict[str, FieldName]):
    """Classifies field names, with a cache.

    Args:
        further: Additional sensitive names.
        harmless: Names that are not sensitive although they match.
        redact: Redacts a text; applied to the names themselves.

    Attributes:
        ordinary: The cached names that are ordinary.

    Raises:
        ValueError: A name has neither letters nor digits, so it would match everywhere.
    """

    def __init__(
        self, further: Collection[str], harmless: Collection[str], redact: Callable[[str], str]
    ) -> None:
        super().__init__()
        self.ordinary: set[str] = set()
        custom = [_normalise(name) for name in further]
        if "" in custom:
            raise ValueError("a name to redact must have letters or digits")
        translated = [_normalise(name) for name in TRANSLATED_NAME_PARTS]
        self._anywhere = tuple(dict.fromkeys((*NAME_PARTS, *translated, *custom)))
        self._harmless = HARMLESS | {_normalise(name) for name in harmless}
        self._redact = redact
        spellings = tuple(dict.fromkeys((*self._anywhere, *TRANSLATED_NAME_PARTS)))
        self._assigned = _Assigned(spellings)
        parts, word = "|".join(map(_with_separators, spellings)), "|".join(NAME_WORDS)
        self._followed = re2.compile(
            rf"(?i)((?:{parts}){_LETTER}*|(?:^|{_OTHER})(?:{word})) +(\S{{4,}})"
        )

    def __missing__(self, key: str) -> FieldName:
        """Classify a name."""
        if len(key) > MAX_NAME_LENGTH:
            return _TOO_LONG
        if len(self) >= MAX_CACHED_NAMES:
            self.clear()
            self.ordinary.clear()
        normalised = _normalise(key)
        words = [word.lower() for word in _WORD.findall(unicodedata.normalize("NFKD", key))]
        harmless = normalised in self._harmless or (len(words) > 1 and words[-1] in _METADATA_WORDS)
        secret = not harmless and (
            any(part in normalised for part in self._anywhere)
            or not NAME_WORDS.isdisjoint(words)
            or normalised in NAME_WORDS
            or _is_misspelt(normalised)
        )
        # The rest of a name that contains a sensitive name may be the secret.
        redacted = MASK if secret and not _IDENTIFIER.fullmatch(key) else self._redact(key)
        name = self[key] = FieldName(key, redacted, secret=secret, normalised=normalised)
        if name.ordinary:
            self.ordinary.add(key)
        return name

    def secret(self, value: Any) -> bool:
        """Whether a value is a sensitive name."""
        return type(value) is str and len(value) <= MAX_NAME_LENGTH and self[value].secret

    def redact_assignments(self, text: str) -> str:
        """Redact the value that a text assigns to a sensitive name, and the rest of the text."""
        end = self._assigned.end(text)
        if end is None:
            end = _end_misspelt(text)
        return text if end is None else text[:end] + MASK

    def redact_following_values(self, text: str) -> str:
        """Redact values that follow a sensitive name: ``bad password x7``."""
        return str(self._followed.sub(_mask_following, text)) if _DIGIT.search(text) else text

    def precedes_value(self, text: str) -> bool:
        """Whether a sensitive name in a text precedes what may be a value."""
        return self._followed.search(text) is not None


class _Assigned:
    """Finds where a text assigns a value to a sensitive name: ``password: x``, ``the pin is x``.

    RE2 scans a text once, whatever it holds and however many names there are. It searches bytes:
    given a string, its module encodes the entire string for each search.

    Args:
        names: Names that may be part of a word; those of ``NAME_WORDS`` are whole words.
    """

    def __init__(self, names: Collection[str]) -> None:
        parts = "|".join(map(_with_separators, names))
        word = rf"(?:^|{_OTHER})(?:{'|'.join(NAME_WORDS)})"
        self._sign = _compile(rf"(?:(?:{parts})[^:=]*|{word}(?:[^\pL\pN:=][^:=]*)?)[:=]")
        self._last = _compile(rf"[:=]?[^:=]*(?:{parts}|{word}{_OTHER})")
        says = f" +(?:{'|'.join(LINKING_VERBS)}) +|{_SPACE}*(?:是|为|為|は|는|은){_SPACE}*"
        self._stated = _compile(rf"(?:(?:{parts}){_LETTER}*|{word})(?:{says})")
        self._remark = _compile(_REMARK)

    def end(self, text: str) -> int | None:
        """The offset of the first value in a text; None without a value."""
        encoded = text.encode(errors="replace")
        found = (self._after_sign(encoded), self._after_verb(encoded))
        ends = [end for end in found if end is not None]
        if not ends:
            return None
        rest = text[len(encoded[: min(ends)].decode()) :].lstrip()
        return len(text) - len(rest) if rest else None

    def _after_sign(self, encoded: bytes) -> int | None:
        place = 0
        while found := self._sign.search(encoded, place):
            # Of several names, the last one is closest to the sign.
            last = self._last.match(encoded, found.start(), found.end())
            if len(encoded[last.end() : found.end() - 1].decode(errors="replace")) <= _MAX_DISTANCE:
                return int(found.end())
            place = found.end() - 1
        return None

    def _after_verb(self, encoded: bytes) -> int | None:
        found = self._stated.search(encoded)
        if found is None or self._remark.match(encoded, found.end()):
            return None
        return int(found.end())


def _mask_following(match: Any) -> str:
    name, value = match.groups()
    # A word has no digit; a number may be a count.
    digits = sum(map(str.isdigit, value))
    if digits and (digits < len(value.strip(".,;:!?)")) or not name.isalnum()):
        return f"{name} {MASK}"
    return str(match[0])


def _normalise(name: str) -> str:
    """Letters and digits only, case-folded and in NFKD."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(filter(str.isalnum, folded))


def _with_separators(name: str) -> str:
    """A pattern that allows separators between the letters of a name."""
    return r"[_ .-]?".join(map(re.escape, name.replace(" ", "")))


def _end_misspelt(text: str) -> int | None:
    """The offset of the value of a misspelt name in a text."""
    lower = text.lower()
    if _NAME_HALVES.search(lower.encode(errors="replace")):
        for sign in _NAMED.finditer(lower):
            if _is_misspelt(sign[1].translate(_NO_SEPARATORS)):
                return sign.end()
    return None


def _is_misspelt(normalised: str) -> bool:
    """Whether a name contains a long sensitive name with one letter wrong.

    One wrong letter leaves one half of the name intact: only names with such a half are checked.
    """
    if len(normalised) < _MIN_MISSPELT_LENGTH - 1 or not _NAME_HALVES.search(normalised.encode()):
        return False
    for word in _SIMILAR_WORDS:
        normalised = normalised.replace(word, " ")
    backwards = normalised[::-1]
    for first, second in _LONG_NAMES:
        at = normalised.find(first)
        if at >= 0 and _starts_almost_with(normalised[at + len(first) :], second):
            return True
        at = normalised.rfind(second)
        before = backwards[len(normalised) - at :]
        if at > 0 and _starts_almost_with(before, first[::-1], last=len(first) - 1):
            return True
    return False


def _starts_almost_with(text: str, word: str, last: int = 99) -> bool:
    """Whether a text starts with a word except for one letter, at an index below ``last``."""
    at = next((i for i, (a, b) in enumerate(zip(text, word, strict=False)) if a != b), len(text))
    if at >= len(word):
        return True
    rest = word[at + 1 :]
    return (
        at < last
        and (
            text[at + 1 :].startswith((rest, word[at:]))  # substituted or inserted
            or text[at:].startswith(rest)  # deleted
            or text[at:].startswith(rest[:1] + word[at] + rest[1:])  # swapped
        )
    )


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 26
    return re2.compile(b"(?is)" + pattern.encode(), options)


_LONG_NAMES = [
    (name[: len(name) // 2], name[len(name) // 2 :])
    for name in map(_normalise, (*NAME_PARTS, *TRANSLATED_NAME_PARTS))
    if len(name) >= _MIN_MISSPELT_LENGTH and name.isascii()
]
_NAME_HALVES = _compile("|".join({half for halves in _LONG_NAMES for half in halves}))
