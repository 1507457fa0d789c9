"""400 bodies with one secret each, generated deterministically."""

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote

SAMPLES = 400
_WORDS = ("falcon", "Winter", "cobalt", "harbour", "Marble", "sunset", "tiger", "Orchid")
_NAMES = (
    *("password", "userPassword", "API-Key", "client_secret", "access_token", "db.password"),
    *(
        "Passwort",
        "contraseña",
        "mot_de_passe",
        "senha",
        "пароль",
        "密码",
        "비밀번호",
        "wachtwoord",
    ),
    *(
        "pw",
        "pwd",
        "pasword",
        "passwrod",
        "signing_key",
        "encryptionKey",
        "ｐａｓｓｗｏｒｄ",
        "passphrase",
    ),
)
_SEPARATORS = (" ", "-", ".", "/", "_", " - ", "\u00a0", "")
_COUNTRIES = (("DE", 18), ("GB", 18), ("FR", 23), ("NL", 14), ("ES", 20), ("AT", 16))
_ALNUM = string.ascii_letters + string.digits


class Planted(NamedTuple):
    """A body with a secret.

    Attributes:
        kind: What kind of secret.
        body: JSON.
        secret: The secret as it is written there.
    """

    kind: str
    body: str
    secret: str


class SecretGenerator:
    """Generates secrets.

    Args:
        seed: The same seed makes the same secrets.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def signs(self, length: int, signs: str = _ALNUM) -> str:
        """Random characters."""
        return "".join(self.random.choices(signs, k=length))

    def password(self) -> str:
        """A human-chosen password."""
        first, second = self.random.sample(_WORDS, 2)
        return f"{first}{self.random.choice('-!_.')}{second}{self.random.randint(10, 999)}"

    def card(self) -> str:
        """A card number with a valid check digit, in groups."""
        digits = (self.random.choice(("4", "51", "55")) + self.signs(14, string.digits))[:15]
        total = sum(
            sum(divmod(int(digit) * (2 if at % 2 == 0 else 1), 10))
            for at, digit in enumerate(digits)
        )
        digits += str(-total % 10)
        separator = self.random.choice(_SEPARATORS)
        return separator.join(digits[at : at + 4] for at in range(0, 16, 4))

    def account(self) -> str:
        """An IBAN with valid check digits, in groups."""
        country, length = self.random.choice(_COUNTRIES)
        number = self.signs(length, string.digits)
        rest = int("".join(str(int(sign, 36)) for sign in f"{number}{country}00"))
        whole = f"{country}{98 - rest % 97:02d}{number}"
        separator = self.random.choice(("", " ", "-", "."))
        return separator.join(whole[at : at + 4] for at in range(0, len(whole), 4))

    def social(self) -> str:
        """A US social security number."""
        parts = (self.random.randint(100, 665), self.random.randint(10, 99))
        return self.random.choice("-. ").join(map(str, (*parts, self.random.randint(1000, 9999))))

    def token(self) -> str:
        """A token with the prefix of its issuer."""
        begin, length = self.random.choice(
            (
                *(("ghp_", 36), ("glpat-", 20), ("xoxb-", 24), ("sk_live_", 24), ("AIza", 35)),
                *(("npm_", 36), ("hf_", 34), ("shpat_", 32), ("SG.abcdefghij.", 43)),
            )
        )
        if self.random.random() < 0.2:
            return "AKIA" + self.signs(16, string.ascii_uppercase + string.digits)
        return begin + self.signs(length)

    def jwt(self) -> str:
        """A signed token."""
        claims = json.dumps({"sub": self.signs(6), "exp": self.random.randint(10**9, 2 * 10**9)})
        parts = (b'{"alg":"HS256"}', claims.encode(), self.random.randbytes(32))
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)

    def key(self) -> str:
        """A line of a private key."""
        return base64.b64encode(self.random.randbytes(48)).decode()


def planted() -> list[Planted]:
    """All bodies."""
    source = SecretGenerator(seed=13)
    found = [
        sample for kind, number, make in _KINDS for sample in _many(source, kind, number, make)
    ]
    if len(found) != SAMPLES:
        raise RuntimeError(f"{len(found)} samples, not {SAMPLES}")
    return found


Make = Callable[[SecretGenerator], tuple[object, str]]


def _many(source: SecretGenerator, kind: str, number: int, make: Make) -> Iterator[Planted]:
    for _ in range(number):
        content, secret = make(source)
        yield Planted(kind, json.dumps(content, ensure_ascii=False), secret)


def _named(source: SecretGenerator) -> tuple[object, str]:
    secret = source.password()
    return {"user": "anna", source.random.choice(_NAMES): secret, "n": 7}, secret


def _beside(source: SecretGenerator) -> tuple[object, str]:
    secret, name = source.password(), source.random.choice(_NAMES)
    naming, valuing = source.random.choice(
        (("type", "value"), ("name", "value"), ("key", "val"), ("k", "v"), ("field", "input"))
    )
    return {"fields": [{naming: name, valuing: secret}]}, secret


def _noted(make: Callable[[SecretGenerator], str]) -> Make:
    def note(source: SecretGenerator) -> tuple[object, str]:
        secret = make(source)
        text = source.random.choice(("{}", "please use {} for it", "see: {}", "{} (Anna)"))
        return {"note": text.format(secret)}, secret

    return note


def _address(source: SecretGenerator) -> str:
    name, host = source.random.sample(_WORDS, 2)
    return f"{name}.{source.signs(4, string.ascii_lowercase)}@{host.lower()}.org"


def _scheme(source: SecretGenerator) -> tuple[object, str]:
    if source.random.random() < 0.5:
        secret = source.signs(24)
        return {"header": f"Bearer {secret}"}, secret
    secret = base64.b64encode(f"anna:{source.password()}".encode()).decode()
    return {"line": f"Authorization: Basic {secret}"}, secret


def _url(source: SecretGenerator) -> tuple[object, str]:
    secret = source.password() if source.random.random() < 0.5 else source.signs(20)
    text = source.random.choice(
        (
            "postgresql://shop:{}@db.example:5432/shop",
            "redis://:{}@cache.example/0",
            "https://shop.example/reset?token={}&page=2",
            "https://anna:{}@shop.example/",
            "https://shop.example/a?access_token={}",
        )
    )
    return {"link": text.format(secret)}, secret


def _pem(source: SecretGenerator) -> tuple[object, str]:
    secret = source.key()
    kind = source.random.choice(("RSA PRIVATE", "PRIVATE", "OPENSSH PRIVATE", "EC PRIVATE"))
    return {"file": f"-----BEGIN {kind} KEY-----\n{secret}\n-----END {kind} KEY-----"}, secret


def _said(source: SecretGenerator) -> tuple[object, str]:
    secret = source.password()
    text = source.random.choice(
        (
            "password={}",
            "login failed, password: {}",
            "the password is {}",
            "das Passwort ist {}",
            "export API_KEY={}",
            "client_secret = '{}'",
            "pasword: {}",
            "пароль: {}",
            "ｐａｓｓｗｏｒｄ：{}",
        )
    )
    return {"message": text.format(secret)}, secret


def _inside(source: SecretGenerator) -> tuple[object, str]:
    secret = source.password()
    variant = source.random.randrange(4)
    if variant == 0:
        return {"payload": json.dumps({"id": 7, "password": secret})}, secret
    if variant == 1:
        return {"payload": f"<login><password>{secret}</password></login>"}, secret
    if variant == 2:
        return {"payload": quote(f"password={secret}", safe="")}, quote(secret, safe="")
    return {"payload": quote(quote(f"token={secret}", safe=""), safe="")}, quote(quote(secret))


def _bare(source: SecretGenerator) -> tuple[object, str]:
    secret = source.password() if source.random.random() < 0.5 else source.signs(16)
    return {"note": f"take {secret} this time"}, secret


_KINDS: tuple[tuple[str, int, Make], ...] = (
    ("named", 80, _named),
    ("beside its name", 30, _beside),
    ("card", 40, _noted(SecretGenerator.card)),
    ("bank account", 20, _noted(SecretGenerator.account)),
    ("social security", 20, _noted(SecretGenerator.social)),
    ("e-mail address", 20, _noted(_address)),
    ("JWT", 20, _noted(SecretGenerator.jwt)),
    ("Bearer, Basic", 20, _scheme),
    ("token with a prefix", 40, _noted(SecretGenerator.token)),
    ("URL", 40, _url),
    ("private key", 8, _pem),
    ("mentioned in a text", 30, _said),
    ("JSON, XML, percent signs inside", 20, _inside),
    ("without any name", 12, _bare),
)
