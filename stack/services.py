"""The services of the stack, with their dependencies and readiness probes."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stack import monitoring_config, readiness, secret_distribution, settings
from stack.installation import secrets as secret_files
from stack.installation.paths import Installation
from stack.monitoring_services import SITE
from stack.process.service import Service
from stack.python_programs import (
    flag,
    page_origins,
    python_folder,
    python_owner,
    python_program,
    store_url,
)
from stack.servers import postgres, redis
from vitals import secure_files
from vitals.saturation import disk

_PREVIOUS_KEY = "jwt-key-previous"
"""The previous signing key during a key rotation (docs/security.md)."""


def databases(here: Installation) -> list[Service]:
    """PostgreSQL with the API's role and database, and Redis."""
    superuser = secret_files.read(here.secrets, "postgres-password")
    cluster = here.data / "postgres"
    secrets = secret_distribution.provide(here, "postgres", ["postgres-password"], here.user)
    postgres.make_cluster(cluster, here.user, secrets / "postgres-password")

    def make_database() -> None:
        password = secret_files.read(here.secrets, "database-password")
        postgres.make_role(here.ports.postgres, superuser, password)
        postgres.make_database(here.ports.postgres, superuser, postgres.DATABASE)
        postgres.make_extensions(here.ports.postgres, superuser, postgres.DATABASE)
        monitor = secret_files.read(here.secrets, "monitor-password")
        postgres.make_monitor(here.ports.postgres, superuser, monitor, postgres.DATABASE)

    config = redis.configuration(
        here.ports.redis,
        here.folder("redis"),
        password=secret_files.read(here.secrets, "redis-password"),
        monitor_password=secret_files.read(here.secrets, "redis-monitor-password"),
    )
    return [
        Service(
            postgres.server(cluster, here.ports.postgres, here.user, postgres.statement_settings()),
            ready=lambda: postgres.answers(here.ports.postgres),
            port=here.ports.postgres,
            before_start=lambda: postgres.remove_stale_pid_file(cluster),
            on_ready=make_database,
            quiet=True,
        ),
        Service(
            redis.server(here.write("redis", "redis.conf", config), here.user_of("redis")),
            ready=lambda: readiness.redis_answers(here.ports.redis),
            port=here.ports.redis,
            quiet=True,
        ),
    ]


def readers(here: Installation) -> list[Service]:
    """What reads, for Prometheus, what the databases say of themselves."""
    names = secret_distribution.SECRETS["postgres-reader"]
    secrets = secret_distribution.provide(here, "postgres-reader", names, here.python_user)
    where = f"{readiness.LOOPBACK}:{here.ports.postgres}/{postgres.DATABASE}"
    arguments = [
        *flag("url", f"postgresql://{postgres.MONITOR}@{where}"),
        *flag("password-file", str(secrets / "monitor-password")),
        *flag("port", str(here.ports.postgres_reader)),
    ]
    return [
        Service(
            python_program(here, "postgres-reader", ["stack.postgres_reader", *arguments]),
            ready=lambda: readiness.http_answers(here.ports.postgres_reader, "/"),
            port=here.ports.postgres_reader,
            depends_on=("postgres",),
        ),
        redis_reader(
            here,
            f"redis://{redis.MONITOR}@{readiness.LOOPBACK}:{here.ports.redis}",
            here.secrets / "redis-monitor-password",
            depends_on=("redis",),
        ),
    ]


def redis_reader(
    here: Installation, url: str, password_file: Path | None, depends_on: tuple[str, ...] = ()
) -> Service:
    """The reader of a Redis.

    Args:
        here: The installation.
        url: `redis://USER@HOST:PORT`.
        password_file: The file with the user's password, of which the reader gets a copy.
        depends_on: Services that must be ready before.

    Raises:
        OSError: The file cannot be read.
    """
    arguments = [*flag("url", url), *flag("port", str(here.ports.redis_reader))]
    if password_file:
        folder = secret_distribution.provide(here, "redis-reader", (), here.python_user)
        copy = folder / "redis-monitor-password"
        text = secure_files.read(password_file).decode().strip()
        secure_files.write(copy, text, mode=0o400, owner=python_owner(here))
        arguments += flag("password-file", str(copy))
    return Service(
        python_program(here, "redis-reader", ["stack.redis_reader", *arguments]),
        ready=lambda: readiness.http_answers(here.ports.redis_reader, "/"),
        port=here.ports.redis_reader,
        depends_on=depends_on,
    )


def api(here: Installation) -> Service:
    """The API; it migrates its database itself."""
    return Service(
        python_program(here, "api", ["service"], _service_settings(here)),
        ready=lambda: readiness.http_answers(here.ports.api, "/readyz"),
        port=here.ports.api,
        start_timeout=180.0,  # each worker imports all of it: slow on a busy machine
        depends_on=("postgres", "redis"),
        quiet=True,  # one line per request
    )


def _service_settings(here: Installation) -> dict[str, str]:
    names = [*secret_distribution.SECRETS["api"], _PREVIOUS_KEY]
    secrets = secret_distribution.provide(here, "api", names, here.python_user)
    previous = {"SERVICE_JWT_PREVIOUS_KEY_FILE": str(secrets / _PREVIOUS_KEY)}
    return {
        **(previous if (here.secrets / _PREVIOUS_KEY).exists() else {}),
        "SERVICE_DATABASE_URL": (
            f"postgresql+asyncpg://{postgres.ROLE}@{readiness.LOOPBACK}:{here.ports.postgres}/{postgres.DATABASE}"
        ),
        "SERVICE_DATABASE_PASSWORD_FILE": str(secrets / "database-password"),
        "SERVICE_REDIS_URL": f"redis://{readiness.LOOPBACK}:{here.ports.redis}/0",
        "SERVICE_REDIS_PASSWORD_FILE": str(secrets / "redis-password"),
        "SERVICE_JWT_KEY_FILE": str(secrets / "jwt-key"),
        "SERVICE_METRICS_TOKEN_FILE": str(secrets / "metrics-token"),
        "SERVICE_HOST": readiness.LOOPBACK,
        "SERVICE_PORT": str(here.ports.api),
        "OTEL_EXPORTER_OTLP_ENDPOINT": os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        or store_url(here),
        "PYROSCOPE_SERVER_ADDRESS": os.environ.get("PYROSCOPE_SERVER_ADDRESS") or store_url(here),
        **_folders(here.data),
        **_worker_settings(here.workers),
    }


