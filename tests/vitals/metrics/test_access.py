"""Without a token, the metrics are for the service's own machine."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers

from tests.vitals.client import fetch
from vitals import instrument
from vitals.metrics.access import TOKEN, TOKEN_FILE, is_local

LOOPBACK = {"client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", 8000), "http_version": "1.1"}


def scope(**changes: Any) -> dict[str, Any]:
    return LOOPBACK | changes


@pytest.mark.parametrize(
    ("changes", "headers"),
    [
        ({}, {}),
        ({}, {"host": "127.0.0.1:8000"}),
        ({}, {"host": "localhost:8000"}),
        ({}, {"host": "shop.localhost"}),
        ({"client": ("::1", 1), "server": ("::1", 8000)}, {"host": "[::1]:8000"}),
        ({"client": ("::ffff:127.0.0.1", 1), "server": ("::ffff:127.0.0.1", 80)}, {}),
        ({"client": ("127.9.9.9", 1), "server": ("localhost", 8000)}, {}),
        # In-process clients: Starlette's and httpx'.
        ({"client": ("testclient", 1), "server": ("testserver", 80)}, {"host": "testserver"}),
        ({"server": ("shop.example", None)}, {"host": "shop.example"}),
    ],
)
def test_connections_of_this_machine_are_local(
    changes: dict[str, Any], headers: dict[str, str]
) -> None:
    assert is_local(scope(**changes), Headers(headers))


@pytest.mark.parametrize(
    ("changes", "headers"),
    [
        # Another machine, another container.
        ({"client": ("10.0.0.7", 1), "server": ("10.0.0.5", 8000)}, {}),
        ({"client": ("172.18.0.1", 1), "server": ("172.18.0.2", 8000)}, {"host": "localhost:8000"}),
        ({"client": ("fe80::1%eth0", 1), "server": ("fe80::2%eth0", 80)}, {}),
        # A proxy on this machine.
        ({}, {"x-forwarded-for": "203.0.113.9"}),
        ({}, {"forwarded": "for=203.0.113.9"}),
        ({}, {"via": "1.1 proxy"}),
        ({}, {"host": "shop.example"}),
        ({"http_version": "1.0"}, {"host": "127.0.0.1:8000"}),
        # A server that believes a forged header, which names this machine.
        ({"server": ("10.0.0.5", 8000)}, {}),
        ({"client": ("127.0.0.1", 0)}, {"x-forwarded-for": "127.0.0.1"}),
        # A page whose domain was rebound to this machine.
        ({}, {"host": "attacker.example:8000"}),
        ({}, {"host": "127.0.0.1.attacker.example"}),
        # A Unix socket: its peer is a proxy.
        ({"client": None, "server": ("/run/shop.sock", None)}, {}),
        ({"client": None, "server": None}, {}),
        ({"client": ("", 0), "server": ("/run/shop.sock", None)}, {}),
        ({"client": ("testclient", 1)}, {}),
    ],
)
def test_all_others_are_not(changes: dict[str, Any], headers: dict[str, str]) -> None:
    assert not is_local(scope(**changes), Headers(headers))


def make(**options: Any) -> FastAPI:
    app = FastAPI()
    instrument(app, logs=False, **options)
    return app


def remote(app: FastAPI, authorization: str = "") -> httpx.Response:
    """Ask as another machine would."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=("203.0.113.9", 50_000))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://198.51.100.1:8000"
        ) as client:
            sent = {b"authorization": authorization.encode()} if authorization else {}
            return await client.get("/metrics", headers=sent)

    return asyncio.run(ask())


def test_a_refusal_says_what_to_set_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    app = make()
    for _ in range(2):
        response = remote(app)
        assert response.status_code == 403
        assert TOKEN in response.text
        assert TOKEN_FILE in response.text
        assert "app_build_info" not in response.text
        assert response.headers["cache-control"] == "no-store"
    (said,) = (record.getMessage() for record in caplog.records)
    assert "203.0.113.9" in said
    assert TOKEN_FILE in said
    assert fetch(app, "GET", "/metrics").status_code == 200


def test_false_serves_everyone() -> None:
    assert remote(make(metrics_token=False)).status_code == 200


@pytest.mark.parametrize("source", ["argument", "variable", "file"])
def test_a_token_is_required_from_everyone(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if source == "variable":
        monkeypatch.setenv(TOKEN, "right")
    elif source == "file":
        (tmp_path / "token").write_text("right\n")
        monkeypatch.setenv(TOKEN_FILE, str(tmp_path / "token"))
    app = make(metrics_token="right") if source == "argument" else make()
    assert remote(app, authorization="Bearer right").status_code == 200
    for response in (remote(app), remote(app, authorization="Bearer wrong")):
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
    assert fetch(app, "GET", "/metrics").status_code == 401


def test_the_argument_takes_precedence_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TOKEN, "other")
    assert remote(make(metrics_token="right"), authorization="Bearer right").status_code == 200


def test_an_empty_variable_is_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, " ")
    monkeypatch.setenv(TOKEN_FILE, "")
    app = make()
    assert remote(app, authorization="Bearer ").status_code == 403
    assert fetch(app, "GET", "/metrics").status_code == 200


def test_a_token_outside_of_ascii_is_compared_by_its_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(TOKEN, "schlüssel")
    app = make()
    assert remote(app, "Bearer schlüssel").status_code == 200
    assert remote(app, "Bearer key").status_code == 401


@pytest.mark.parametrize("content", [None, "", " \n", b"\xff"])
def test_a_token_file_without_a_token_is_an_error_at_the_start(
    content: str | bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv(TOKEN_FILE, str(file))
    with pytest.raises(ValueError, match=str(file)):
        make()


def test_two_tokens_and_an_empty_one_are_errors_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="empty"):
        make(metrics_token="")
    monkeypatch.setenv(TOKEN, "one")
    monkeypatch.setenv(TOKEN_FILE, str(tmp_path / "token"))
    with pytest.raises(ValueError, match="both"):
        make()


@contextmanager
def served(app: FastAPI, **options: Any) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        address = server.servers[0].sockets[0].getsockname()
        yield f"http://127.0.0.1:{address[1]}" if isinstance(address, tuple) else str(address)
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.servers
def test_what_a_real_server_says_of_its_connections_decides(tmp_path: Path) -> None:
    with served(make(), port=0) as base:
        assert httpx.get(f"{base}/metrics").status_code == 200
        forwarded = {"x-forwarded-for": "203.0.113.9"}
        assert httpx.get(f"{base}/metrics", headers=forwarded).status_code == 403
        named = {"host": "shop.example"}
        assert httpx.get(f"{base}/metrics", headers=named).status_code == 403
    path = str(tmp_path / "socket")
    with (
        served(make(), uds=path),
        httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client,
    ):
        assert client.get("http://localhost/metrics").status_code == 403
