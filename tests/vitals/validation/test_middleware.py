"""Body validation: what is refused, the problem details, and that no valid body is refused."""

import asyncio
import json
import math
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Message

from tests.vitals.client import converse, fetch, http_scope
from vitals import Validation, instrument
from vitals.metrics.catalogue import HTTP_REQUEST_DURATION, HTTP_REQUESTS_REFUSED
from vitals.testing import Readings
from vitals.validation import ijson, json_limits
from vitals.validation.problems import BodyRefused

JSON = {"content-type": "application/json"}
PROBLEM = "application/problem+json"
TIGHT = Validation(
    limit=1_000, depth=4, members=300, string=800, digits=500, routes={"/api/wide/{item}": 5_000}
)


class Thing(BaseModel):
    name: str
    price: float = 0.0


def make(validation: Validation | None = TIGHT) -> FastAPI:  # every kind of reader
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

    @app.post("/swallows-errors")
    async def swallows_errors(request: Request) -> JSONResponse:
        try:
            await request.body()
        except Exception:  # noqa: BLE001  # the application swallows everything
            return JSONResponse({"fine": True})
        return JSONResponse({"fine": True})

    @app.post("/unread")
    async def unread() -> str:
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
    instrument(app, logs=False, validation=validation)
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
def test_invalid_bodies_are_refused(
    body: bytes, status: int, reason: str, pointer: str | None
) -> None:
    app = make()
    response = post(app, "/raw", body)
    assert response.status_code == status
    assert response.headers["content-type"] == PROBLEM
    problem = response.json()
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
def test_valid_bodies_are_accepted(body: bytes) -> None:
    app = make()
    assert post(app, "/things", body).status_code == 200
    assert reasons(app) == {}


def test_an_empty_body_is_passed_to_the_application() -> None:
    assert post(make(), "/things", b"").status_code == 422
    assert post(make(), "/raw", b"").json() == 0


def test_the_size_limit_applies_whatever_was_declared() -> None:
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
def test_a_route_accepts_only_its_declared_content_type(path: str, media: str, status: int) -> None:
    app = make()
    response = post(app, path, b'{"name": "x"}', content_type=media)
    assert response.status_code == status
    if status == 415:
        assert response.json()["errors"][0]["header"] == "content-type"
        assert reasons(app) == {"media_type": 1}


def test_compressed_json_is_limited_by_size_only() -> None:
    response = post(make(), "/raw", b"not JSON", content_encoding="br")
    assert response.json() == 8


def send_messages(
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
def test_the_length_must_match_content_length(
    headers: list[tuple[bytes, bytes]], body: bytes, status: int
) -> None:
    parts: list[Message] = [{"type": "http.request", "body": body}]
    assert send_messages(make(), headers, parts) == status


def test_faults_in_the_headers_are_refused_before_reading() -> None:
    """A client that expects 100 Continue gets a response before it has sent a byte."""
    never: list[Message] = [{"type": "http.request", "body": b"unread"}]
    assert send_messages(make(), [(b"content-length", b"5000")], never) == 413
    assert never


def test_characters_and_numbers_may_be_split_over_parts() -> None:
    body = '{"name": "é", "price": 12.5}'.encode()
    parts: list[Message] = [
        {"type": "http.request", "body": bytes([byte]), "more_body": True} for byte in body
    ]
    app = make()
    assert send_messages(app, [], [*parts, {"type": "http.request"}], "/things") == 200
    assert reasons(app) == {}


@pytest.mark.parametrize("parts", [0, 3])
def test_a_slow_body_is_refused(parts: int) -> None:
    app = make(Validation(grace=0.05, bytes_per_second=1_000))
    some: list[Message] = [{"type": "http.request", "body": b"[", "more_body": True}] * parts
    scope = http_scope("POST", "/raw") | {"headers": [(b"transfer-encoding", b"chunked")]}

    async def talk() -> list[Message]:
        serving = converse(app, scope, some, leave=lambda sent: len(sent) > 1)
        return await asyncio.wait_for(serving, 10)

    sent = asyncio.run(talk())
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert reasons(app) == {"too_slow": 1}


def test_only_time_spent_waiting_for_the_client_counts() -> None:
    app = FastAPI()

    @app.post("/thoughtful")
    async def slow_reader(request: Request) -> int:
        seen = 0
        async for part in request.stream():
            await asyncio.sleep(0.05)
            seen += len(part)
        return seen

    instrument(app, logs=False, validation=Validation(seconds=0.1, grace=0.1))
    parts: list[Message] = [
        {"type": "http.request", "body": b"1", "more_body": number < 4} for number in range(5)
    ]
    assert send_messages(app, [], parts, "/thoughtful") == 200


def test_a_refusal_replaces_another_response_of_the_application() -> None:
    response = post(make(), "/swallows-errors", b'{"a": NaN}')
    assert (response.status_code, response.headers["content-type"]) == (400, PROBLEM)
    assert "fine" not in response.text


def test_a_refusal_outside_all_exception_handlers_still_gets_a_response() -> None:
    app = make()

    async def reading(request: Request, call_next: Any) -> Any:
        await request.body()
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=reading)
    response = post(app, "/raw", b'{"a": NaN}')
    assert (response.status_code, response.headers["content-type"]) == (400, PROBLEM)


