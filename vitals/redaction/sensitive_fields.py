"""Which names are a secret's.

Names are compared without case, separators and compatibility forms, so ``Pass-Word``,
``pass_word`` and ``PASSWORD`` are one.
"""

import re
import unicodedata
from collections.abc import Callable, Collection
from typing import Any

import re2

MASK = "[redacted]"

ANYWHERE = (
    "password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "authorization",
    "credential", "apikey", "accesskey", "privatekey", "signature", "session", "cookie", "jwt",
    "cardnumber", "creditcard", "cardholder", "securitycode", "iban", "email",
    # keys that sign or encrypt, and what stands in for a password
    "signingkey", "signkey", "signerkey", "encryptionkey", "encryptkey", "decryptionkey",
    "masterkey", "hmackey", "sharedkey", "authkey", "licensekey", "sshkey", "gpgkey", "pgpkey",
    "sshprivate", "rsakey", "aeskey", "privkey", "storagekey", "accountkey", "servicekey",
    "webhookkey",
    "connectionstring", "recoverycode", "backupcode", "recoveryphrase", "seedphrase", "mnemonic",
    "socialsecurity", "dbpass", "userpass", "rootpass", "adminpass", "dbpw", "userpw",
)  # fmt: skip
"""A name that contains one of these is a secret's."""

ELSEWHERE = (
    "passwort", "kennwort", "geheim", "zugangsdaten", "mot de passe", "contraseña", "contrasenya",
    "senha", "segredo", "palavra passe", "wachtwoord", "lösenord", "adgangskode", "salasana",
    "jelszó", "heslo", "hasło", "haslo", "lozinka", "geslo", "slaptažodis", "şifre", "mật khẩu",
    "kata sandi", "пароль", "пароля", "парола", "секрет", "лозинка", "κωδικός", "סיסמה",
    "كلمة المرور", "كلمة السر", "密码", "密碼", "口令", "密钥", "パスワード", "暗証番号",
    "비밀번호", "비번", "암호", "पासवर्ड", "รหัสผ่าน",
)  # fmt: skip
"""The same in other languages."""

