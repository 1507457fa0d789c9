"""The parts of the stack, with what each needs before it starts."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from alerts.delivery import CALM, write
from alerts.receivers import Environment
from stack import postgres, probes, prometheus, redis, secrets
from stack.installation import CHECKOUT, Installation
from stack.processes import Program
from stack.runner import Part

_DATABASE = "vitals"


def databases(here: Installation) -> list[Part]:
    """PostgreSQL with the API's role and database, and Redis."""
    superuser = secrets.read(here.secrets, "postgres-password")
    cluster = here.data / "postgres"
    postgres.forget_dead_server(cluster)
    postgres.make_cluster(cluster, here.account, here.secrets / "postgres-password")

    def make_database() -> None:
        password = secrets.read(here.secrets, "database-password")
        postgres.make_role(here.ports.postgres, superuser, password)
        postgres.make_database(here.ports.postgres, superuser, _DATABASE)

    password = secrets.read(here.secrets, "redis-password")
    config = redis.configuration(here.ports.redis, here.folder("redis"), password=password)
    return [
        Part(
            postgres.server(cluster, here.ports.postgres, here.account),
            ready=lambda: postgres.answers(here.ports.postgres),
            once_ready=make_database,
            quiet=True,
        ),
        Part(
            redis.server(here.write("redis", "redis.conf", config), here.account),
            ready=lambda: probes.redis_answers(here.ports.redis),
            quiet=True,
        ),
    ]


def api(here: Installation) -> Part:
    """The API; it brings its tables up to date by itself."""
    return Part(
        _python(here, "api", ["service"], _service_settings(here)),
        ready=lambda: probes.http_answers(here.ports.api, "/readyz"),
        needs=("postgres", "redis"),
        quiet=True,  # a line a request
    )


def _service_settings(here: Installation) -> dict[str, str]:
    return {
        "SERVICE_DATABASE_URL": (
            f"postgresql+asyncpg://{postgres.ROLE}@{probes.LOOPBACK}:{here.ports.postgres}/{_DATABASE}"
        ),
        "SERVICE_DATABASE_PASSWORD_FILE": str(here.secrets / "database-password"),
        "SERVICE_REDIS_URL": f"redis://{probes.LOOPBACK}:{here.ports.redis}/0",
        "SERVICE_REDIS_PASSWORD_FILE": str(here.secrets / "redis-password"),
        "SERVICE_JWT_KEY_FILE": str(here.secrets / "jwt-key"),
        "SERVICE_METRICS_TOKEN_FILE": str(here.secrets / "metrics-token"),
        "SERVICE_HOST": probes.LOOPBACK,
        "SERVICE_PORT": str(here.ports.api),
    }


def watching(here: Installation) -> list[Part]:
    """Prometheus, Alertmanager, and the inbox that notifications go to."""
    ports = here.ports
    config = prometheus.configuration(
        here.readable(CHECKOUT / "prometheus") / "prometheus.yml", ports, here.secrets
    )
    retention = ("--storage.tsdb.retention.time=15d", "--storage.tsdb.retention.size=2GB")
    return [
        Part(
            _python(here, "inbox", ["stack.inbox", f"--port={ports.inbox}"]),
            ready=lambda: probes.http_answers(ports.inbox, "/"),
        ),
        Part(
            prometheus.alertmanager(
                _alertmanager_configuration(here),
                here.folder("alertmanager"),
                ports.alertmanager,
                here.account,
            ),
            ready=lambda: prometheus.answers(ports.alertmanager),
        ),
        Part(
            prometheus.server(
                here.write("prometheus", "prometheus.yml", config),
                here.folder("prometheus"),
                ports.prometheus,
                here.account,
                retention,
            ),
            ready=lambda: prometheus.answers(ports.prometheus),
        ),
    ]


def sample(here: Installation, amounts: Mapping[str, int]) -> list[Part]:
    """Sample data when there are none, and gentle traffic.

    Args:
        here: The installation.
        amounts: How many `users`, `products` and `orders` to make.
    """
    superuser = secrets.read(here.secrets, "postgres-password")
    seed = ["service.seed", *(word for name in amounts for word in _flag(name, str(amounts[name])))]
    url = f"http://{probes.LOOPBACK}:{here.ports.api}"
    passwords = [
        *_flag("admin-password-file", str(here.secrets / "admin-password")),
        *_flag("demo-password-file", str(here.secrets / "demo-password")),
    ]

    def is_empty() -> bool:
        sql = "SELECT EXISTS (SELECT FROM products)"
        return postgres.run_sql(here.ports.postgres, superuser, sql, database=_DATABASE) == "f"

    return [
        Part(
            _python(here, "seed", [*seed, *passwords], _service_settings(here)),
            needs=("api",),
            task=True,
            wanted=is_empty,
            seconds=300.0,
        ),
        Part(
            _python(here, "traffic", ["stack.traffic", "--url", url, *passwords]),
            needs=("seed",),
            quiet=True,
        ),
    ]


def _alertmanager_configuration(here: Installation) -> Path:
    """Write what the environment's ALERT_* variables ask for; by default the inbox gets all."""
    inbox = f"http://{probes.LOOPBACK}:{here.ports.inbox}"
    defaults = {
        "ALERT_WEBHOOK_URL": f"{inbox}/",
        "ALERT_HEARTBEAT_URL": f"{inbox}/heartbeat",
        "ALERT_BOARD_URL": f"http://{probes.LOOPBACK}:{here.ports.prometheus}",
    }
    given = {name.removesuffix("_FILE") for name in os.environ}
    chosen = {name: url for name, url in defaults.items() if name not in given} | os.environ
    folder = here.folder("alertmanager")
    path = folder / "alertmanager.yml"
    write(Environment.read(chosen), path, folder / "templates", CALM)
    if here.account:
        here.account.own(folder)
    return path


def _python(
    here: Installation, name: str, words: Sequence[str], env: Mapping[str, str] | None = None
) -> Program:
    return Program(
        name,
        [sys.executable, "-m", *words],
        account=here.worker,
        env={"PYTHONUNBUFFERED": "1", **(env or {})},
        cwd=CHECKOUT,
    )


def _flag(name: str, value: str) -> tuple[str, str]:
    return f"--{name}", value
