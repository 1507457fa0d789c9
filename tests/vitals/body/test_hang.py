"""Body logging that hangs requests, on a real server, and ours, which does not.

A request's body arrives once. Middleware that reads it without replaying it leaves the endpoint
waiting until the client disconnects.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import uvicorn
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, TextMessage
from wsproto.events import Request as Upgrade

from tests.vitals.journal import journal
from vitals import BodyLogging, Validation, instrument

HANGS = 1.0
"""Timeout of a client, in seconds; a response of ours takes a few milliseconds."""


class Login(BaseModel):
    email: str
    password: str


class ReadsBody:
    """The incident as pure ASGI: the body is logged and consumed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await Request(scope, receive).body()
        await self.app(scope, receive, send)


async def reads_anew(request: Request, call_next: Any) -> Any:
    """The original incident: a BaseHTTPMiddleware with a Request of its own."""
    await Request(request.scope, request.receive).body()
    return await call_next(request)


async def through(request: Request, call_next: Any) -> Any:
    return await call_next(request)


def make() -> FastAPI:
    app = FastAPI()
    app.state.done = 0

    @app.post("/login")
    async def login(login: Login, tasks: BackgroundTasks) -> dict[str, str]:
        tasks.add_task(lambda: setattr(app.state, "done", app.state.done + 1))
        return {"access_token": f"made for {login.email}"}

    @app.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @app.post("/stream")
    async def stream(request: Request) -> StreamingResponse:
        body = await request.body()
        return StreamingResponse(iter([body[:1], body[1:]]), media_type="application/json")

    @app.get("/plain")
    async def plain() -> str:
        return "plain"

    @app.websocket("/talk")
    async def talk(talk: WebSocket) -> None:
        await talk.accept()
        await talk.send_text(await talk.receive_text())
        await talk.close()

    return app


def with_body_logging() -> FastAPI:
    """Everything enabled, with middleware of the problematic kind inside."""
    app = make()
    app.add_middleware(BaseHTTPMiddleware, dispatch=through)
    instrument(
        app, logs=False, body_logging=BodyLogging(share=1.0), validation=Validation(limit=6_000_000)
    )
    return app


@contextmanager
def served(app: Any, http: Any = "httptools") -> Iterator[int]:
    """The port of a real uvicorn."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=http, ws="wsproto", log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def head(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: test", "Content-Type: application/json", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def exchange(port: int, *parts: bytes, timeout: float = 10.0) -> bytes | None:
    """The bytes a client receives on one connection; None on a timeout."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout)) as client:
        for part in parts:
            client.sendall(part)
        got = b""
        try:
            while not whole(got):
                more = client.recv(65_536)
                if not more:
                    break
                got += more
        except TimeoutError:
            return None
    return got


def whole(got: bytes) -> bool:
    heading, end, body = got.partition(b"\r\n\r\n")
    if b"chunked" in heading.lower():
        return body.endswith(b"0\r\n\r\n")
    lengths = [
        line for line in heading.lower().split(b"\r\n") if line.startswith(b"content-length")
    ]
    return bool(end and lengths) and len(body) >= int(lengths[0].split(b":")[1])


def status(got: bytes | None) -> int:
    assert got, "no response"
    return int(got.split(b" ", 2)[1])


LOGIN = b'{"email":"anna@example.com","password":"hunter2"}'


def login_request() -> bytes:
    return head("/login", f"Content-Length: {len(LOGIN)}") + LOGIN


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pure ASGI", "BaseHTTPMiddleware"])
def test_middleware_that_reads_the_body_hangs(kind: str) -> None:
    app = make()
    if kind == "pure ASGI":
        app.add_middleware(ReadsBody)
    else:
        app.add_middleware(BaseHTTPMiddleware, dispatch=reads_anew)
    with served(app) as port:
        assert status(exchange(port, b"GET /plain HTTP/1.1\r\nHost: test\r\n\r\n")) == 200
        assert exchange(port, login_request(), timeout=HANGS) is None


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_body_logging_does_not_hang(http: Any) -> None:
    app = with_body_logging()
    with journal() as log, served(app, http) as port:
        assert b"made for anna" in (exchange(port, login_request()) or b"")
        until(lambda: log.bodies and app.state.done)
    (line,) = log.bodies
    assert line["http.request.body.content"] == '{"email":"[redacted]","password":"[redacted]"}'
    assert line["http.response.body.content"] == '{"access_token":"[redacted]"}'
    assert "hunter2" not in log.text