WHOLE = frozenset(
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
"""A name that has one of these among its words is a secret's."""

HARMLESS = frozenset(("tokentype", "maxtokens", "tokencount", "totaltokens", "tokenizer"))

_MISSPELT = 8
"""Letters of a name from which on it is known with one of them wrong, missing, twice or swapped."""
_WORDS_OF_THEIR_OWN = ("passport",)
"""What is one letter from a secret's name, and none."""

SAYS = ("is", "ist", "lautet", "es", "est", "jest")
"""Words between a secret's name and the secret, in a sentence; ``says_something`` has them too."""

LONGEST = 64
"""Characters of a name. A longer one is no name but data: it is neither shown nor remembered."""

REMEMBERED = 4_096
"""Names of which the verdict is kept; whoever sends more of them has us judge them anew."""

_NAMING = frozenset(
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
_ABOUT = frozenset(
    (
        *("count", "length", "size", "limit", "policy", "strength", "expiry", "expires", "ttl"),
        *("verified", "enabled", "required", "timeout", "lifetime", "attempts", "age"),
        *("algorithm", "at", "in"),
    )
)
"""Last words of names that tell of a secret what may be known."""
_TYPING = frozenset(("type", "kind", "k", "n"))
_VALUING = frozenset(
    (
        *("value", "val", "v", "values", "content", "data", "text", "input", "answer", "default"),
        *("raw", "plain", "plaintext", "current", "new", "old"),
    )
)
_SAYING = frozenset(("type", "code", "status"))
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DIGIT = re.compile(r"\d")
_IDENTIFIER = re.compile(r"[a-zA-Z][\w.\[\]-]{0,31}", re.ASCII)
_NAMED = re.compile(r"(?<![\w.-])([\w.-]{6,64}+)[\"' ]{0,3}+[:=]\s*+(?=\S)")
_NO_SEPARATORS = dict.fromkeys(map(ord, "_-."))
_BETWEEN = 40
"""Characters that may stand between a secret's name and the sign that gives it a value."""
_SPACE = r"[\s\pZ\x0b\x1c-\x1f\x85]"
_LETTER, _OTHER = r"[\pL\pN]", r"[^\pL\pN]"
_REMARK = (
    rf"(?:(?:not|no|too|already|still){_SPACE}+)*(?:wrong|(?:in)?correct|(?:in)?valid|missing|"
    r"required|empty|expired|short|long|weak|taken|unknown|known|set|allowed|needed|revoked|"
    rf"refused|over){_SPACE}*[.!]?{_SPACE}*\z"
)
"""What may be said of a secret without telling it."""


class Name:
    """What is known of a name.

    Attributes:
        shown: How it is told.
        secret: Whether its value is one.
        naming: Whether its value may be the name of a secret that stands beside it.
        typing: Whether it may be the kind of secret that stands beside it as a value.
        valuing: Whether it names no more than a value.
        saying: Whether its value is told even beside a secret.
        ordinary: None of this applies, and it is told as it is.
    """

    __slots__ = ("naming", "ordinary", "saying", "secret", "shown", "typing", "valuing")

    def __init__(self, key: str, shown: str, *, secret: bool, squashed: str) -> None:
        self.shown = shown
        self.secret = secret
        self.naming = squashed in _NAMING
        self.typing = squashed in _TYPING
        self.valuing = squashed in _VALUING
        self.saying = squashed in _SAYING
        self.ordinary = shown == key and not (secret or self.naming or self.typing)


_LONG = Name("", MASK, secret=True, squashed="")


class Names(dict[str, Name]):
    """Judges names, and remembers its verdicts.

    Args:
        further: Names of secrets beyond those known here.
        harmless: Names that are none although they look like it.
        redact: Takes secrets out of a text; what a name shows of itself has been through it.

    Attributes:
        ordinary: Those of the names it remembers that are.

    Raises:
        ValueError: A name has neither letters nor digits, so it would be found everywhere.
    """

    def __init__(
        self, further: Collection[str], harmless: Collection[str], redact: Callable[[str], str]
    ) -> None:
        super().__init__()
        self.ordinary: set[str] = set()
        own = [_squash(name) for name in further]
        if "" in own:
            raise ValueError("a name to redact must have letters or digits")
        elsewhere = [_squash(name) for name in ELSEWHERE]
        self._anywhere = tuple(dict.fromkeys((*ANYWHERE, *elsewhere, *own)))
        self._harmless = HARMLESS | {_squash(name) for name in harmless}
        self._redact = redact
        spellings = tuple(dict.fromkeys((*self._anywhere, *ELSEWHERE)))
        self._assigned = _Assigned(spellings)
        within, whole = "|".join(map(_spread, spellings)), "|".join(WHOLE)
        self._given = re2.compile(
            rf"(?i)((?:{within}){_LETTER}*|(?:^|{_OTHER})(?:{whole})) +(\S{{4,}})"
        )

    def __missing__(self, key: str) -> Name:
        """Judge a name."""
        if len(key) > LONGEST:
            return _LONG
        if len(self) >= REMEMBERED:
            self.clear()
            self.ordinary.clear()
        squashed = _squash(key)
        words = [word.lower() for word in _WORD.findall(unicodedata.normalize("NFKD", key))]
        harmless = squashed in self._harmless or (len(words) > 1 and words[-1] in _ABOUT)
        secret = not harmless and (
            any(part in squashed for part in self._anywhere)
            or not WHOLE.isdisjoint(words)
            or squashed in WHOLE
            or _is_misspelt(squashed)
        )
        # What follows a secret's name within the name may be the secret.
        shown = MASK if secret and not _IDENTIFIER.fullmatch(key) else self._redact(key)
        name = self[key] = Name(key, shown, secret=secret, squashed=squashed)
        if name.ordinary:
            self.ordinary.add(key)
        return name

    def secret(self, value: Any) -> bool:
        """Whether a value is the name of a secret."""
        return type(value) is str and len(value) <= LONGEST and self[value].secret

    def without_assigned(self, text: str) -> str:
        """A text without the value that it gives to a secret's name, and what follows it."""
        end = self._assigned.end(text)
        if end is None:
            end = _end_misspelt(text)
        return text if end is None else text[:end] + MASK

    def without_given(self, text: str) -> str:
        """A text without the values that stand behind a secret's name: ``bad password x7``."""
        return str(self._given.sub(_mask_given, text)) if _DIGIT.search(text) else text


class _Assigned:
    """Finds where a text gives a value to a secret's name: ``password: x``, ``the pin is x``.

    RE2 reads a text once, whatever it holds and however many names there are. It searches bytes:
    given a string, its module encodes all of it anew for each search.

    Args:
        names: Those that may stand within a word; those of ``WHOLE`` are words.
    """

    def __init__(self, names: Collection[str]) -> None:
        within, whole = "|".join(map(_spread, names)), rf"(?:^|{_OTHER})(?:{'|'.join(WHOLE)})"
        self._sign = _compile(rf"(?:(?:{within})[^:=]*|{whole}(?:[^\pL\pN:=][^:=]*)?)[:=]")
        self._last = _compile(rf"[:=]?[^:=]*(?:{within}|{whole}{_OTHER})")
        says = f" +(?:{'|'.join(SAYS)}) +|{_SPACE}*(?:是|为|為|は|는|은){_SPACE}*"
        self._is = _compile(rf"(?:(?:{within}){_LETTER}*|{whole})(?:{says})")
        self._remark = _compile(_REMARK)

    def end(self, text: str) -> int | None:
        """How many characters of a text come before the first value; None without a value."""
        said = text.encode(errors="replace")
        ends = [end for end in (self._after_sign(said), self._after_is(said)) if end is not None]
        if not ends:
            return None
        rest = text[len(said[: min(ends)].decode()) :].lstrip()
        return len(text) - len(rest) if rest else None

    def _after_sign(self, said: bytes) -> int | None:
        place = 0
        while found := self._sign.search(said, place):
            # Of several names the last one is the closest to the sign.
            last = self._last.match(said, found.start(), found.end())
            if len(said[last.end() : found.end() - 1].decode(errors="replace")) <= _BETWEEN:
                return int(found.end())
            place = found.end() - 1
        return None

    def _after_is(self, said: bytes) -> int | None:
        found = self._is.search(said)
        if found is None or self._remark.match(said, found.end()):
            return None
        return int(found.end())


def _mask_given(match: Any) -> str:
    name, value = match.groups()
    # A word of a sentence has no digit; a number may count something.
    digits = sum(map(str.isdigit, value))
    if digits and (digits < len(value.strip(".,;:!?)")) or not name.isalnum()):
        return f"{name} {MASK}"
    return str(match[0])


def _squash(name: str) -> str:
    """Letters and digits only, in one case and form."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    return "".join(filter(str.isalnum, folded))


def _spread(name: str) -> str:
    """A pattern of the name with separators between its letters."""
    return r"[_ .-]?".join(map(re.escape, name.replace(" ", "")))


def _end_misspelt(text: str) -> int | None:
    """How many characters of a text come before the value of a misspelt name."""
    lower = text.lower()
    if _HALVES.search(lower.encode(errors="replace")):
        for sign in _NAMED.finditer(lower):
            if _is_misspelt(sign[1].translate(_NO_SEPARATORS)):
                return sign.end()
    return None


def _is_misspelt(squashed: str) -> bool:
    """Whether a part of a name is a long name of a secret with one letter wrong.

    One letter wrong leaves one half of the name right: only where one stands is there more to see.
    """
    if len(squashed) < _MISSPELT - 1 or not _HALVES.search(squashed.encode()):
        return False
    for word in _WORDS_OF_THEIR_OWN:
        squashed = squashed.replace(word, " ")
    backwards = squashed[::-1]
    for first, second in _LONG_NAMES:
        at = squashed.find(first)
        if at >= 0 and _begins(squashed[at + len(first) :], second):
            return True
        at = squashed.rfind(second)
        if at > 0 and _begins(backwards[len(squashed) - at :], first[::-1], last=len(first) - 1):
            return True
    return False


def _begins(text: str, word: str, last: int = 99) -> bool:
    """Whether a text begins with a word but for one letter, which is before ``last``."""
    at = next((i for i, (a, b) in enumerate(zip(text, word, strict=False)) if a != b), len(text))
    if at >= len(word):
        return True
    rest = word[at + 1 :]
    return (
        at < last
        and (
            text[at + 1 :].startswith((rest, word[at:]))  # another letter, or one more
            or text[at:].startswith(rest)  # one less
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
    for name in map(_squash, (*ANYWHERE, *ELSEWHERE))
    if len(name) >= _MISSPELT and name.isascii()
]
_HALVES = _compile("|".join({half for halves in _LONG_NAMES for half in halves}))
