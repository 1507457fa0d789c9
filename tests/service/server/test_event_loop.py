"""No request blocks the event loop for long, with the whole production configuration."""

from collections.abc import Callable, Iterator
from itertools import count, takewhile
from typing import Any, NamedTuple

import pytest

from tests.service.running import settings_for
from tests.service.server.event_loop import Watched, watched

SMALL, LARGE = 65_536, 1_048_576
BOUNDS = {SMALL: 0.020, LARGE: 0.050}
"""Seconds of processor time, by the bytes of a body."""
LOGGED_LIMIT = 8_192
"""Bytes up to which a refused body is logged, redacted."""
JSON = {"Content-Type": "application/json"}
LOGIN, ORDER, USERS = "/api/users/login", "/api/orders", "/api/users"


class Hostile(NamedTuple):
    """A body: items numbered from 0, as many as fit, between a beginning and an end."""

    item: str | Callable[[int], str]
    begin: str = ""
    end: str = ""
    joint: str = ","
    path: str = LOGIN
    most: int = LARGE

    def body(self, size: int) -> bytes:
        """Return a body of about this size."""
        room = min(size, self.most) - len((self.begin + self.end).encode())
        used = 0

        def items() -> Iterator[str]:
            return (self.item if isinstance(self.item, str) else self.item(n) for n in count())

        def fits(item: str) -> bool:
            nonlocal used
            used += len(item.encode()) + len(self.joint)
            return used <= room

        return (self.begin + self.joint.join(takewhile(fits, items())) + self.end).encode()


def member(number: int) -> str:
    return f'"{number:x}":0'


ITEM = "{" + ",".join(map(member, range(20))) + "}"
BODIES = {
    "unknown members": Hostile(member, "{", "}"),
    "unknown members of a registration": Hostile(member, "{", "}", path=USERS),
    "as many members as may be": Hostile(member, "{", "}", most=84_000),
    "unknown members in items": Hostile(ITEM, '{"items":[', "]}", path=ORDER, most=84_000),
    "items": Hostile("{}", '{"items":[', "]}", path=ORDER),
    "elements": Hostile("0", "[", "]"),
    "arrays": Hostile("[]", "[", "]"),
    "as many arrays as may be": Hostile("[]", "[", "]", most=29_000),
    "objects": Hostile('{"a":{}}', '{"a":[', "]}"),
    "levels": Hostile("[", joint=""),
    "levels of objects": Hostile('{"a":', joint=""),
    "members of one name": Hostile('"a":0', "{", "}"),
    "one name twice, at the end": Hostile(member, "{", ',"1":0}'),
    "no number, at the end": Hostile('""', "[", ",NaN]"),
    "too large a number, at the end": Hostile("1", "[", ",1e999]", most=19_000),
    "one integer": Hostile("9", '{"email":', "}", joint=""),
    "one fraction": Hostile("9", '{"email":0.', "}", joint=""),
    "long integers": Hostile("9" * 1_000, "[", "]"),
    "long fractions": Hostile("1." + "7" * 990 + "e-300", "[", "]"),
    "halves between two numbers": Hostile("9007199254740993." + "0" * 82 + "1", "[", "]"),
    "large exponents": Hostile("1e300", "[", "]", most=60_000),
    "small exponents": Hostile("2.2250738585072011e-308", "[", "]", most=230_000),
    "strings": Hostile('""', '{"a":[', "]}"),
    "escapes": Hostile("\\u0061", '{"email":"', '","password":"x"}', joint=""),
    "halves of characters": Hostile("\\ud800", '{"email":"', '"}', joint=""),
    "quotes": Hostile('\\"', '{"email":"', '"}', joint=""),
    "backslashes": Hostile("\\\\", '{"email":"', '\\"}', joint=""),
    "commas in a string": Hostile(",", '{"email":"', '"}', joint=""),
    "brackets in strings": Hostile('"[["', "[", "]"),
    "one password": Hostile("x", '{"email":"a@b.co","password":"', '"}', joint="", most=260_000),
    "one address": Hostile("a.", '{"email":"', '@b.co","password":"x"}', joint="", most=260_000),
    "one name": Hostile("~/", '{"', '":0}', joint="", most=260_000),
    "spaces": Hostile(" ", '{"email":"a@b.co","password":"x"', "}", joint=""),
    "no JSON": Hostile("x", "{", joint=""),
    "no UTF-8": Hostile("x", '{"a":"', '\\udcff"}', joint=""),
    # Log events are redacted first.
    "logged: assigned": Hostile("password", '["', ' is x"]', joint="", most=LOGGED_LIMIT),
    "logged: names and signs": Hostile("pin x", '["', ':"]', joint=" ", most=LOGGED_LIMIT),
    "logged: cards": Hostile(
        "1-11-11-11-1-11-1-11-1-11-1-1 ,", '["', '"]', joint="", most=LOGGED_LIMIT
    ),
    "logged: addresses": Hostile('"://a@ "', "[", "]", most=LOGGED_LIMIT),
    "logged: numbers": Hostile("1e15", "[", "]", most=LOGGED_LIMIT),
    "logged: pairs": Hostile(lambda n: f'["{n:x}:",0]', '{"x":[', "]}", most=LOGGED_LIMIT),
    "logged: secrets": Hostile(lambda n: f'"pin {n}":"ab\\"\\"{n}yz"', "{", "}", most=LOGGED_LIMIT),
    "logged: JSON in strings": Hostile('"[{"', "[", "]", most=LOGGED_LIMIT),
}