def until(happened: Any) -> None:
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 1_000, 65_536, 70_000, 5_000_000])
@pytest.mark.parametrize("path", ["/raw", "/stream"])
def test_bodies_of_any_size_arrive_whole(size: int, path: str) -> None:
    body = b'"' + b"x" * (size - 2) + b'"' if size > 1 else b"7"
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    with journal(), served(with_body_logging()) as port:
        for request in (
            head(path, f"Content-Length: {size}") + body,
            head(path, "Transfer-Encoding: chunked") + chunk,
        ):
            got = exchange(port, request) or b""
            assert status(got) == 200
            assert str(size).encode() in got if path == "/raw" else got.count(b"x") >= size - 2


def test_a_body_may_arrive_a_byte_at_a_time() -> None:
    chunks = [b"1\r\n%c\r\n" % byte for byte in LOGIN]
    with journal(), served(with_body_logging()) as port:
        slowly = [login_request()[at : at + 1] for at in range(len(login_request()))]
        assert status(exchange(port, *slowly)) == 200
        chunked = head("/login", "Transfer-Encoding: chunked")
        assert status(exchange(port, chunked, *chunks, b"0\r\n\r\n")) == 200


def test_pipelined_requests_are_kept_separate() -> None:
    """Pipelined requests never appear in each other's log lines."""
    with journal() as log, served(with_body_logging()) as port:
        bodies = [json.dumps({"email": f"x{n}", "password": "p", "n": n}) for n in range(5)]
        requests = [head("/login", f"Content-Length: {len(b)}") + b.encode() for b in bodies]
        with closing(socket.create_connection(("127.0.0.1", port), 10)) as client:
            client.sendall(b"".join(requests))
            until(lambda: len(log.bodies) == len(bodies))
    logged = [json.loads(line["http.request.body.content"])["n"] for line in log.bodies]
    # A request may be logged before the previous one, whose response has just been sent.
    assert sorted(logged) == list(range(5))


def test_a_client_that_expects_100_continue_gets_it_or_a_refusal() -> None:
    with journal(), served(with_body_logging()) as port:
        polite = head("/raw", f"Content-Length: {len(LOGIN)}", "Expect: 100-continue")
        with closing(socket.create_connection(("127.0.0.1", port), 10)) as client:
            client.sendall(polite)
            assert client.recv(100).startswith(b"HTTP/1.1 100")
            client.sendall(LOGIN)
            assert client.recv(100).startswith(b"HTTP/1.1 200")
        large = head("/raw", "Content-Length: 7000000", "Expect: 100-continue")
        assert status(exchange(port, large)) == 413


def test_the_server_survives_a_client_disconnect() -> None:
    with journal() as log, served(with_body_logging()) as port:
        for _ in range(5):
            with closing(socket.create_connection(("127.0.0.1", port), 10)) as client:
                client.sendall(head("/login", "Content-Length: 500") + LOGIN)
        until(lambda: len(log.bodies) == 5)
        assert status(exchange(port, login_request())) == 200
    assert {line["http.request.body.withheld"] for line in log.bodies[:5]} == {"incomplete"}
    assert "hunter2" not in log.text


def test_a_refused_body_gets_a_response_and_closes_the_connection() -> None:
    endless = b"%x\r\n%s\r\n" % (60_000, b"x" * 60_000)
    with journal() as log, served(with_body_logging()) as port:
        got = exchange(port, head("/raw", "Transfer-Encoding: chunked"), *[endless] * 101)
        assert status(got) == 413
        assert b"connection: close" in (got or b"").lower()
        until(lambda: log.bodies)
        assert status(exchange(port, login_request())) == 200
    refused = log.bodies[0]
    assert refused["http.response.status_code"] == 413
    assert refused["http.request.body.withheld"] == "incomplete"
    assert "larger than" in refused["http.response.body.content"]


def test_websockets_are_unaffected() -> None:
    with journal(), served(with_body_logging()) as port:
        connection = WSConnection(ConnectionType.CLIENT)
        with closing(socket.create_connection(("127.0.0.1", port), 10)) as client:
            client.sendall(connection.send(Upgrade(host="test", target="/talk")))
            events: list[Any] = []
            while not any(isinstance(event, AcceptConnection) for event in events):
                connection.receive_data(client.recv(1_000))
                events += connection.events()
            client.sendall(connection.send(TextMessage("hello")))
            while not any(isinstance(event, TextMessage) for event in events):
                connection.receive_data(client.recv(1_000))
                events += connection.events()
        assert [event.data for event in events if isinstance(event, TextMessage)] == ["hello"]
