import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.service.process import ROOT, command, environment, serving
from tests.service.running import settings_for

GOOD = "correct horse battery staple"


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
        "print(app.title)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(settings_for(tmp_path), PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Service\n"


def test_serves_measures_and_ends_in_order(tmp_path: Path) -> None:
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


def test_metrics_need_the_token_where_one_is_set(tmp_path: Path) -> None:
    token = tmp_path / "metrics-token"
    token.write_text("a-token-that-only-tests-use\n")
    with serving(settings_for(tmp_path, metrics_token_file=token)) as service:
        assert httpx.get(f"{service.url}/metrics").status_code == 401
        headers = {"Authorization": "Bearer a-token-that-only-tests-use"}
        assert httpx.get(f"{service.url}/metrics", headers=headers).status_code == 200


def test_migrates_and_makes_an_admin(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    password = tmp_path / "password"
    password.write_text(GOOD + "\n")
    assert command(settings, "migrate").returncode == 0
    arguments = ["create-admin", "--email", "Root@Example.com", "--password-file", str(password)]
    made = command(settings, *arguments)
    assert made.returncode == 0, made.stderr
    assert GOOD not in made.stdout + made.stderr
    again = command(settings, *arguments)
    assert again.returncode == 2
    assert "e-mail" in again.stderr
    with serving(settings) as service:
        login = {"email": "root@example.com", "password": GOOD}
        token = httpx.post(f"{service.url}/api/users/login", json=login).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{service.url}/api/users", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "others", "said"),
    [
        ([], {"SERVICE_HOST": "0.0.0.0"}, "SERVICE_TLS_CERT_FILE"),  # noqa: S104 - it is refused
        (["migrate"], {"SERVICE_POOL_SIZE": "none"}, "pool_size"),
        (["create-admin", "--email", "x", "--password-file", "FILE"], {}, "email"),
        (["create-admin", "--email", "a@example.com", "--password-file", "nowhere"], {}, "nowhere"),
    ],
)
def test_says_what_is_wrong_in_a_line(
    tmp_path: Path, arguments: list[str], others: dict[str, str], said: str
) -> None:
    password = tmp_path / "password"
    password.write_text(GOOD)
    given = [str(password) if argument == "FILE" else argument for argument in arguments]
    failed = command(settings_for(tmp_path), *given, **others)
    assert failed.returncode == 2
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
    assert GOOD not in failed.stderr


def test_help_names_the_commands(tmp_path: Path) -> None:
    shown = command(settings_for(tmp_path), "--help").stdout
    assert all(name in shown for name in ("serve", "migrate", "create-admin"))