HEADS = {
    "one long parameter": ("GET", "/api/products?text=" + "a" * 60_000, {}),
    "encoded characters": ("GET", "/api/products?text=" + "%41" * 20_000, {}),
    "parameters": ("GET", "/api/products?" + "&".join(["a=1"] * 15_000), {}),
    "as many parameters as may be": ("GET", "/api/products?" + "&".join(["a=1"] * 200), {}),
    "a long cursor": ("GET", "/api/products?cursor=" + "a" * 60_000, {}),
    "a long path": ("GET", "/api/products/" + "a" * 60_000, {}),
    "slashes": ("GET", "/" * 60_000, {}),
    "headers": ("GET", "/api/products", {f"x{n}": "y" for n in range(5_000)}),
    "tags": ("GET", "/api/products", {"If-None-Match": '"a",' * 15_000}),
    "tags to change": ("PATCH", "/api/products/1", {"If-Match": '"a",' * 14_000}),
    "codings": ("GET", "/api/products", {"Accept-Encoding": "a;q=1," * 9_000}),
    "codings of metrics": ("GET", "/metrics", {"Accept-Encoding": "a;q=1," * 9_000}),
    "types of metrics": ("GET", "/metrics", {"Accept": "a;q=1," * 9_000}),
    "cookies": ("GET", "/api/products", {"Cookie": "a=b;" * 15_000}),
    "a long token": ("GET", "/api/users/me", {"Authorization": "Bearer " + "a" * 60_000}),
    "a token of dots": ("GET", "/api/users/me", {"Authorization": "Bearer " + "." * 60_000}),
    "a long agent": ("GET", "/api/products", {"User-Agent": "Mozilla/5.0 (" * 4_000}),
    "forwarders": ("GET", "/api/products", {"X-Forwarded-For": "1.1.1.1," * 7_000}),
    "types": ("POST", LOGIN, {"Content-Type": "application/json;" + "a=b;" * 14_000}),
    "a trace": ("GET", "/api/products", {"traceparent": "0" * 60_000}),
    "an id": ("GET", "/api/products", {"X-Request-ID": "a" * 60_000}),
}  # fmt: skip


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("held")
    settings = settings_for(folder, account_attempts=10**9, address_attempts=10**9)
    with watched(settings) as started:
        started.ask("POST", LOGIN, b'{"email":"a@b.co","password":"x"}', JSON)
        yield started


def blocks(service: Watched, bound: float, content: bytes, head: tuple[str, str, Any]) -> bool:
    """Return whether a request blocks the loop beyond a bound, in each of several attempts.

    One attempt below the bound is enough: garbage collection makes some of them longer.
    """
    method, path, headers = head
    for _ in range(4):
        status, answer, seconds = service.ask(method, path, content, headers)
        assert status < 500
        assert len(answer) < 10_000 or path == "/metrics"
        if seconds < bound:
            return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("size", BOUNDS)
@pytest.mark.parametrize("hostile", BODIES)
def test_no_body_blocks_the_event_loop(service: Watched, hostile: str, size: int) -> None:
    body = BODIES[hostile].body(size).replace(b"\\udcff", b"\xff")
    assert len(body) <= size
    assert not blocks(service, BOUNDS[size], body, ("POST", BODIES[hostile].path, JSON))


@pytest.mark.parametrize("head", HEADS)
def test_no_head_blocks_the_event_loop(service: Watched, head: str) -> None:
    content = b"" if HEADS[head][0] == "GET" else b"{}"
    assert not blocks(service, BOUNDS[SMALL], content, HEADS[head])
