from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.settings import Settings, is_loopback
from vitals.cache.redis.url import RedisUrl

TOKEN = "a-token-that-only-tests-use"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - to see it refused


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_settings(host: str) -> None:
    assert is_loopback(host)
    assert Settings(host=host).metrics_token() is None


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.168.1.5", "example.com"])
def test_public_host_needs_tls_and_metrics_token(host: str, token: Path) -> None:
    tls: dict[str, Any] = {"tls_cert_file": "cert.pem", "tls_key_file": "key.pem"}
    with pytest.raises(ValidationError, match="SERVICE_TLS_CERT_FILE"):
        Settings(host=host, metrics_token_file=token)
    with pytest.raises(ValidationError, match="SERVICE_METRICS_TOKEN_FILE"):
        Settings(host=host, **tls)
    with pytest.raises(ValidationError, match="SERVICE_METRICS_TOKEN_FILE"):
        Settings(host=host, behind_tls_proxy=True)
    assert Settings(host=host, metrics_token_file=token, **tls).metrics_token() == TOKEN
    assert Settings(host=host, metrics_token_file=token, behind_tls_proxy=True).host == host


def test_certificate_without_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="both"):
        Settings(tls_cert_file=Path("cert.pem"))


def test_environment_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_POOL_SIZE", "7")
    monkeypatch.setenv("SERVICE_REDIS_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("SERVICE_TLS_CERT_FILE", "")
    settings = Settings()
    assert (settings.pool_size, settings.redis_url) == (7, "redis://127.0.0.1:1")
    assert settings.tls_cert_file is None


def test_password_file_completes_the_url(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("made-up-for-tests\n")
    url = "postgresql+asyncpg://shop@127.0.0.1:1/shop"
    settings = Settings(database_url=url, database_password_file=file)
    assert settings.database().password == "made-up-for-tests"
    assert "made-up" not in repr(settings)


@pytest.mark.parametrize("password", ["changeme", "ChangeThis", "letmein", "hunter2"])
def test_known_passwords_are_refused_and_not_shown(tmp_path: Path, password: str) -> None:
    file = tmp_path / "password"
    file.write_text(password)
    url = f"postgresql+asyncpg://shop:{password}@127.0.0.1:1/shop"
    for settings in ({"database_url": url}, {"database_password_file": file}):
        with pytest.raises(ValidationError) as caught:
            Settings(**settings)
        assert password not in str(caught.value)
        assert "openssl rand" in str(caught.value)


def test_a_weak_metrics_token_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("tooshort")
    with pytest.raises(ValidationError, match="metrics token"):
        Settings(metrics_token_file=file)


@pytest.mark.parametrize("url", ["nonsense", "mysql://shop:hunter2@host/shop", "postgresql://x/y"])
def test_unsupported_database_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValidationError, match=r"postgresql\+asyncpg") as caught:
        Settings(database_url=url)
    assert url not in str(caught.value)


@pytest.mark.parametrize(("processors", "hashing"), [(1, 1), (2, 1), (3, 2), (16, 2)])
def test_hashing_leaves_a_processor_free(
    processors: int, hashing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.settings.sys.platform", "linux")
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(processors)))
    assert Settings().hash_threads == hashing


def test_password_of_sentinels_completes_the_url(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("made-up/for tests?\n")
    url = "redis+sentinel://one,two/vitals"
    given = Settings(redis_url=url, sentinel_password_file=file)
    assert "made-up" not in repr(given)
    assert RedisUrl.parse(given.redis()).sentinel_login["password"] == "made-up/for tests?"
    given = Settings(redis_url=f"{url}?sentinel_username=watch", sentinel_password_file=file)
    login = RedisUrl.parse(given.redis(), "made-up-of-redis")
    assert login.sentinel_login == {"username": "watch", "password": "made-up/for tests?"}
    assert login.options["password"] == "made-up-of-redis"
    with pytest.raises(ValidationError, match="has no Sentinels"):
        Settings(redis_url="redis://127.0.0.1:1", sentinel_password_file=file)
    with pytest.raises(ValidationError, match="SERVICE_REDIS_URL"):
        Settings(redis_url=f"{url}?sentinel_password=changeme")


def test_direct_url_is_of_postgresql_with_the_same_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("made-up-for-tests\n")
    url = "postgresql+asyncpg://shop@127.0.0.1:1/shop"
    assert Settings(database_url=url).direct_database() is None
    settings = Settings(database_url=url, database_direct_url=url, database_password_file=file)
    direct = settings.direct_database()
    assert direct is not None
    assert direct.password == "made-up-for-tests"
    with pytest.raises(ValidationError, match="SERVICE_DATABASE_DIRECT_URL"):
        Settings(database_url=url, database_direct_url="sqlite+aiosqlite:///x.db")
