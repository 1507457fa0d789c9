"""Generators of request bodies: valid ones with secrets, malformed ones, and noise."""

import json
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any
from urllib.parse import urlencode

from hypothesis import strategies as st

from bench.fuzz.target import PASSWORD, TOKEN, Attempt

ENDPOINTS = (
    ("POST", "/api/users/login"),
    ("POST", "/api/users"),
    ("POST", "/api/products"),
    ("PUT", "/api/products/1"),
    ("PATCH", "/api/products/1"),
    ("POST", "/api/orders"),
    ("PUT", "/api/users/2/role"),
    ("GET", "/api/products"),
    ("POST", "/nowhere"),
    ("POST", "/unread"),
    ("POST", "/echo"),
    ("POST", "/stream"),
)
JSON, FORM = b"application/json", b"application/x-www-form-urlencoded"
TYPES = (
    JSON,
    b"application/problem+json; charset=utf-8",
    FORM,
    b"text/plain",
    b"multipart/form-data; boundary=x",
    b"text/event-stream",
    b"application/octet-stream",
    b"\xff;;;",
)
SECRET_NAMES = ("password", "Pass-Word", "new_password", "api key", "clientSecret", "x-auth-token")
PIECES = (
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"&", b"=", b"%", b";", b"+", b" ", b"\0"),
    *(b"\xff", b"\xed\xa0\x80", b"NaN", b"1e999", b"-", b"\\ud800", b"\\u0000", b'"a":1,"a":2'),
    *(b"[" * 40, b"9" * 400, b'{"a":' * 2_000, b"\xef\xbb\xbf", TOKEN.encode(), b"\r\n\r\n"),
)

_words = st.text(max_size=8)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | _words


def _forms(secret: str) -> st.SearchStrategy[dict[str, Any]]:
    """Valid bodies of the service, with the secret as the password."""
    return st.sampled_from(
        (
            {"email": "ada@example.com", "password": secret},
            {"email": "bob@example.com", "name": "Bob", "password": secret},
            {"name": "Oak desk", "category": "office", "price_cents": 1},
            {"items": [{"product_id": 1, "quantity": 1}]},
            {"role": "admin"},
        )
    )


def _nested(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(_words, inner, min_size=1, max_size=3)
        ),
        max_leaves=5,
    )


@st.composite
def _documents(draw: st.DrawFn, secret: str) -> Any:
    """A JSON value with a secret in a field with a sensitive name."""
    hidden = draw(_nested(st.just(secret)))
    others = draw(st.dictionaries(_words, _nested(_scalars), max_size=3) | _forms(secret))
    value: Any = {**others, draw(st.sampled_from(SECRET_NAMES)): hidden}
    for variant in draw(st.lists(st.sampled_from("lds"), max_size=3)):
        if variant == "l":
            value = [draw(_scalars), value]
        elif variant == "d":
            value = {draw(_words): value}
        else:
            value = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return value


@dataclass(frozen=True)
class Body:
    """A request body.

    Attributes:
        content: The bytes.
        media: The content type.
        named: Whether its secret is recognised by its field name; then it must not be mutated.
    """

    content: bytes
    media: bytes
    named: bool


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """A body with a secret in it."""
    secret = draw(st.sampled_from((PASSWORD, TOKEN)))
    named = secret == PASSWORD
    if draw(st.sampled_from((False, False, False, True))):
        pairs = [(draw(_words), draw(_words)), (draw(st.sampled_from(SECRET_NAMES)), secret)]
        return Body(urlencode(pairs, errors="replace").encode(), FORM, named)
    value = draw(_forms(secret) | _documents(secret))
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    return Body(text.encode(errors="replace"), JSON, named)


def attempt(body: Body, rng: Random) -> Attempt:
    """One request with a body: mutated, chunked, with wrong headers, or aborted."""
    content, media = body.content, body.media
    if not body.named:
        for _ in range(rng.randrange(4)):
            content = _mutate(content, rng)
        media = rng.choice((media, *TYPES))
    headers = [(b"content-type", media)]
    declared = rng.choice((len(content), len(content), None, rng.randrange(2_000_000)))
    if declared is not None:
        headers.append((b"content-length", b"%d" % declared))
    if rng.random() < 0.1:
        headers.append((b"content-encoding", rng.choice((b"gzip", b"identity", b"x"))))
    method, path = rng.choice(ENDPOINTS)
    return Attempt(
        method,
        path,
        tuple(headers),
        _parts(content, rng),
        authenticated=rng.random() < 0.5,
        waits=rng.random() < 0.9,
    )


def _mutate(content: bytes, rng: Random) -> bytes:
    start = rng.randint(0, len(content))
    end = rng.choice((start, start, min(len(content), start + rng.randrange(5)), len(content)))
    return content[:start] + rng.choice((*PIECES, rng.randbytes(2))) + content[end:]


def _parts(content: bytes, rng: Random) -> tuple[bytes, ...]:
    if len(content) < 100 and rng.random() < 0.2:
        return tuple(content[at : at + 1] for at in range(len(content))) or (b"",)
    cuts = sorted(rng.randint(0, len(content)) for _ in range(rng.randrange(4)))
    return tuple(content[a:b] for a, b in pairwise((0, *cuts, len(content))))