def _folders(data: Path) -> dict[str, str]:
    """The API measures the disk of the data folder: data of PostgreSQL and Prometheus, logs."""
    return {} if os.pathsep in str(data) else {disk.VARIABLE: f"data={data}"}


def _worker_settings(workers: int) -> dict[str, str]:
    """Divide the connection pool between the workers: PostgreSQL allows 100 connections."""
    pool, overflow = 20, 10
    return {
        "SERVICE_WORKERS": str(workers),
        "SERVICE_POOL_SIZE": str(max(1, pool // workers)),
        "SERVICE_POOL_OVERFLOW": str(max(1, overflow // workers)),
    }


def inbox(here: Installation, mail_port: int) -> Service:
    """The inbox: receives notifications unless ALERT_* variables name other receivers.

    Args:
        here: The installation.
        mail_port: A free port, for the mail of Alertmanager.

    Raises:
        OSError: The file of Apprise's addresses cannot be read.
    """
    folder = python_folder(here, "inbox")
    arguments = [
        *flag("port", str(here.ports.inbox)),
        *flag("mail-port", str(mail_port)),
        *flag("viewer", monitoring_config.viewer_url(here)),
        *flag("archive", str(folder / "messages.sqlite3")),
    ]
    if addresses := os.environ.get(monitoring_config.APPRISE_FILE):
        copy = folder / "apprise"
        secure_files.write(
            copy, Path(addresses).read_text("utf-8"), mode=0o400, owner=python_owner(here)
        )
        arguments += flag("apprise", str(copy))
    return Service(
        python_program(here, "inbox", ["stack.inbox.server", *arguments]),
        ready=lambda: readiness.http_answers(here.ports.inbox, "/"),
        port=here.ports.inbox,
    )


def store(here: Installation) -> Service:
    """The store of traces and logs; `STORE_KEEP` and `STORE_LIMIT` bound it by age and size."""
    folder = python_folder(here, "store")
    arguments = [
        *flag("listen", f"{readiness.LOOPBACK}:{here.ports.store}"),
        *flag("data", str(folder)),
        *flag("keep", settings.STORE_KEEP.of(os.environ)),
        *flag("limit", settings.STORE_LIMIT.of(os.environ)),
        *page_origins(here),
    ]
    return Service(
        python_program(here, "store", ["stack.store", *arguments]),
        ready=lambda: readiness.http_answers(here.ports.store, "/ready"),
        port=here.ports.store,
    )


def issues(here: Installation) -> Service:
    """The issue tracker, which reads the store."""
    folder = python_folder(here, "issues")
    arguments = [
        *flag("port", str(here.ports.issues)),
        *flag("data", str(folder / "issues.sqlite3")),
        *flag("logs", store_url(here)),
        *page_origins(here),
    ]
    return Service(
        python_program(here, "issues", ["stack.issues", *arguments]),
        ready=lambda: readiness.http_answers(here.ports.issues, "/ready"),
        port=here.ports.issues,
        depends_on=("store",),
    )


def boards(here: Installation) -> Service:
    """The boards for a browser, built as the owner of the checkout, served by Prometheus."""
    arguments = [
        *flag("site", str(here.data / SITE)),
        *flag("address", f"{monitoring_config.viewer_url(here)}/"),
        *flag("traces", os.environ.get("TRACE_URL", "")),
        *flag("store", store_url(here)),
        *flag("issues", f"http://{readiness.LOOPBACK}:{here.ports.issues}"),
    ]
    program = replace(
        python_program(here, "boards", ["stack.viewer", "publish", *arguments]), user=None
    )
    return Service(program, task=True, optional=True)


def sample_data(here: Installation, amounts: Mapping[str, int]) -> list[Service]:
    """Sample data, if there are none, and light traffic.

    Args:
        here: The installation.
        amounts: Numbers of `users`, `products` and `orders` to create.
    """
    superuser = secret_files.read(here.secrets, "postgres-password")
    seed = ["service.seed", *(word for name in amounts for word in flag(name, str(amounts[name])))]
    url = f"http://{readiness.LOOPBACK}:{here.ports.api}"
    password_names = ("admin-password", "demo-password")
    secrets = secret_distribution.provide(here, "sample", password_names, here.python_user)
    passwords = [
        word for name in password_names for word in flag(f"{name}-file", str(secrets / name))
    ]

    def is_empty() -> bool:
        sql = "SELECT EXISTS (SELECT FROM products)"
        return (
            postgres.run_sql(here.ports.postgres, superuser, sql, database=postgres.DATABASE) == "f"
        )

    return [
        Service(
            python_program(here, "seed", [*seed, *passwords], _service_settings(here)),
            depends_on=("api",),
            task=True,
            condition=is_empty,
            start_timeout=300.0,
        ),
        Service(
            python_program(here, "traffic", ["stack.traffic", "--url", url, *passwords]),
            depends_on=("seed",),
            quiet=True,
        ),
    ]
