import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from service.__main__ import main
from service.settings import Settings
from tests.service.process import ROOT, environment, serving
from tests.service.running import settings_for

GOOD = "correct horse battery staple"


class Call(Protocol):
    """Runs ``python -m service`` in this process; returns its status and output."""

    def __call__(self, settings: Settings, *arguments: str, **others: str) -> tuple[int, str]: ...


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    def run(settings: Settings, *arguments: str, **others: str) -> tuple[int, str]:
        for name, value in environment(settings, **others).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["service", *arguments])
        capsys.readouterr()
        try:
            status = main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


@pytest.mark.slow
def test_importing_the_module_has_no_effect(tmp_path: Path) -> None:
    code = "import service.main, threading; print(threading.active_count())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(settings_for(tmp_path), PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"
    assert list(tmp_path.iterdir()) == []


def test_uvicorn_finds_the_app(tmp_path: Path) -> None:
    code = (
        "from uvicorn.importer import import_from_string as found;"
        "app = found('service.main:app'); assert app is found('service.main:app');"
        "print(app.app.title)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(settings_for(tmp_path), PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Shop API\n"


@pytest.mark.servers
def test_serves_measures_and_shuts_down_gracefully(tmp_path: Path) -> None:
    with serving(settings_for(tmp_path)) as service:
        answer = httpx.get(f"{service.url}/api/products")
        assert answer.json() == {"items": [], "next": None}
        assert "server" not in answer.headers
        metrics = httpx.get(f"{service.url}/metrics").text
        assert 'http_route="/api/products"' in metrics
        assert 'cache="product_page"' in metrics
        assert "db_client_operation_duration_seconds_bucket" in metrics
        said = service.end()
    assert service.process.returncode in (0, -15)
    assert "Traceback" not in said
    assert (tmp_path / "jwt-key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "jwt-key").read_text().strip() not in said


@pytest.mark.servers
def test_head_has_no_body_and_keeps_connection(tmp_path: Path) -> None:
    with serving(settings_for(tmp_path)) as service:
        where = httpx.URL(service.url)
        with socket.create_connection((where.host, where.port or 0), 10) as line:
            asked = b"%s /api/categories HTTP/1.1\r\nHost: x\r\n%s\r\n"
            line.sendall(asked % (b"HEAD", b"") + asked % (b"GET", b"Connection: close\r\n"))
            said = b"".join(iter(lambda: line.recv(65536), b""))
        head, _, rest = said.partition(b"\r\n\r\n")
        assert b"content-length: 12" in head
        assert rest.startswith(b"HTTP/1.1 200 OK")
        assert rest.endswith(b'\r\n\r\n{"items":[]}')
        said_so_far = service.end()
    assert "Traceback" not in said_so_far


@pytest.mark.servers
def test_request_in_progress_completes_before_shutdown(tmp_path: Path) -> None:
    # A hash of half a second or more; it is still being computed at the shutdown.
    slow: dict[str, Any] = {"hash_memory_kib": 256 * 1024, "hash_passes": 6}
    settings = settings_for(tmp_path, **slow, shutdown_timeout=120)
    new = {"email": "ada@example.com", "name": "Ada", "password": GOOD}
    with serving(settings) as service, ThreadPoolExecutor() as threads:
        answer = threads.submit(httpx.post, f"{service.url}/api/users", json=new, timeout=60)
        labels = 'http_request_method="POST",url_scheme="http"'
        running = f"http_server_active_requests{{{labels}}} 1"
        until(lambda: running in httpx.get(f"{service.url}/metrics").text)
        service.process.send_signal(signal.SIGTERM)
        until(lambda: not accepts(service.url))
        assert not answer.done()
        assert answer.result().status_code == 201
        said = service.end()
    assert service.process.returncode in (0, -15)
    assert "Traceback" not in said


@pytest.mark.servers
def test_only_trusted_proxies_set_client_address(tmp_path: Path) -> None:
    forwarded = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    login = {"email": "ada@example.com", "password": "wrong"}
    for proxies, believed in (("127.0.0.1", True), ("192.0.2.1", False), ("", False)):
        settings = settings_for(tmp_path, trusted_proxies=proxies, address_attempts=1)
        with serving(settings) as service:
            url = f"{service.url}/api/users/login"
            assert httpx.post(url, json=login).status_code == 401
            answer = httpx.post(url, json=login, headers=forwarded)
            assert answer.status_code == (401 if believed else 429)
            assert ("strict-transport-security" in answer.headers) == believed


def until(happens: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)


def accepts(url: str) -> bool:
    """Return whether a server listens."""
    try:
        return httpx.get(f"{url}/healthz").is_success
    except httpx.TransportError:
        return False


@pytest.mark.servers
def test_metrics_require_configured_token(tmp_path: Path) -> None:
    token = tmp_path / "metrics-token"
    token.write_text("a-token-that-only-tests-use\n")
    with serving(settings_for(tmp_path, metrics_token_file=token)) as service:
        assert httpx.get(f"{service.url}/metrics").status_code == 401
        headers = {"Authorization": "Bearer a-token-that-only-tests-use"}
        assert httpx.get(f"{service.url}/metrics", headers=headers).status_code == 200


@pytest.mark.servers
def test_migrates_and_creates_admin(tmp_path: Path, call: Call) -> None:
    settings = settings_for(tmp_path)
    password = tmp_path / "password"
    password.write_text(GOOD + "\n")
    assert call(settings, "migrate") == (0, "")
    arguments = ["create-admin", "--email", "Root@Example.com", "--password-file", str(password)]
    status, said = call(settings, *arguments)
    assert status == 0, said
    assert GOOD not in said
    status, said = call(settings, *arguments)
    assert status == 2
    assert "e-mail" in said
    with serving(settings) as service:
        login = {"email": "root@example.com", "password": GOOD}
        token = httpx.post(f"{service.url}/api/users/login", json=login).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{service.url}/api/users", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "others", "expected"),
    [
        ([], {"SERVICE_HOST": "0.0.0.0"}, "SERVICE_TLS_CERT_FILE"),  # noqa: S104 - it is refused
        (["migrate"], {"SERVICE_POOL_SIZE": "none"}, "pool_size"),
        (["create-admin", "--email", "x", "--password-file", "FILE"], {}, "email"),
        (["create-admin", "--email", "a@example.com", "--password-file", "nowhere"], {}, "nowhere"),
    ],
)
def test_configuration_error_is_one_line(
    tmp_path: Path, call: Call, arguments: list[str], others: dict[str, str], expected: str
) -> None:
    password = tmp_path / "password"
    password.write_text(GOOD)
    given = [str(password) if argument == "FILE" else argument for argument in arguments]
    status, said = call(settings_for(tmp_path), *given, **others)
    assert status == 2
    assert expected in said
    assert GOOD not in said


@pytest.mark.servers
def test_unavailable_database_is_logged_without_password(tmp_path: Path, call: Call) -> None:
    url = "postgresql+asyncpg://shop:made-up-for-tests@127.0.0.1:1/shop"
    settings = settings_for(tmp_path, url)
    assert call(settings, "migrate")[0] == 2
    with (
        pytest.raises(TimeoutError, match="cannot start: no database") as caught,
        serving(settings),
    ):
        pass
    assert "made-up-for-tests" not in str(caught.value)


def test_help_names_the_commands(call: Call, tmp_path: Path) -> None:
    status, said = call(settings_for(tmp_path), "--help")
    assert status == 0
    assert all(name in said for name in ("serve", "migrate", "create-admin"))
