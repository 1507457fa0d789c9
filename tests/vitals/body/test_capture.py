"""Body capture and body log: what is logged, and that no request hangs because of it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qsl

import pydantic
import pytest
from fastapi import BackgroundTasks, FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import Message

from tests.vitals.client import converse, fetch, http_scope
from tests.vitals.journal import Journal, journal
from vitals import BodyLogging, Objective, Validation, instrument
from vitals.body.capture import MAX_HELD_BYTES, CapturedBody, _digest
from vitals.metrics.catalogue import DROPPED, HTTP_REQUEST_BODY_SIZE
from vitals.testing import Readings

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
ALL = BodyLogging(share=1.0)
JSON = [(b"content-type", b"application/json")]


class Login(BaseModel):
    email: str
    password: str


@pytest.fixture
def log() -> Iterator[Journal]:
    with journal() as captured:
        yield captured


def make(bodies: BodyLogging | None = ALL, **options: Any) -> FastAPI:  # noqa: C901  # every kind of endpoint
    app = FastAPI()

    @app.post("/login")
    async def login(login: Login) -> dict[str, Any]:
        return {"access_token": "eyJhbGciOi.eyJzdWIi.c2ln", "token_type": "bearer", "id": 7}

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type=request.headers.get("content-type"))

    @app.post("/form")
    async def form(request: Request) -> int:
        return len(parse_qsl((await request.body()).decode()))

    @app.post("/unread")
    async def unread() -> str:
        return "not read"

    @app.post("/broken")
    async def broken(request: Request) -> None:
        await request.body()
        raise LookupError("private")

    @app.get("/items/{item}")
    async def item(item: int) -> dict[str, int]:
        return {"item": item}

    @app.get("/late")
    async def late() -> dict[str, int]:
        return {"item": 1}

    @app.get("/stream")
    async def stream(kind: str = "application/json", coding: str = "") -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for part in (b'{"a":', b"1", b"}"):
                yield part
                await asyncio.sleep(0)

        headers = {"content-encoding": coding} if coding else {}
        return StreamingResponse(parts(), media_type=kind, headers=headers)

    @app.get("/breaks-midway")
    async def breaks_midway() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b'{"a":'
            raise LookupError

        return StreamingResponse(parts(), media_type="application/json")

    @app.post("/afterwards")
    async def afterwards(login: Login, tasks: BackgroundTasks) -> str:
        tasks.add_task(asyncio.sleep, 0)
        return "answered"

    objectives = [
        Objective("latency", ratio=0.9, within=60.0),
        Objective("latency", ratio=0.9, within=1e-9, route="/late"),
    ]
    instrument(app, objectives=objectives, logs=False, body_logging=bodies, **options)
    return app


def test_the_log_line_has_both_bodies_and_request_fields(log: Journal) -> None:
    body = {"email": "anna@example.com", "password": "hunter2"}
    fetch(make(), "POST", "/login", json=body, headers=TRACEPARENT)
    (line,) = log.bodies
    assert line["duration"] > 0
    fields = {name: line[name] for name in line if name.startswith(("http", "trace"))}
    assert fields == {
        "trace_id": TRACE,
        "http.request.method": "POST",
        "http.route": "/login",
        "http.response.status_code": 200,
        "http.request.body.size": len(json.dumps(body, separators=(",", ":"))),
        "http.request.body.content": '{"email":"[redacted]","password":"[redacted]"}',
        "http.response.body.size": 72,
        "http.response.body.content": (
            '{"access_token":"[redacted]","token_type":"bearer","id":7}'
        ),
    }


def test_a_validation_error_that_quotes_the_input_is_redacted(log: Journal) -> None:
    response = fetch(make(), "POST", "/login", json={"email": 7, "password": ["hunter2"]})
    assert response.status_code == 422
    quotes = not pydantic.VERSION.startswith("1.")
    assert ("hunter2" in response.text) is quotes, "FastAPI quotes it to the client"
    assert '"loc":["body","password"]' in log.bodies[0]["http.response.body.content"]
    assert "hunter2" not in log.text


def test_a_response_that_repeats_a_secret_is_redacted(log: Journal) -> None:
    app = make()

    @app.post("/mirror")
    async def mirror(login: Login) -> dict[str, str]:
        return {"msg": f'you sent "{login.password}"'}

    fetch(app, "POST", "/mirror", json={"email": "a", "password": 'hunter "2"'})
    (line,) = log.bodies
    assert line["http.response.body.content"] == '{"msg":"you sent \\"[redacted]\\""}'
    assert "hunter" not in log.text


def test_errors_and_slow_requests_are_always_logged(log: Journal) -> None:
    app = make(BodyLogging())
    fetch(app, "GET", "/items/7")
    fetch(app, "GET", "/nowhere")
    assert log.bodies == []
    fetch(app, "GET", "/items/x")
    fetch(app, "GET", "/late")
    fetch(app, "POST", "/broken", json={"a": 1})
    assert [(line["http.route"], line["http.response.status_code"]) for line in log.bodies] == [
        ("/items/{item}", 422),
        ("/late", 200),
        ("/broken", 500),
    ]
    assert log.bodies[-1]["http.request.body.content"] == '{"a":1}'


def test_body_logging_is_configured_per_route_template(log: Journal) -> None:
    routes = {"/items/{item}": 1.0, "/login": None}
    app = make(BodyLogging(routes=routes))
    fetch(app, "GET", "/items/7")
    fetch(app, "GET", "/stream")
    fetch(app, "POST", "/login", json={})
    assert [line["http.route"] for line in log.bodies] == ["/items/{item}"]


def test_without_body_logging_nothing_is_logged(log: Journal) -> None:
    fetch(make(None), "POST", "/broken", json={"a": 1})
    assert log.bodies == []


def test_long_bodies_are_logged_as_size_and_hash_only(log: Journal) -> None:
    app = make(BodyLogging(share=1.0, limit=100))
    for length in (90, 101, 70_000, 70_000):
        fetch(app, "POST", "/echo", json="x" * (length - 2))
    short, long, longer, same = log.bodies
    assert short["http.request.body.content"] == json.dumps("[redacted]")
    for line, size in ((long, 101), (longer, 70_000), (same, 70_000)):
        assert line["http.request.body.withheld"] == "too long"
        assert line["http.request.body.size"] == line["http.response.body.size"] == size
        assert line["http.request.body.hash"] == line["http.response.body.hash"]
        assert "http.request.body.content" not in line
    assert longer["http.request.body.hash"] == same["http.request.body.hash"]
    assert long["http.request.body.hash"] != longer["http.request.body.hash"]
    assert "xxxx" not in log.text


@pytest.mark.parametrize(
    ("kind", "body", "withheld"),
    [
        ("application/json", b'{"password": "hunter2"', "not json"),
        ("application/json", '{"password": "hunter2"}'.encode("utf-16"), "not json"),
        ("application/json", b'{"password": "\xffhunter2"}', "not json"),
        ("application/json", b"[" * 5_000, "not json"),
        ("application/json", b"9" * 5_000, "not json"),
        ("application/octet-stream", b"hunter2", "other"),
        ("text/plain", b"password is hunter2", "text"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nhunter2\r\n--x--", "multipart"),
        ("application/x-www-form-urlencoded", b"a=\xffhunter2", "not form"),
    ],
)
def test_bodies_that_cannot_be_redacted_are_withheld(
    kind: str, body: bytes, withheld: str, log: Journal
) -> None:
    fetch(make(), "POST", "/echo", content=body, headers={"content-type": kind})
    (line,) = log.bodies
    for which in ("http.request.body", "http.response.body"):
        assert line[which + ".withheld"] == withheld
        assert line[which + ".size"] == len(body)
    assert "hunter2" not in log.text


def test_parts_are_joined_however_small_they_are() -> None:
    capture, body = CapturedBody(JSON), bytes(range(256)) * 4
    reused = bytearray(1)
    part: Any = memoryview(reused)  # as Starlette allows in responses
    for byte in body:
        reused[0] = byte
        capture.add(part, more=True)
    assert capture.content() == body
    assert capture.hash() == _digest(body).hexdigest()


def test_no_more_is_held_than_could_be_logged() -> None:
    capture = CapturedBody(JSON)
    for _ in range(100):
        capture.add(b"x" * 10_000, more=True)
    assert capture.size == 1_000_000
    assert len(capture.content()) <= MAX_HELD_BYTES


def test_compressed_bodies_and_event_streams_are_withheld(log: Journal) -> None:
    app = make()
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    fetch(app, "POST", "/unread", content=b"")
    fetch(app, "POST", "/echo", content=gzip.compress(b'{"a":1}'), headers=headers)
    fetch(app, "GET", "/stream?kind=text/event-stream")
    fetch(app, "GET", "/stream?coding=identity")
    _, zipped, events, plain = log.bodies
    assert zipped["http.request.body.withheld"] == "compressed"
    assert "http.request.body.hash" not in zipped
    assert events["http.response.body.withheld"] == "event stream"
    assert plain["http.response.body.content"] == '{"a":1}'


def test_text_is_logged_only_if_enabled(log: Journal) -> None:
    app = make(BodyLogging(share=1.0, text=True))
    headers = {"content-type": "text/plain; charset=utf-8"}
    body = b"call anna@example.com, password: hunter2"
    fetch(app, "POST", "/echo", content=body, headers=headers)
    content = log.bodies[0]["http.request.body.content"]
    assert content == "call anna@example.com, password: [redacted]".replace(
        "anna@example.com", "[redacted]"
    )


def test_form_fields_are_redacted_by_name(log: Journal) -> None:
    fetch(make(), "POST", "/form", data={"name": "anna", "pin": "4711"})
    assert log.bodies[0]["http.request.body.content"] == "name=anna&pin=[redacted]"


def test_an_unread_body_is_not_captured(log: Journal) -> None:
    """The body is not drained for the log."""
    app, receive_calls = make(), 0
    sent: list[Message] = []

    async def receive() -> Message:
        nonlocal receive_calls
        receive_calls += 1
        return {"type": "http.request", "body": b'{"a":1}'}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(http_scope("POST", "/unread") | {"headers": JSON}, receive, send))
    assert receive_calls == 0
    assert len(sent) == 2
    assert "http.request.body.size" not in log.bodies[0]


def chunked(body: bytes) -> list[Message]:
    """A byte at a time; some messages empty, some keys left out, as the specification allows."""
    parts: list[Message] = [
        {"type": "http.request", "body": body[at : at + 1], "more_body": True}
        for at in range(len(body))
    ]
    return [{"type": "http.request", "more_body": True}, *parts, {"type": "http.request"}]


def test_a_body_that_arrives_byte_by_byte_is_joined(log: Journal) -> None:
    body = b'{"email":"a@example.com","password":"hunter2"}'
    scope = http_scope("POST", "/login") | {"headers": JSON}
    sent = asyncio.run(converse(make(), scope, chunked(body), leave=lambda sent: len(sent) > 1))
    assert sent[0]["status"] == 200
    (line,) = log.bodies
    assert line["http.request.body.size"] == len(body)
    assert line["http.request.body.content"] == '{"email":"[redacted]","password":"[redacted]"}'


def test_messages_are_the_same_objects_in_the_same_order() -> None:
    parts = [*chunked(b'{"a":1}'), {"type": "http.disconnect"}]
    messages: list[Message] = []
    given: list[Message] = [
        {"type": "http.response.start", "status": 200, "headers": JSON},
        {"type": "http.response.body", "body": b"{", "more_body": True},
        {"type": "http.response.body", "body": b"}"},
    ]
    app = make(validation=Validation())

    async def inside(_scope: Any, receive: Any, send: Any) -> None:
        while not messages or messages[-1]["type"] != "http.disconnect":
            messages.append(await receive())
        for message in given:
            await send(message)

    app.mount("/raw", inside)
    scope = http_scope("POST", "/raw/x") | {"headers": JSON}
    sent = asyncio.run(converse(app, scope, list(parts), leave=bool))
    assert [id(message) for message in messages] == [id(message) for message in parts]
    assert [id(message) for message in sent] == [id(message) for message in given]


def test_a_client_disconnect_is_logged_with_the_bytes_received(log: Journal) -> None:
    half: list[Message] = [{"type": "http.request", "body": b'{"password":"hun', "more_body": True}]
    scope = http_scope("POST", "/broken") | {"headers": JSON}
    with pytest.raises(ClientDisconnect):
        asyncio.run(converse(make(), scope, half, leave=lambda _: True))
    (line,) = log.bodies
    assert line["http.request.body.withheld"] == "incomplete"
    assert line["http.request.body.size"] == 16
    assert "hun" not in log.text


def test_a_cancelled_request_and_a_broken_stream_are_logged(log: Journal) -> None:
    app = make()
    scope = http_scope("POST", "/echo") | {"headers": JSON}

    async def cancel() -> None:
        half: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]
        serving = asyncio.create_task(converse(app, scope, half, leave=lambda _: False))
        await asyncio.sleep(0.01)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(cancel())
    fetch(app, "GET", "/breaks-midway")
    cancelled, broken = log.bodies
    assert cancelled["http.request.body.size"] == 1
    assert broken["http.response.body.withheld"] == "incomplete"
    assert broken["http.response.body.size"] == 5


@pytest.mark.parametrize("where", ["inside", "outside", "both"])
def test_other_middleware_may_be_inside_or_outside(where: str, log: Journal) -> None:
    async def through(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    async def reading(request: Request, call_next: Any) -> Any:
        assert await request.body()
        return await call_next(request)

    app = make(validation=Validation())
    if where in {"inside", "both"}:
        app.add_middleware(BaseHTTPMiddleware, dispatch=through)
        app.add_middleware(BaseHTTPMiddleware, dispatch=reading)
    outside: Any = BaseHTTPMiddleware(app, through) if where != "inside" else app
    body = {"email": "anna@example.com", "password": "hunter2"}
    response = fetch(outside, "POST", "/login", json=body, timeout=5)
    assert response.status_code == 200
    assert log.bodies[0]["http.request.body.content"].count("[redacted]") == 2
    json_type = {"content-type": "application/json"}
    refused = fetch(outside, "POST", "/login", content=b'{"a":NaN}', headers=json_type)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/a")


def test_a_capture_failure_loses_the_log_line_not_the_request(
    log: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make()
    with monkeypatch.context() as broken:
        broken.setattr("vitals.body.capture.MAX_HELD_BYTES", None)
        assert fetch(app, "POST", "/echo", json={"a": 1}).json() == {"a": 1}
    assert Readings.of(app).value(DROPPED, reason="body_capture") >= 2
    monkeypatch.setattr("vitals.redaction.bodies.Redaction.body", lambda *_: 1 / 0)
    assert fetch(app, "POST", "/echo", json={"a": 1}).json() == {"a": 1}
    assert Readings.of(app).value(DROPPED, reason="body_log") == 1
    assert Readings.of(app).value(HTTP_REQUEST_BODY_SIZE, "_count") == 2


def test_a_flood_of_errors_is_rate_limited_and_counted(log: Journal) -> None:
    app = make(BodyLogging(lines_per_second=3))
    for _ in range(20):
        fetch(app, "GET", "/items/x")
    assert 3 <= len(log.bodies) <= 12
    logged = len(log.bodies)
    assert Readings.of(app).value(DROPPED, reason="body_log_rate") == 20 - logged


def test_a_head_request_logs_no_response_body(log: Journal) -> None:
    app = make()
    app.add_api_route("/both", lambda: {"a": 1}, methods=["GET", "HEAD"])
    fetch(app, "HEAD", "/both")
    assert log.bodies == [] or "http.response.body.size" not in log.bodies[0]


def test_the_line_follows_background_tasks_and_has_the_response(log: Journal) -> None:
    body = {"email": "anna@example.com", "password": "hunter2"}
    assert fetch(make(), "POST", "/afterwards", json=body).json() == "answered"
    assert log.bodies[0]["http.response.body.content"] == '"answered"'


@pytest.mark.parametrize(
    "wrong", [{"share": 2.0}, {"routes": {"/a": -1.0}}, {"limit": 0}, {"limit": 10**6}]
)
def test_invalid_options_raise(wrong: Any) -> None:
    with pytest.raises(ValueError, match="must lie between"):
        BodyLogging(**wrong)
