"""The services of the stack, with their dependencies and readiness probes."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stack import monitoring_config, pair, readiness, secret_distribution, settings
from stack.installation import secrets as secret_files
from stack.installation.paths import CHECKOUT, Installation
from stack.pair import Half
from stack.process.process import Program
from stack.process.service import Service
from stack.servers import postgres, prometheus, redis
from stack.watched_services import WatchedService
from vitals import secure_files
from vitals.saturation import disk

SITE = "site"
"""The folder in the data folder that Prometheus serves at /user/."""
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
        *_flag("url", f"postgresql://{postgres.MONITOR}@{where}"),
        *_flag("password-file", str(secrets / "monitor-password")),
        *_flag("port", str(here.ports.postgres_reader)),
    ]
    return [
        Service(
            _python(here, "postgres-reader", ["stack.postgres_reader", *arguments]),
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
    arguments = [*_flag("url", url), *_flag("port", str(here.ports.redis_reader))]
    if password_file:
        folder = secret_distribution.provide(here, "redis-reader", (), here.python_user)
        copy = folder / "redis-monitor-password"
        text = secure_files.read(password_file).decode().strip()
        secure_files.write(copy, text, mode=0o400, owner=_python_owner(here))
        arguments += _flag("password-file", str(copy))
    return Service(
        _python(here, "redis-reader", ["stack.redis_reader", *arguments]),
        ready=lambda: readiness.http_answers(here.ports.redis_reader, "/"),
        port=here.ports.redis_reader,
        depends_on=depends_on,
    )


def api(here: Installation) -> Service:
    """The API; it migrates its database itself."""
    return Service(
        _python(here, "api", ["service"], _service_settings(here)),
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
        or _store_url(here),
        "PYROSCOPE_SERVER_ADDRESS": os.environ.get("PYROSCOPE_SERVER_ADDRESS") or _store_url(here),
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
    folder = _folder_of_python(here, "inbox")
    arguments = [
        *_flag("port", str(here.ports.inbox)),
        *_flag("mail-port", str(mail_port)),
        *_flag("viewer", monitoring_config.viewer_url(here)),
        *_flag("archive", str(folder / "messages.sqlite3")),
    ]
    if addresses := os.environ.get(monitoring_config.APPRISE_FILE):
        copy = folder / "apprise"
        secure_files.write(
            copy, Path(addresses).read_text("utf-8"), mode=0o400, owner=_python_owner(here)
        )
        arguments += _flag("apprise", str(copy))
    return Service(
        _python(here, "inbox", ["stack.inbox.server", *arguments]),
        ready=lambda: readiness.http_answers(here.ports.inbox, "/"),
        port=here.ports.inbox,
    )


def store(here: Installation) -> Service:
    """The store of traces and logs; `STORE_KEEP` and `STORE_LIMIT` bound it by age and size."""
    folder = _folder_of_python(here, "store")
    arguments = [
        *_flag("listen", f"{readiness.LOOPBACK}:{here.ports.store}"),
        *_flag("data", str(folder)),
        *_flag("keep", settings.STORE_KEEP.of(os.environ)),
        *_flag("limit", settings.STORE_LIMIT.of(os.environ)),
        *_page_origins(here),
    ]
    return Service(
        _python(here, "store", ["stack.store", *arguments]),
        ready=lambda: readiness.http_answers(here.ports.store, "/ready"),
        port=here.ports.store,
    )


def issues(here: Installation) -> Service:
    """The issue tracker, which reads the store."""
    folder = _folder_of_python(here, "issues")
    arguments = [
        *_flag("port", str(here.ports.issues)),
        *_flag("data", str(folder / "issues.sqlite3")),
        *_flag("logs", _store_url(here)),
        *_page_origins(here),
    ]
    return Service(
        _python(here, "issues", ["stack.issues", *arguments]),
        ready=lambda: readiness.http_answers(here.ports.issues, "/ready"),
        port=here.ports.issues,
        depends_on=("store",),
    )


def monitoring(
    here: Installation,
    secrets: Path,
    *,
    fast: bool = False,
    site: Path | None = None,
    targets: Path | None = None,
    mail_port: int | None = None,
    watched: Sequence[WatchedService] = (),
) -> list[Service]:
    """Prometheus, and Alertmanager behind the gate; of a pair, both of each.

    Args:
        here: The installation.
        secrets: Folder of the secrets that Prometheus sends to its targets; see
            `prometheus_secrets`.
        fast: Run the rules many times faster, as for a drill.
        site: The folder of the boards, if it is not among the data.
        targets: The folder of the files of targets, if it is not the project's.
        mail_port: Port of the inbox's mail server, if it has one.
        watched: Services that are watched in place of the API.
    """
    halves = pair.halves(here)
    return [
        _named(service, half.suffix)
        for half in halves
        for service in (
            _alertmanager(half, halves, fast=fast, mail_port=mail_port),
            _gate(half, halves),
            _prometheus(
                half,
                halves,
                secrets,
                fast=fast,
                site=site or here.data / SITE,
                targets=targets,
                watched=watched,
            ),
        )
    ]


def _named(service: Service, suffix: str) -> Service:
    """The same service of another half of a pair."""
    return replace(
        service,
        program=replace(service.program, name=service.name + suffix),
        depends_on=tuple(name + suffix for name in service.depends_on),
    )


def _alertmanager(
    half: Half, halves: Sequence[Half], *, fast: bool, mail_port: int | None
) -> Service:
    config = monitoring_config.write_alertmanager(
        half.here,
        fast=fast,
        mail_port=mail_port,
        gates=[each.here.ports.alertmanager for each in halves],
    )
    return Service(
        prometheus.alertmanager(
            config,
            half.here.folder("alertmanager"),
            half.alertmanager,
            half.here.user_of("alertmanager"),
            half.alertmanager_flags(halves, fast=fast),
            gate=half.here.ports.alertmanager,
            prefix=half.prefix,
            public=half.here.public.origin if half.here.public else "",
        ),
        ready=lambda: readiness.http_answers(half.alertmanager, f"/{half.prefix}/-/ready"),
        port=half.alertmanager,
    )


def _gate(half: Half, halves: Sequence[Half]) -> Service:
    here, ports = half.here, half.here.ports
    # Its own Alertmanager first; the other one answers while that is away.
    upstreams = sorted(halves, key=lambda each: each is not half)
    arguments = [
        "stack.inbox.gate",
        *_flag("port", str(ports.alertmanager)),
        *(word for each in upstreams for word in _flag("upstream", each.upstream)),
        # They read whether an alert is silenced, and silence it.
        *(word for each in halves for word in _page_origins(each.here)),
        *_flag("home", f"{monitoring_config.viewer_url(here)}/silences/"),
        *_flag("prometheus", f"http://{readiness.LOOPBACK}:{ports.prometheus}"),
    ]
    return Service(
        _python(here, "gate", arguments),
        ready=lambda: prometheus.answers(ports.alertmanager),
        port=ports.alertmanager,
        depends_on=("alertmanager",),
    )


def _prometheus(
    half: Half,
    halves: Sequence[Half],
    secrets: Path,
    *,
    fast: bool,
    site: Path,
    targets: Path | None,
    watched: Sequence[WatchedService],
) -> Service:
    here, ports = half.here, half.here.ports
    config = monitoring_config.write_prometheus(
        here,
        secrets,
        fast=fast,
        targets=targets,
        watched=watched,
        pair=[each.here.ports for each in halves],
        replica=half.replica,
    )
    # Prometheus resends firing alerts every minute, which is too slow for drills.
    fast_flags = ("--rules.alert.resend-delay=2s",)
    return Service(
        prometheus.server(
            config,
            here.folder("prometheus"),
            ports.prometheus,
            here.user_of("prometheus"),
            (
                f"--storage.tsdb.retention.time={settings.PROMETHEUS_KEEP.of(os.environ)}",
                f"--storage.tsdb.retention.size={settings.PROMETHEUS_LIMIT.of(os.environ)}",
                f"--web.user-assets={site}",
                *(fast_flags if fast else ()),
            ),
            public=here.public.origin if here.public else "",
        ),
        ready=lambda: prometheus.answers(ports.prometheus),
        port=ports.prometheus,
        on_ready=lambda: prometheus.preallocate_query_log(here.data / "prometheus"),
    )


def prometheus_secrets(here: Installation) -> Path:
    """The folder of the secrets that Prometheus sends to its targets."""
    user = here.user_of("prometheus")
    return secret_distribution.provide(
        here, "prometheus", secret_distribution.SECRETS["prometheus"], user
    )


def boards(here: Installation) -> Service:
    """The boards for a browser, built as the owner of the checkout, served by Prometheus."""
    arguments = [
        *_flag("site", str(here.data / SITE)),
        *_flag("address", f"{monitoring_config.viewer_url(here)}/"),
        *_flag("traces", os.environ.get("TRACE_URL", "")),
        *_flag("store", _store_url(here)),
        *_flag("issues", f"http://{readiness.LOOPBACK}:{here.ports.issues}"),
    ]
    program = replace(_python(here, "boards", ["stack.viewer", "publish", *arguments]), user=None)
    return Service(program, task=True, optional=True)


def sample_data(here: Installation, amounts: Mapping[str, int]) -> list[Service]:
    """Sample data, if there are none, and light traffic.

    Args:
        here: The installation.
        amounts: Numbers of `users`, `products` and `orders` to create.
    """
    superuser = secret_files.read(here.secrets, "postgres-password")
    seed = ["service.seed", *(word for name in amounts for word in _flag(name, str(amounts[name])))]
    url = f"http://{readiness.LOOPBACK}:{here.ports.api}"
    password_names = ("admin-password", "demo-password")
    secrets = secret_distribution.provide(here, "sample", password_names, here.python_user)
    passwords = [
        word for name in password_names for word in _flag(f"{name}-file", str(secrets / name))
    ]

    def is_empty() -> bool:
        sql = "SELECT EXISTS (SELECT FROM products)"
        return (
            postgres.run_sql(here.ports.postgres, superuser, sql, database=postgres.DATABASE) == "f"
        )

    return [
        Service(
            _python(here, "seed", [*seed, *passwords], _service_settings(here)),
            depends_on=("api",),
            task=True,
            condition=is_empty,
            start_timeout=300.0,
        ),
        Service(
            _python(here, "traffic", ["stack.traffic", "--url", url, *passwords]),
            depends_on=("seed",),
            quiet=True,
        ),
    ]


def _python(
    here: Installation, name: str, arguments: Sequence[str], env: Mapping[str, str] | None = None
) -> Program:
    return Program(
        name,
        [sys.executable, "-m", *arguments],
        user=here.python_user,
        env={"PYTHONUNBUFFERED": "1", **(env or {})},
        cwd=CHECKOUT,
    )


def _python_owner(here: Installation) -> secure_files.Owner | None:
    return here.python_user.ids if here.python_user else None


def _folder_of_python(here: Installation, name: str) -> Path:
    """The folder of data of one of the stack's Python programs, owned by their user."""
    folder, owner = here.data / name, _python_owner(here)
    secure_files.make_directory(folder, owner=owner)
    if owner:  # what another user of an earlier start has written
        secure_files.chown_tree(folder, owner)
    return folder


def _store_url(here: Installation) -> str:
    return f"http://{readiness.LOOPBACK}:{here.ports.store}"


def _page_origins(here: Installation) -> tuple[str, ...]:
    """Options that let the viewer's pages send requests; Prometheus serves them."""
    names = (readiness.LOOPBACK, "localhost")
    origins = [f"http://{name}:{here.ports.prometheus}" for name in names]
    if here.public:
        origins.append(here.public.origin)
    return tuple(word for origin in origins for word in _flag("page-origin", origin))


def _flag(name: str, value: str) -> tuple[str, str]:
    return f"--{name}", value