def test_a_mounted_application_without_our_handler_responds_with_the_problem() -> None:
    app, inner = make(), FastAPI()

    @inner.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    app.mount("/inner", inner)
    response = post(app, "/inner/raw", b'{"a": NaN}')
    assert (response.status_code, response.headers["content-type"]) == (400, PROBLEM)


def test_refusals_pass_through_the_applications_middleware() -> None:
    app = make()
    app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"])
    response = post(app, "/raw", b'{"a": NaN}', origin="https://shop.example")
    assert response.status_code == 400
    assert response.headers["access-control-allow-origin"] == "https://shop.example"


def test_an_application_may_handle_refusals_itself() -> None:
    app = make()

    async def own(_request: Request, error: Any) -> JSONResponse:
        assert isinstance(error, BodyRefused)
        return JSONResponse({"own": error.reason}, error.status_code, media_type=PROBLEM)

    app.add_exception_handler(BodyRefused, own)
    assert post(app, "/raw", b'{"a": NaN}').json() == {"own": "number"}


def test_no_disconnect_is_reported_before_the_refusal_is_sent() -> None:
    """Starlette cancels a response when it hears of a disconnect while it is sent."""
    app = FastAPI()

    @app.middleware("http")
    async def handle(request: Request, call_next: Any) -> StreamingResponse:
        del call_next
        with pytest.raises(BodyRefused):
            await request.body()

        async def slow() -> AsyncIterator[str]:
            for part in "whole":
                await asyncio.sleep(0.01)
                yield part

        return StreamingResponse(slow(), 400, media_type=PROBLEM)

    instrument(app, logs=False, validation=TIGHT)
    assert post(app, "/", b'{"a": NaN}').text == "whole"


def test_after_the_response_has_started_only_the_size_is_limited() -> None:
    app = make()
    assert post(app, "/both-ways/", b'{"a": NaN}').text == '{"a": NaN}'
    parts: list[Message] = [{"type": "http.request", "body": b"x" * 600, "more_body": True}] * 9
    with pytest.raises(Exception, match=r"larger|already started"):
        send_messages(app, [], parts, "/both-ways/")


def test_an_unread_body_is_not_validated() -> None:
    app = make()
    assert post(app, "/unread", b'{"a": NaN}').json() == "not read"
    assert reasons(app) == {}


def test_without_validation_nothing_is_refused() -> None:
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
def test_invalid_options_raise(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"must be more than 0|start at 1"):
        Validation(**wrong)


def slow_fault(text: str) -> tuple[str, str] | None:
    """The reference: a slow, simple JSON parser that tracks its position."""
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
    """JSON with members as generated, including duplicates."""
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
def test_the_pointer_locates_the_first_fault(value: Any) -> None:
    text = written(value)
    expected = slow_fault(text)
    found = ijson.fault(text.encode(), 100)
    assert (found is None) == (expected is None), text
    if found is not None and expected is not None:
        assert found.pointer == expected[1], text


def levels(value: Any) -> int:
    """The reference: nesting levels of arrays and objects."""
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
def test_nesting_levels_are_counted_correctly(value: Any, most: int) -> None:
    found = ijson.fault(json.dumps(value).encode(), most)
    assert (found is not None) == (levels(value) > most)
    assert found is None or found.reason == "depth"


def parts(value: Any) -> int:
    """The reference: the number of members and elements."""
    if not isinstance(value, tuple | list):
        return 0
    inside = [each for _, each in value] if isinstance(value, tuple) else value
    return len(inside) + sum(map(parts, inside))


@settings(max_examples=500, deadline=None)
@given(documents, st.integers(1, 12), st.sampled_from(["", " ", "\n\t"]))
def test_members_are_counted_correctly(value: Any, most: int, space: str) -> None:
    text = space + written(value) + space
    for empty in ("[]", "{}"):  # empty containers may contain spaces
        text = text if '"' in text else text.replace(empty, empty[0] + space + empty[1])
    found = json_limits.exceeded_limit(text.encode(), Validation(members=most))
    assert (found is not None) == (parts(value) > most), text
    assert found is None or found.reason == "members"


@settings(max_examples=500, deadline=None)
@given(documents, st.lists(st.tuples(st.integers(0), PIECES), max_size=2))
def test_fast_and_thorough_validation_agree(value: Any, mutations: list[tuple[int, str]]) -> None:
    """The fast check passes nothing that the thorough one rejects, and rejects nothing valid."""
    text = written(value)
    for find_pointer, piece in mutations:
        at = find_pointer % (len(text) + 1)
        text = text[:at] + piece + text[at:]
    body = text.encode()
    assert ijson._is_valid(body, 5) == (ijson._find_fault(body, 5) is None), text


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | st.lists(PIECES, max_size=12).map("".join).map(str.encode))
def test_any_bytes_are_validated(body: bytes) -> None:
    """What is accepted can be decoded and encoded again by any library."""
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
def test_adversarial_bodies_are_validated_in_one_pass(body: bytes) -> None:
    assert ijson.fault(body, 32) is not None
