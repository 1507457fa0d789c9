"""400 bodies without secrets, generated deterministically; many resemble ones with secrets."""

import json
import random
import string
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

SAMPLES = 400
_THINGS = ("desk", "lamp", "chair", "shelf", "mirror", "carpet", "kettle", "vase")
_KINDS_OF = ("Oak", "walnut", "small", "foldable", "round", "Nordic", "outdoor", "vintage")
_NAMES = (
    *("Anna Müller", "José García", "Søren Kierkegaard", "Zoë O'Hara", "李小龙", "Иван Петров"),
    *("Fatima al-Zahra", "Passmore Edwards", "Mary Secrett", "Pat Pinner"),
)
_SENTENCES = (
    "the passport office opens at 9",
    "a session of yoga, 45 minutes",
    "pass the salt, please",
    "token of appreciation for {} years",
    "the secretary called {} times",
    "our keyword of the month is {}",
    "password must have at least {} letters",
    "the password is too short",
    "card games for {} players",
    "author of {} books",
    "basic training, room {}",
    "bearer of good news",
    "the price is {} euros",
    "pin the note to board {}",
    "sign in to see {} offers",
    "access denied for page {}",
    "{} of 10 customers were happy",
    "authorities closed the road for {} days",
)
_MEMBERS: tuple[tuple[str, object], ...] = (
    *(("token_type", "bearer"), ("password_length", 12), ("session_count", 7)),
    *(("email_verified", True), ("passport_country", "FR"), ("max_tokens", 512)),
    *(("keyword", "desk"), ("author", "Anna"), ("primary_key", "id"), ("credit", 17.5)),
    *(("password_changed_at", "2026-11-30"), ("has_password", False), ("compass", "north")),
    *(("discard", "none"), ("panel", "left"), ("sort_key", "price"), ("passenger", "two")),
    *(("shipping_method", "express"), ("assignee", "Bob"), ("design", "plain")),
)


class Benign(NamedTuple):
    """A body without a secret.

    Attributes:
        kind: What it holds.
        body: JSON.
    """

    kind: str
    body: str


Make = Callable[[random.Random, int], str]


def benign() -> list[Benign]:
    """All bodies."""
    source = random.Random(17)
    found = [
        Benign(kind, json.dumps({"note": make(source, at)}, ensure_ascii=False))
        for kind, number, make in _KINDS
        for at in range(number)
    ]
    found += [Benign("a member's name", json.dumps({name: value})) for name, value in _MEMBERS]
    if len(found) != SAMPLES:
        raise RuntimeError(f"{len(found)} samples, not {SAMPLES}")
    return found


def _digits(source: random.Random, length: int) -> str:
    return "".join(source.choices(string.digits, k=length))


def _hex(source: random.Random, length: int) -> str:
    return "".join(source.choices("0123456789abcdef", k=length))


def _moment(source: random.Random, at: int) -> str:
    date = f"20{source.randint(10, 40)}-{source.randint(1, 12):02d}-{source.randint(1, 28):02d}"
    time = f"{source.randint(0, 23):02d}:{source.randint(0, 59):02d}:{source.randint(0, 59):02d}"
    return (date, f"{date}T{time}Z", f"{date} {time}", f"{date}T{time}.{_digits(source, 6)}+02:00")[
        at % 4
    ]


def _price(source: random.Random, at: int) -> str:
    euros = source.randint(1, 9_999_999)
    return (f"{euros / 100:.2f} EUR", f"{euros:,}.00", f"-{euros}", f"{euros % 101} %")[at % 4]


def _phone(source: random.Random, at: int) -> str:
    a, b, c = (_digits(source, length) for length in (3, 3, 4))
    return (f"({a}) {b}-{c}", f"+49 30 {b}{c}", f"+1-{a}-{b}-{c}", f"0{a} / {b} {c}")[at % 4]


