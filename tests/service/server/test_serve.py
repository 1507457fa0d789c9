"""Limits on what one client can consume, and which clients are served."""

import asyncio
import contextlib
import signal
import socket
import stat
import time
from pathlib import Path

import httpx
import pytest

from service.server import serve
from service.server.refusals import HEAD_LIMIT
from service.settings import Settings
from tests.service.process import serving
from tests.service.running import settings_for


def address(url: str) -> tuple[str, int]:
    parts = httpx.URL(url)
    return parts.host, parts.port or 80


_SLOW_WORKERS = """
import sys, time
if "--multiprocessing-fork" in sys.orig_argv:
    time.sleep(6)
"""


@pytest.mark.servers
def test_workers_that_start_slowly_are_not_killed(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_SLOW_WORKERS)
    with serving(settings_for(tmp_path, workers=2), PYTHONPATH=str(tmp_path)) as service:
        assert "died" not in service.end()


def poll(url: str, status: int) -> httpx.Response:
    """Ask on new connections until the response has this status."""
    deadline = time.monotonic() + 30
    while (answer := httpx.get(url)).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.02)
    return answer


@pytest.mark.servers
def test_a_process_that_ends_is_not_ready_and_still_serves(tmp_path: Path) -> None:
    with (
        serving(settings_for(tmp_path, shutdown_delay=600)) as service,
        httpx.Client(base_url=service.url) as kept,
    ):
        assert "connection" not in kept.get("/healthz").headers
        service.process.send_signal(signal.SIGTERM)
        answer = poll(f"{service.url}/readyz", 503)
        assert "This process ends" in answer.json()["detail"]
        assert answer.headers["cache-control"] == "no-store"
        for client in (kept, httpx):
            found = client.get(f"{service.url}/api/products")
            assert (found.status_code, found.headers["connection"]) == (200, "close")
        started = time.monotonic()
        service.end()  # a second SIGTERM
        assert time.monotonic() - started < 60, "it waited for the delay"


@pytest.mark.servers
def test_workers_end_after_the_delay(tmp_path: Path) -> None:
    with serving(settings_for(tmp_path, workers=2, shutdown_delay=3)) as service:
        service.process.send_signal(signal.SIGTERM)
        poll(f"{service.url}/readyz", 503)
        assert httpx.get(f"{service.url}/healthz").is_success
        assert service.process.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/healthz")


@pytest.mark.parametrize("begin", [b"GET /", b"GET / HTTP/1.1\r\nhost: x\r\nx-long: "])
@pytest.mark.servers
def test_endless_request_head_is_refused_without_blocking(tmp_path: Path, begin: bytes) -> None:
    with serving(settings_for(tmp_path)) as service:
        with socket.create_connection(address(service.url), timeout=10) as client:
            client.sendall(begin)
            with contextlib.suppress(OSError):  # it closes while we still send
                for _ in range(100):
                    client.sendall(b"a" * 1_000_000)
            answer = b""
            with contextlib.suppress(OSError):
                answer = client.recv(1_000)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
        started = time.monotonic()
        assert httpx.get(f"{service.url}/healthz").is_success
        assert time.monotonic() - started < 5
        service.end()


@pytest.mark.servers
def test_head_within_limit_and_large_body_are_accepted(tmp_path: Path) -> None:
    with serving(settings_for(tmp_path)) as service:
        long = {"x-long": "a" * (HEAD_LIMIT - 2_000)}
        with httpx.Client(base_url=service.url) as client:
            for _ in range(3):  # on one connection: each head is counted separately
                assert client.get("/healthz", headers=long).is_success
            body = b'{"name": "' + b"x" * 300_000 + b'"}'
            json = {"content-type": "application/json"}
            assert client.post("/api/users", content=body, headers=json).status_code == 422
        service.end()


@pytest.mark.parametrize(
    ("host", "public"),
    [("127.0.0.1", False), ("::1", False), ("10.0.0.7", True), ("192.0.2.1", True), ("app", False)],
)
def test_public_requests_are_refused_under_any_server(host: str, public: bool) -> None:  # noqa: FBT001
    async def inside(_scope: object, _receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    async def ask() -> int:
        sent = []

        async def send(message: dict[str, object]) -> None:
            sent.append(message)

        scope = {"type": "http", "server": (host, 8000), "path": "/metrics"}
        await serve.LoopbackOnly(inside)(scope, send, send)  # type: ignore[arg-type]
        status = sent[0]["status"]
        assert isinstance(status, int)
        return status

    assert asyncio.run(ask()) == (403 if public else 200)


@pytest.mark.parametrize(
    "url",
    ["redis://:changeme@127.0.0.1/0", "redis://:ChangeMe123@127.0.0.1/0", "http://127.0.0.1"],
)
def test_guessable_or_invalid_redis_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="SERVICE_REDIS_URL") as refused:
        Settings(redis_url=url)
    assert "hangeMe" not in str(refused.value)


@pytest.mark.parametrize(
    "key",
    [
        "changeme-changeme-changeme-changeme-",
        "your-256-bit-secret-your-256-bit-secret",
        "12345678" * 8,
        "abc" * 12,
        "ChangeMe123!ChangeMe123!ChangeMe123!",
    ],
)
def test_guessable_jwt_key_is_refused(tmp_path: Path, key: str) -> None:
    (tmp_path / "key").write_text(key)
    settings = Settings(jwt_key_file=tmp_path / "key")
    with pytest.raises(Exception, match="known default"):
        settings.jwt_keys()


@pytest.mark.servers
def test_sqlite_file_is_readable_by_owner_only(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with serving(settings) as service:
        service.end()
    files = list(tmp_path.rglob("*.db*"))
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
