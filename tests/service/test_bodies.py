import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.types import Message

from tests.service.running import PASSWORD, Service, problem, running, settings_for
from tests.vitals.journal import journal

pytestmark = pytest.mark.anyio

LIMIT = 2048
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def narrow(tmp_path: Path) -> AsyncIterator[Service]:
    async with running(settings_for(tmp_path, body_limit=LIMIT)) as started:
        yield started


async def test_a_declared_size_over_the_limit_is_413(narrow: Service) -> None:
    answer = await narrow.client.post("/api/users", content=b" " * (LIMIT + 1), headers=JSON)
    problem(answer, 413, "content-length")
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_true_size_over_the_limit_is_413(narrow: Service) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 512 + 1):
            yield b" " * 512

    answer = await narrow.client.post("/api/users", content=chunks(), headers=JSON)
    problem(answer, 413)


async def test_a_body_of_exactly_the_limit_is_read(narrow: Service) -> None:
    body = b'{"email":"ada@example.com","name":"Ada","password":"long enough"}'
    answer = await narrow.client.post("/api/users", content=body.ljust(LIMIT), headers=JSON)
    assert answer.status_code == 201


async def test_small_content_length_does_not_bypass_limit(narrow: Service) -> None:
    # A server ends a body at its declared length; body validation does not rely on it.
    sent: list[Message] = []
    parts = [{"type": "http.request", "body": b" " * LIMIT, "more_body": True}] * 3

    async def receive() -> Message:
        return parts.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/users",
        "raw_path": b"/api/users",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("service", 80),
        "client": ("127.0.0.1", 1),
        "http_version": "1.1",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"10")],
    }
    await narrow.app(scope, receive, send)
    assert sent[0]["status"] == 413
    assert len(parts) == 1


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "²", "9" * 5000])
async def test_invalid_content_length_is_refused(narrow: Service, length: str) -> None:
    headers = {b"Content-Type": b"application/json", b"Content-Length": length.encode("latin-1")}
    answer = await narrow.client.post("/api/users", content=b"{}", headers=headers)
    problem(answer, 413 if length.isascii() and length.isdigit() else 400, "content-length")


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/xml", "multipart/form-data", "", "json"]
)
async def test_other_content_type_is_415(narrow: Service, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await narrow.client.post("/api/users", content=b"{}", headers=headers)
    problem(answer, 415, "content-type")


async def test_json_with_a_charset_is_json(narrow: Service) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = await narrow.client.post("/api/users", content=b"{}", headers=headers)
    problem(answer, 422, "/email", "/name", "/password")


@pytest.mark.parametrize("body", [b"{", b"", b"nonsense", b'{"email": }'])
async def test_invalid_json_is_refused(narrow: Service, body: bytes) -> None:
    answer = await narrow.client.post("/api/users", content=body, headers=JSON)
    problem(answer, 400 if body else 422, "")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\xff\xfe\xfa", 400),
        (b"[" * 2000, 422),
        (b'{"email": "a@example.com", "email": "b@example.com"}', 400),
        (b'{"email": NaN}', 400),
    ],
)
async def test_ambiguous_json_is_refused(narrow: Service, body: bytes, status: int) -> None:
    answer = await narrow.client.post("/api/users", content=body, headers=JSON)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_request_without_body_needs_no_content_type(narrow: Service) -> None:
    _, headers = await narrow.user()
    answer = await narrow.client.post("/api/orders/1/cancel", headers=headers)
    problem(answer, 404)


async def test_bodies_are_logged_redacted_except_logins(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path)) as service:
        user, _ = await service.user()
        with journal() as kept:
            for password in (PASSWORD, "a wrong one"):
                form = {"email": user.email, "password": password}
                await service.client.post("/api/users/login", json=form)
            form = {"email": user.email, "name": "Ada", "password": "another good one"}
            await service.client.post("/api/users", json=form)
            logged, text = kept.bodies, kept.text
        metrics = (await service.client.get("/metrics")).text
    (line,) = logged
    assert line["http.route"] == "/api/users"
    assert line["http.response.status_code"] == 409
    assert json.loads(line["http.request.body.content"]) == {
        "email": "[redacted]",
        "name": "Ada",
        "password": "[redacted]",
    }
    secrets = (PASSWORD, "a wrong one", "another good one", user.email)
    assert not any(secret in text for secret in secrets)
    assert 'http_route="/api/users/login",http_response_status_code="401"' in metrics
