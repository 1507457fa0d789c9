"""The guard: what is refused, how the client is told, and that nothing is refused by mistake."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.responses import JSONResponse
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Message

from tests.vitals.client import converse, fetch, http_scope
from vitals import Guard, instrument
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION, HTTP_REQUESTS_REFUSED
from vitals.testing import Readings
from vitals.validation import ijson, size_limits
from vitals.validation.problems import Refused

JSON = {"content-type": "application/json"}
PROBLEM = "application/problem+json"
TIGHT = Guard(
    limit=1_000, depth=4, members=300, string=800, digits=500, routes={"/api/wide/{item}": 5_000}
)


class Thing(BaseModel):
    name: str
    price: float = 0.0


def make(guard: Guard | None = TIGHT) -> FastAPI:  # every kind of reader
    app = FastAPI()
    app.state.worked = 0
    router = APIRouter(prefix="/api")

    @app.post("/things")
    async def things(thing: Thing) -> str:
        app.state.worked += 1
        return thing.name

    @router.post("/wide/{item}")
    async def wide(item: int, thing: Thing) -> str:
        return thing.name

    @app.post("/raw")
    async def raw(request: Request) -> int:
        size = len(await request.body())
        app.state.worked += 1
        return size

    @app.post("/text")
    async def text(text: Annotated[str, Body(media_type="text/plain")]) -> str:
        return text

    @app.post("/stubborn")
    async def stubborn(request: Request) -> JSONResponse:
        try:
            await request.body()
        except Exception:  # noqa: BLE001  # an application that swallows everything
            return JSONResponse({"fine": True})
        return JSONResponse({"fine": True})

    @app.post("/deaf")
    async def deaf() -> str:
        return "not read"

    async def both_ways(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})

    app.mount("/both-ways", both_ways)
    app.include_router(router)
    instrument(app, logs=False, guard=guard)
    return app


def post(app: Any, path: str, content: Any, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return fetch(app, "POST", path, content=content, headers={**JSON, **named}, timeout=10)


def reasons(app: FastAPI) -> dict[str, float]:
    counted = Readings.of(app)
    return {
        labels["reason"]: value
        for labels in counted.series(HTTP_REQUESTS_REFUSED)
        if (value := counted.value(HTTP_REQUESTS_REFUSED, **labels))
    }


REFUSED = [
    (b'{"name": "x", "price": NaN}', 400, "number", "/price"),
    (b'{"name": "x", "price": -Infinity}', 400, "number", "/price"),
    (b'{"name": "x", "price": NaN-7}', 400, "number", "/price"),
    (b'{"pa\\ud800ss": NaN}', 400, "number", "/pa?ss"),
    (b'{"name": "x", "more": [1, 2, 1e999]}', 400, "number", "/more/2"),
    (b'{"name": "x", "price": ' + b"9" * 400 + b"." + b"9" * 9 + b"}", 400, "number", "/price"),
    (b'{"name": "x", "price": ' + b"9" * 500 + b"e9}", 422, "digits", ""),
    (b'{"name": "x", "price": -0.' + b"9" * 498 + b"}", 422, "digits", ""),
    (b'{"name": "x", "more": [' + b"0," * 299 + b"0]}", 422, "members", ""),
    (b"[" + b"[]," * 301 + b"{}]", 422, "members", ""),
    (
        b"{" + b"".join(b'"%d":0,' % n for n in range(100)) + b'"a":"' + b"," * 250,
        400,
        "syntax",
        "",
    ),
    (b'{"name": "' + b"x" * 801 + b'"}', 422, "string", ""),
    (b'{"' + b'\\"' * 401 + b'": "x"}', 422, "string", ""),
    (b'{"name": "x", "name": "y"}', 400, "duplicate_key", "/name"),
    (b'[{"a/b": {"n~": 1, "o": "{[", "n~": 2}}]', 400, "duplicate_key", "/0/a~1b/n~0"),
    (b'{"a": 1, "\\u0061": 2}', 400, "duplicate_key", "/a"),
    (b'{"name": "\xff"}', 400, "encoding", ""),
    (b'{"name": "\\ud800"}', 400, "encoding", ""),
    ('{"name": "x"}'.encode("utf-16"), 400, "encoding", ""),
    (b'\xef\xbb\xbf{"name": "x"}', 400, "syntax", ""),
    (b'{"name": "x"', 400, "syntax", ""),
    (b"{'name': 1}", 400, "syntax", ""),
    (b'{"name": "x"} {}', 400, "syntax", ""),
    (b"[" * 149 + b"]" * 149, 422, "depth", ""),
    (b'{"a":[[[[1]]]]}', 422, "depth", ""),
    (b'"' + b"x" * 999 + b'"', 413, "too_large", None),
]


@pytest.mark.parametrize(("body", "status", "reason", "pointer"), REFUSED)
def test_bodies_that_are_refused(
    body: bytes, status: int, reason: str, pointer: str | None
) -> None:
    app = make()
    answer = post(app, "/raw", body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail"} <= problem.keys()
    if pointer is not None:
        assert problem["errors"] == [{"detail": problem["detail"], "pointer": pointer}]
    assert reasons(app) == {reason: 1}
    assert app.state.worked == 0
    labels = {"http_route": "/raw", "http_response_status_code": str(status)}
    assert Readings.of(app).value(HTTP_REQUEST_DURATION, "_count", **labels) == 1


ACCEPTED = [
    b'{"name": "x", "price": 1e308}',
    b'{"name": "NaN Infinity 1e999 \\ud83d\\ude00"}',
    b'{"name": "[[[[[[[[{{{{{{{{"}',
    b'{"name": "x", "more": [[[]]], "other": [[[]]], "a": {}, "b": {"a": {}}}',
    b'{"name": "\\"name\\": 1", "price": 12345678901234567890}',
    b' {"name": "x", "big": ' + b"9" * 400 + b"} ",
    '{"name": "\u00e9\ud55c"}'.encode(),
    b'{"name": "x", "more": [' + b" 0 ," * 237 + b"0]}",
    b'{"name": "' + b"[," * 390 + b'", "more": [' + b"0," * 90 + b"0]}",
    b'{"name": "' + b"9" * 600 + b'"}',
    b'{"name": "' + b"x" * 800 + b'"}',
    b'{"name": "x", "price": ' + b"9" * 495 + b"e-450}",
]


@pytest.mark.parametrize("body", ACCEPTED)
def test_bodies_that_are_not_refused(body: bytes) -> None:
    app = make()
    assert post(app, "/things", body).status_code == 200
    assert reasons(app) == {}


def test_a_body_of_no_bytes_is_the_applications_business() -> None:
    assert post(make(), "/things", b"").status_code == 422
    assert post(make(), "/raw", b"").json() == 0


def test_the_size_counts_whatever_was_declared() -> None:
    app = make()

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    declared = post(app, "/raw", b"x" * 1_001)
    assert declared.json()["errors"] == [
        {"detail": "The body is larger than 1000 bytes.", "header": "content-length"}
    ]
    assert post(app, "/raw", parts()).status_code == 413
    assert post(app, "/raw", b"x" * 1_001, content_type="image/png").status_code == 413
    assert post(app, "/raw", b"x" * 1_000, content_type="image/png").json() == 1_000
    assert reasons(app) == {"too_large": 3}


def test_a_route_may_have_a_limit_of_its_own() -> None:
    app = make()
    thing = json.dumps({"name": "x", "more": ["x" * 800] * 5}).encode()
    assert post(app, "/api/wide/7", thing).status_code == 200
    assert post(app, "/api/wide/7", thing * 2).status_code == 413


@pytest.mark.parametrize(
    ("path", "media", "status"),
    [
        ("/things", "application/json; charset=utf-8", 200),
        ("/things", "application/merge-patch+json", 200),
        ("/things", "text/plain", 415),
        ("/things", "application/x-www-form-urlencoded", 415),
        ("/things", "", 415),
        ("/text", "text/plain;charset=utf-8", 200),
        ("/text", "text/html", 415),
        ("/api/wide/7", "text/plain", 415),
        ("/raw", "application/zip", 200),
    ],
)
def test_a_route_that_declares_a_content_type_gets_no_other(
    path: str, media: str, status: int
) -> None:
    app = make()
    answer = post(app, path, b'{"name": "x"}', content_type=media)
    assert answer.status_code == status
    if status == 415:
        assert answer.json()["errors"][0]["header"] == "content-type"
        assert reasons(app) == {"media_type": 1}


def test_compressed_json_is_only_measured() -> None:
    answer = post(make(), "/raw", b"not JSON", content_encoding="br")
    assert answer.json() == 8


def speak(
    app: Any, headers: list[tuple[bytes, bytes]], parts: list[Message], path: str = "/raw"
) -> Any:
    scope = http_scope("POST", path) | {
        "headers": [(b"content-type", b"application/json"), *headers]
    }
    sent = asyncio.run(converse(app, scope, parts, leave=lambda sent: len(sent) > 1))
    return sent[0]["status"]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([(b"content-length", b"7")], b'{"a":1}', 200),
        ([(b"content-length", b"8")], b'{"a":1}', 400),
        ([(b"content-length", b"6")], b'{"a":1}', 400),
        ([(b"content-length", b"0")], b'{"a":1}', 400),
        ([(b"content-length", b"7"), (b"content-length", b"7")], b'{"a":1}', 200),
        ([(b"content-length", b"7"), (b"content-length", b"8")], b'{"a":1}', 400),
        ([(b"content-length", b"7"), (b"transfer-encoding", b"chunked")], b'{"a":1}', 400),
        ([(b"content-length", b"-7")], b'{"a":1}', 400),
        ([(b"content-length", b"\xd9\xa7")], b'{"a":1}', 400),
        ([(b"content-length", b"9" * 5_000)], b'{"a":1}', 413),
        ([], b'{"a":1}', 200),
        ([], b'{"a":NaN}', 400),
    ],
)
def test_the_length_must_be_what_was_declared(
    headers: list[tuple[bytes, bytes]], body: bytes, status: int
) -> None:
    parts: list[Message] = [{"type": "http.request", "body": body}]
    assert speak(make(), headers, parts) == status


def test_a_refusal_by_headers_comes_before_anything_is_read() -> None:
    """A client that waits for 100 Continue is answered without having sent a byte."""
    never: list[Message] = [{"type": "http.request", "body": b"unread"}]
    assert speak(make(), [(b"content-length", b"5000")], never) == 413
    assert never


def test_a_split_character_and_a_split_number_are_one() -> None:
    body = '{"name": "é", "price": 12.5}'.encode()
    parts: list[Message] = [
        {"type": "http.request", "body": bytes([byte]), "more_body": True} for byte in body
    ]
    app = make()
    assert speak(app, [], [*parts, {"type": "http.request"}], "/things") == 200
    assert reasons(app) == {}


@pytest.mark.parametrize("parts", [0, 3])
def test_a_body_that_trickles_is_refused(parts: int) -> None:
    app = make(Guard(grace=0.05, bytes_per_second=1_000))
    some: list[Message] = [{"type": "http.request", "body": b"[", "more_body": True}] * parts
    scope = http_scope("POST", "/raw") | {"headers": [(b"transfer-encoding", b"chunked")]}

    async def talk() -> list[Message]:
        serving = converse(app, scope, some, leave=lambda sent: len(sent) > 1)
        return await asyncio.wait_for(serving, 10)

    sent = asyncio.run(talk())
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert reasons(app) == {"too_slow": 1}


def test_time_that_the_application_takes_is_not_the_clients() -> None:
    app = FastAPI()

    @app.post("/thoughtful")
    async def thoughtful(request: Request) -> int:
        seen = 0
        async for part in request.stream():
            await asyncio.sleep(0.05)
            seen += len(part)
        return seen

    instrument(app, logs=False, guard=Guard(seconds=0.1, grace=0.1))
    parts: list[Message] = [
        {"type": "http.request", "body": b"1", "more_body": number < 4} for number in range(5)
    ]
    assert speak(app, [], parts, "/thoughtful") == 200


def test_an_application_that_answers_something_else_does_not_have_its_way() -> None:
    answer = post(make(), "/stubborn", b'{"a": NaN}')
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)
    assert "fine" not in answer.text


def test_a_reader_outside_of_all_handlers_still_gets_the_client_an_answer() -> None:
    app = make()

    async def reading(request: Request, call_next: Any) -> Any:
        await request.body()
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=reading)
    answer = post(app, "/raw", b'{"a": NaN}')
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)


def test_a_mounted_application_without_our_handler_still_tells_of_a_problem() -> None:
    app, inner = make(), FastAPI()

    @inner.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    app.mount("/inner", inner)
    answer = post(app, "/inner/raw", b'{"a": NaN}')
    assert (answer.status_code, answer.headers["content-type"]) == (400, PROBLEM)


def test_refusals_go_out_through_the_applications_own_middlewares() -> None:
    app = make()
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"])
    answer = post(app, "/raw", b'{"a": NaN}', origin="https://shop.example")
    assert answer.status_code == 400
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"


def test_an_application_may_word_refusals_itself() -> None:
    app = make()

    async def own(_request: Request, error: Any) -> JSONResponse:
        assert isinstance(error, Refused)
        return JSONResponse({"own": error.reason}, error.status_code, media_type=PROBLEM)

    app.add_exception_handler(Refused, own)
    assert post(app, "/raw", b'{"a": NaN}').json() == {"own": "number"}


def test_once_the_answer_has_begun_only_size_ends_it() -> None:
    app = make()
    assert post(app, "/both-ways/", b'{"a": NaN}').text == '{"a": NaN}'
    parts: list[Message] = [{"type": "http.request", "body": b"x" * 600, "more_body": True}] * 9
    with pytest.raises(Exception, match=r"larger|already started"):
        speak(app, [], parts, "/both-ways/")


def test_an_application_that_does_not_read_is_left_alone() -> None:
    app = make()
    assert post(app, "/deaf", b'{"a": NaN}').json() == "not read"
    assert reasons(app) == {}


def test_without_a_guard_nothing_is_refused() -> None:
    assert post(make(None), "/raw", b'{"a": NaN}').json() == 10


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"depth": 0},
        {"members": 0},
        {"routes": {"/a": 0}},
        {"seconds": 0},
        {"grace": -1},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"must be more than 0|start at 1"):
        Guard(**wrong)


def slow_fault(text: str) -> tuple[str, str] | None:
    """The reference: a JSON reader that is slow, obvious and knows where it is."""
    found: list[tuple[str, str]] = []

    def walk(pairs: Any, path: str) -> None:
        if isinstance(pairs, float) and not math.isfinite(pairs):
            found.append(("number", path))
        elif isinstance(pairs, tuple):
            seen = set()
            for name, value in pairs:
                at = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
                if name in seen:
                    found.append(("duplicate_key", at))
                seen.add(name)
                walk(value, at)
        elif isinstance(pairs, list):
            for index, value in enumerate(pairs):
                walk(value, f"{path}/{index}")

    walk(json.loads(text, object_pairs_hook=tuple), "")
    return found[0] if found else None


def written(value: Any) -> str:
    """JSON with members as they are drawn, doubles included."""
    if isinstance(value, tuple):
        return "{" + ",".join(f"{json.dumps(n)}: {written(v)}" for n, v in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value)


PIECES = st.sampled_from(
    [*'[]{},:"\\ 1-.', "NaN", "-Infinity", "1e999", '"a":', "true", "\\ud800", "{}", '"a"', "é"]
)

documents = st.recursive(
    st.none() | st.integers() | st.floats() | st.text('aé~/"\\{[,:]}', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(st.tuples(st.text('ab~/"\\{', max_size=2), inner), max_size=4).map(tuple)
    ),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(documents)
def test_the_place_is_that_of_the_first_fault(value: Any) -> None:
    text = written(value)
    expected = slow_fault(text)
    found = ijson.fault(text.encode(), 100)
    assert (found is None) == (expected is None), text
    if found is not None and expected is not None:
        assert found.pointer == expected[1], text


def levels(value: Any) -> int:
    """The reference: arrays and objects that stand in one another."""
    if not isinstance(value, dict | list):
        return 0
    inside = value.values() if isinstance(value, dict) else value
    return 1 + max(map(levels, inside), default=0)


brackets = st.text("[]{}", max_size=3)


@settings(max_examples=500, deadline=None)
@given(
    st.recursive(
        brackets | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(brackets, inner, max_size=3),
        max_leaves=20,
    ),
    st.integers(1, 6),
)
def test_levels_are_counted_whatever_strings_hold(value: Any, most: int) -> None:
    found = ijson.fault(json.dumps(value).encode(), most)
    assert (found is not None) == (levels(value) > most)
    assert found is None or found.reason == "depth"


def parts(value: Any) -> int:
    """The reference: members and elements, together."""
    if not isinstance(value, tuple | list):
        return 0
    inside = [each for _, each in value] if isinstance(value, tuple) else value
    return len(inside) + sum(map(parts, inside))


@settings(max_examples=500, deadline=None)
@given(documents, st.integers(1, 12), st.sampled_from(["", " ", "\n\t"]))
def test_members_are_counted_whatever_strings_hold(value: Any, most: int, space: str) -> None:
    text = space + written(value) + space
    for empty in ("[]", "{}"):  # spaces may stand in what is empty
        text = text if '"' in text else text.replace(empty, empty[0] + space + empty[1])
    found = size_limits.excess(text.encode(), Guard(members=most))
    assert (found is not None) == (parts(value) > most), text
    assert found is None or found.reason == "members"


@settings(max_examples=500, deadline=None)
@given(documents, st.lists(st.tuples(st.integers(0), PIECES), max_size=2))
def test_both_ways_of_judging_agree(value: Any, mutations: list[tuple[int, str]]) -> None:
    """The quick one lets nothing pass that the thorough one finds, and hands it nothing sound."""
    text = written(value)
    for place, piece in mutations:
        at = place % (len(text) + 1)
        text = text[:at] + piece + text[at:]
    body = text.encode()
    assert ijson._is_sound(body, 5) == (ijson._look_for_fault(body, 5) is None), text


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | st.lists(PIECES, max_size=12).map("".join).map(str.encode))
def test_whatever_comes_is_judged(body: bytes) -> None:
    """What passes is read, and written again, by anybody."""
    found = ijson.fault(body, 4)
    if found is None:
        json.dumps(json.loads(body.decode()), allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b'\\"' * 400_000,
        b'{"a":NaN,"b":"' + b'\\"' * 30_000,
        b"[" * 900_000,
        b'{"":' * 200_000,
        b"[]," * 300_000,
        b'"\\ud800' * 150_000,
        b"1" * 900_000,
        b"-" * 900_000,
    ],
)
@pytest.mark.timeout(20)
def test_bodies_made_to_be_slow_are_judged_in_one_pass(body: bytes) -> None:
    assert ijson.fault(body, 32) is not None
