"""Settings, from environment variables with the prefix ``SERVICE_``.

Settings are built once and passed in. Unsafe ones are refused: a public address without TLS and a
metrics token, and guessable secrets.
"""

import os
import resource
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from service.secret_files import SecretError, made_secret, read_secret, refuse_guessable

DRIVERS = ("postgresql+asyncpg", "sqlite+aiosqlite")
REDIS_SCHEMES = (
    *("redis://", "rediss://", "unix://"),
    *("redis+sentinel://", "rediss+sentinel://", "redis+cluster://", "rediss+cluster://"),
)
MAX_CONNECTIONS = 10_000
"""Upper limit of a process's connections, whatever its file limit: each takes some 20 kB."""
OTHER_FILES = 64
"""Least number of open files reserved for databases, Redis and logs."""


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine can reach ``host``."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def spare_processors() -> int:
    """Return how many processors hashing may use: two, but never the last one."""
    linux = sys.platform == "linux"  # where a container may have fewer than the machine
    processors = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
    return max(1, min(2, processors - 1))


class Settings(BaseSettings):
    """Typed settings with safe defaults: SQLite, an in-process cache, loopback only.

    Raises:
        pydantic.ValidationError: A setting is unsafe or invalid; the message says what to set
            instead.
    """

    model_config = SettingsConfigDict(
        env_prefix="SERVICE_", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    database_url: str = "sqlite+aiosqlite:///var/service.db"
    database_password_file: Path | None = None
    database_direct_url: str = Field(
        default="", description="PostgreSQL itself, for LISTEN, if database_url is of a pooler"
    )
    pool_size: int = Field(default=20, ge=1)
    pool_overflow: int = Field(default=0, ge=0, description="see docs/queries.md")
    pool_timeout: float = Field(default=10, gt=0, description="seconds to wait for a connection")
    connect_timeout: float = Field(default=3, gt=0, description="seconds")
    statement_timeout: float = Field(default=10, gt=0, description="seconds a statement may run")
    migrate: bool = True

    redis_url: str = ""
    redis_password_file: Path | None = None
    sentinel_password_file: Path | None = None

    jwt_key_file: Path = Path("var/secrets/jwt-key")
    jwt_previous_key_file: Path | None = None
    token_lifetime: int = Field(default=3600, ge=60, description="seconds a login lasts")
    metrics_token_file: Path | None = None

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    behind_tls_proxy: bool = False
    trusted_proxies: str = Field(
        default="", description="addresses or networks whose X-Forwarded-For is trusted, by commas"
    )
    allowed_hosts: str = Field(
        default="", description="allowed Host names, by commas, such as *.example.com; else any"
    )
    workers: int = Field(default=1, ge=1, le=64, description="processes that serve")
    instances: int = Field(
        default=1, ge=1, description="services like this one that share the database, see scale.md"
    )
    shutdown_delay: float = Field(
        default=0, ge=0, le=600, description="seconds to serve after SIGTERM, while /readyz fails"
    )
    shutdown_timeout: int = Field(default=10, ge=0, description="seconds to finish requests")
    head_timeout: float = Field(default=20, gt=0, description="seconds for a request's headers")
    unread_timeout: float = Field(
        default=5, gt=0, description="seconds for the rest of a body that was not read"
    )
    response_timeout: float = Field(
        default=20, gt=0, description="seconds in which a client must read a part of its response"
    )
    keep_alive_timeout: int = Field(default=5, ge=1, description="seconds between two requests")
    max_connections: int = Field(
        default=0, ge=0, description="connections of a process; 0: see `connections`"
    )

    body_limit: int = Field(default=1024 * 1024, ge=1024, description="bytes of a request body")
    account_attempts: int = Field(default=10, ge=1, description="logins to one account a minute")
    address_attempts: int = Field(
        default=60, ge=1, description="logins and registrations from one address a minute"
    )
    hash_threads: int = Field(
        default_factory=spare_processors,
        ge=1,
        description="argon2 hashes computed at once: two, or fewer, so that one processor is left",
    )
    hash_queue: int = Field(default=64, ge=1, description="logins that may wait for a hash")
    hash_memory_kib: int = Field(default=19456, ge=64)
    hash_passes: int = Field(default=2, ge=1)

    revision: str = ""

    @model_validator(mode="after")
    def _refuse_unsafe(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("set both SERVICE_TLS_CERT_FILE and SERVICE_TLS_KEY_FILE, or neither")
        if not is_loopback(self.host):
            if self.tls_cert_file is None and not self.behind_tls_proxy:
                raise ValueError(
                    f"SERVICE_HOST={self.host} is not loopback, so TLS is needed: set "
                    "SERVICE_TLS_CERT_FILE and SERVICE_TLS_KEY_FILE, or "
                    "SERVICE_BEHIND_TLS_PROXY=true if a proxy terminates TLS"
                )
            if self.metrics_token_file is None:
                raise ValueError(
                    f"SERVICE_HOST={self.host} is not loopback, so /metrics needs a "
                    "token: set SERVICE_METRICS_TOKEN_FILE"
                )
        try:
            self.database()
            self.direct_database()
            self.redis()
            self.metrics_token()
        except SecretError as error:
            raise ValueError(str(error)) from None
        return self

    def database(self) -> URL:
        """Return the database URL, with the password of ``database_password_file`` if given.

        Raises:
            SecretError: The password cannot be read or is guessable.
            ValueError: The URL's scheme is not supported.
        """
        return self._database(self.database_url, "SERVICE_DATABASE_URL", DRIVERS)

    def direct_database(self) -> URL | None:
        """Return the URL of PostgreSQL behind the pooler, with the same password; None without.

        Raises:
            SecretError: The password cannot be read or is guessable.
            ValueError: The URL's scheme is not supported.
        """
        if not self.database_direct_url:
            return None
        return self._database(self.database_direct_url, "SERVICE_DATABASE_DIRECT_URL", DRIVERS[:1])

    def _database(self, text: str, name: str, drivers: tuple[str, ...]) -> URL:
        try:
            url = make_url(text)
        except ArgumentError:
            url = URL.create("")
        if url.drivername not in drivers:  # never shown: it may hold a password
            raise ValueError(f"{name}: begin it with {' or '.join(drivers)}://")
        if self.database_password_file is not None:
            password = read_secret(self.database_password_file, "the database password", least=8)
            return url.set(password=password)
        for inside in (url.password, *url.normalized_query.get("password", ())):
            if inside is not None:
                refuse_guessable(str(inside), f"the password in {name}", least=8)
        return url

    def redis(self) -> str:
        """Return the Redis URL, with the password of ``sentinel_password_file`` if given.

        Raises:
            SecretError: A password cannot be read or is guessable.
            ValueError: The URL's scheme is not supported, or has no Sentinels for the password.
        """
        if not self.redis_url:
            return ""
        if not self.redis_url.startswith(REDIS_SCHEMES):  # never shown: it may hold a password
            raise ValueError(f"SERVICE_REDIS_URL: begin it with {' or '.join(REDIS_SCHEMES)}")
        parts = urlsplit(self.redis_url)
        named = parse_qs(parts.query).get("sentinel_password", ())
        for inside in (*(unquote(text) for text in (parts.password,) if text), *named):
            refuse_guessable(inside, "the password in SERVICE_REDIS_URL", least=8)
        if self.sentinel_password_file is None:
            return self.redis_url
        if "+sentinel" not in parts.scheme:
            raise ValueError("SERVICE_SENTINEL_PASSWORD_FILE: SERVICE_REDIS_URL has no Sentinels")
        password = read_secret(self.sentinel_password_file, "the Sentinels' password", least=8)
        separator = "&" if parts.query else "?"
        return f"{self.redis_url}{separator}sentinel_password={quote(password, safe='')}"

    def jwt_keys(self) -> tuple[str, ...]:
        """Return the key that signs tokens and cursors, then the previous key if it is set.

        The first is generated with mode 0600 if it does not exist.

        Raises:
            SecretError: A key cannot be read or written, is too short or guessable.
        """
        current = made_secret(self.jwt_key_file, "the JWT key", least=32)
        if self.jwt_previous_key_file is None:
            return (current,)
        return current, read_secret(self.jwt_previous_key_file, "the previous JWT key", least=32)

    def hosts(self) -> tuple[str, ...]:
        """Return the allowed host names; empty for any."""
        return tuple(host.strip().lower() for host in self.allowed_hosts.split(",") if host.strip())

    def connections(self) -> int:
        """Return the limit of a process's client connections.

        By default three quarters of its open file limit: the rest is reserved for databases, Redis
        and logs.
        """
        if self.max_connections:
            return self.max_connections
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files == resource.RLIM_INFINITY:
            return MAX_CONNECTIONS
        return max(1, min(MAX_CONNECTIONS, files - max(OTHER_FILES, files // 4)))

    def metrics_token(self) -> str | None:
        """Return the bearer token of ``/metrics``, or None when it is open (loopback only).

        Raises:
            SecretError: The token cannot be read, is too short or guessable.
        """
        if self.metrics_token_file is None:
            return None
        return read_secret(self.metrics_token_file, "the metrics token", least=16)

    def redis_password(self) -> str | None:
        """Return the password for Redis, or None to use the URL's.

        Raises:
            SecretError: The password cannot be read or is guessable.
        """
        if self.redis_password_file is None:
            return None
        return read_secret(self.redis_password_file, "the Redis password", least=8)