def _product(source: random.Random, at: int) -> str:
    thing = f"{source.choice(_KINDS_OF)} {source.choice(_THINGS)}"
    number = _digits(source, 5)
    return (thing, f"{thing}, {number} in stock", f"SKU-{number}-{thing[:2].upper()}")[at % 3]


def _order(source: random.Random, at: int) -> str:
    number = _digits(source, 8)
    return (f"ORD-2026-{number}", f"#{number}", f"INV/{number[:4]}/{number[4:]}", number)[at % 4]


def _version(source: random.Random, at: int) -> str:
    version = ".".join(str(source.randint(0, 30)) for _ in range(3))
    return (f"v{version}", f"react@{version}", f"{version}-rc.{at}", f"python:{version}-slim")[
        at % 4
    ]


def _place(source: random.Random, at: int) -> str:
    north, east = source.uniform(-90, 90), source.uniform(-180, 180)
    return (f"{north:.6f}, {east:.6f}", f"{at} Elm Street, 10{_digits(source, 3)} Berlin")[at % 2]


def _network(source: random.Random, at: int) -> str:
    address = ".".join(str(source.randint(1, 254)) for _ in range(4))
    return (address, f"{address}:8080", f"2001:db8::{_hex(source, 4)}", f"{address}/24")[at % 4]


def _title(source: random.Random, at: int) -> str:
    words = source.choices((*_THINGS, *map(str.lower, _KINDS_OF)), k=3 + at % 6)
    return ("-", "_")[at % 2].join(words)


def _path(source: random.Random, at: int) -> str:
    name = f"{source.choice(_THINGS)}_{_digits(source, 4)}"
    return (
        f"/srv/data/{name}.csv",
        f"C:\\Users\\Anna\\{name}.docx",
        f"s3://shop-media/img/{name}.jpg",
        f"shop.orders.models.{name}",
    )[at % 4]


def _article(source: random.Random, at: int) -> str:
    isbn = f"978-3-{_digits(source, 2)}-{_digits(source, 6)}-{_digits(source, 1)}"
    return (isbn, f"978{_digits(source, 10)}", f"ISBN {isbn}", _digits(source, 12))[at % 4]


def _link(source: random.Random, at: int) -> str:
    number = _digits(source, 4)
    return (
        f"https://shop.example/items/{number}?page=2&sort=price",
        f"https://shop.example/{_title(source, at)}.html#reviews",
        f"http://localhost:8000/api/orders/{number}",
        f"https://shop.example/search?q=oak%20desk&limit={number}",
    )[at % 4]


def _list(source: random.Random, at: int) -> str:
    separator = (", ", " ", ";", "|")[at % 4]
    return separator.join(str(source.randint(1, 99)) for _ in range(4 + at % 5))


def _markup(source: random.Random, at: int) -> str:
    thing = source.choice(_THINGS)
    return (
        f"<b>{thing}</b> &amp; more",
        f"{thing} = {at}",
        f"5 < {at} > 3",
        f"100% {thing}, 20% off",
        f"color: #{_hex(source, 6)}; width: {at}px",
    )[at % 5]


_KINDS: tuple[tuple[str, int, Make], ...] = (
    ("UUID", 30, lambda source, _: str(UUID(int=source.getrandbits(128), version=4))),
    ("time", 30, _moment),
    ("price", 20, _price),
    ("phone", 20, _phone),
    ("product", 30, _product),
    ("order", 20, _order),
    ("hash", 20, lambda source, at: _hex(source, (7, 8, 16, 32)[at % 4])),
    ("version", 20, _version),
    ("place", 20, _place),
    ("network", 20, _network),
    ("title", 25, _title),
    ("path", 20, _path),
    ("sentence", 25, lambda source, at: _SENTENCES[at % 18].format(source.randint(2, 99))),
    ("article", 20, _article),
    ("link", 20, _link),
    ("name", 10, lambda _, at: _NAMES[at % 10]),
    ("list", 15, _list),
    ("markup", 15, _markup),
)
