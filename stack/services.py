"""The parts of the stack, with what each needs before it starts."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from secrets import token_urlsafe

from stack import monitoring_config, readiness, secret_distribution
from stack.installation import secrets as kept
from stack.installation.paths import CHECKOUT, Installation
from stack.process.process import Program
from stack.process.runner import Part
from stack.servers import postgres, prometheus, redis

SITE = "site"
"""The folder, among the data, that Prometheus serves at /user/."""
_PREVIOUS_KEY = "jwt-key-previous"
"""A key put beside the others while a new one replaces it (docs/security.md)."""


def databases(here: Installation) -> list[Part]:
    """PostgreSQL with the API's role and database, and Redis."""
    superuser = kept.read(here.secrets, "postgres-password")
    cluster = here.data / "postgres"
    postgres.forget_dead_server(cluster)
    own = secret_distribution.hand_over(here, "postgres", ["postgres-password"], here.account)
    postgres.make_cluster(cluster, here.account, own / "postgres-password")

    def make_database() -> None:
        password = kept.read(here.secrets, "database-password")
        postgres.make_role(here.ports.postgres, superuser, password)
        postgres.make_database(here.ports.postgres, superuser, postgres.DATABASE)

    password = kept.read(here.secrets, "redis-password")
    config = redis.configuration(here.ports.redis, here.folder("redis"), password=password)
    return [
        Part(
            postgres.server(cluster, here.ports.postgres, here.account),
            ready=lambda: postgres.answers(here.ports.postgres),
            once_ready=make_database,
            quiet=True,
        ),
        Part(
            redis.server(here.write("redis", "redis.conf", config), here.account_of("redis")),
            ready=lambda: readiness.redis_answers(here.ports.redis),
            quiet=True,
        ),
    ]


def api(here: Installation) -> Part:
    """The API; it brings its tables up to date by itself."""
    return Part(
        _python(here, "api", ["service"], _service_settings(here)),
        ready=lambda: readiness.http_answers(here.ports.api, "/readyz"),
        needs=("postgres", "redis"),
        quiet=True,  # a line a request
    )


def _service_settings(here: Installation) -> dict[str, str]:
    names = [*secret_distribution.SECRETS["api"], _PREVIOUS_KEY]
    secrets = secret_distribution.hand_over(here, "api", names, here.worker)
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
        **_shared_by(here.workers),
    }


def _shared_by(workers: int) -> dict[str, str]:
    """Several workers share the connections that one would have: PostgreSQL allows 100."""
    pool, overflow = 20, 10
    return {
        "SERVICE_WORKERS": str(workers),
        "SERVICE_POOL_SIZE": str(max(1, pool // workers)),
        "SERVICE_POOL_OVERFLOW": str(max(1, overflow // workers)),
    }


def inbox(here: Installation) -> Part:
    """Where notifications go unless the environment says otherwise."""
    return Part(
        _python(here, "inbox", ["stack.inbox.server", f"--port={here.ports.inbox}"]),
        ready=lambda: readiness.http_answers(here.ports.inbox, "/"),
    )


def watching(
    here: Installation, secrets: Path, *, haste: bool = False, site: Path | None = None
) -> list[Part]:
    """Prometheus, and Alertmanager behind its gate.

    Args:
        here: The installation.
        secrets: Folder of the secrets that Prometheus shows to what it watches; see
            `watching_secrets`.
        haste: Run the rules many times faster, for a drill.
        site: The folder of the boards, if it is not among the data.
    """
    ports = here.ports
    # What fires is told anew every minute; a drill of a broken way cannot wait that long.
    hasty = ("--rules.alert.resend-delay=2s", "--rules.alert.for-grace-period=0s")
    # Only the gate knows the path: a page that finds the port cannot ask for anything there.
    behind, prefix = readiness.free_port(), token_urlsafe(16)
    return [
        Part(
            prometheus.alertmanager(
                monitoring_config.write_alertmanager(here, haste=haste),
                here.folder("alertmanager"),
                behind,
                here.account_of("alertmanager"),
                gate=ports.alertmanager,
                prefix=prefix,
            ),
            ready=lambda: readiness.http_answers(behind, f"/{prefix}/-/ready"),
        ),
        Part(
            _python(
                here,
                "gate",
                [
                    "stack.inbox.gate",
                    *_flag("port", str(ports.alertmanager)),
                    *_flag("to", f"http://{readiness.LOOPBACK}:{behind}/{prefix}"),
                    # The boards show whether an alert is silenced.
                    *_flag("reader", f"http://{readiness.LOOPBACK}:{ports.prometheus}"),
                    *_flag("reader", f"http://localhost:{ports.prometheus}"),
                ],
            ),
            ready=lambda: prometheus.answers(ports.alertmanager),
            needs=("alertmanager",),
        ),
        Part(
            prometheus.server(
                monitoring_config.write_prometheus(here, secrets, haste=haste),
                here.folder("prometheus"),
                ports.prometheus,
                here.account_of("prometheus"),
                (
                    "--storage.tsdb.retention.time=15d",
                    "--storage.tsdb.retention.size=2GB",
                    f"--web.user-assets={site or here.data / SITE}",
                    *(hasty if haste else ()),
                ),
            ),
            ready=lambda: prometheus.answers(ports.prometheus),
            once_ready=lambda: prometheus.reserve(here.data / "prometheus"),
        ),
    ]


def watching_secrets(here: Installation) -> Path:
    """The folder of the secrets that Prometheus shows to what it watches."""
    account = here.account_of("prometheus")
    return secret_distribution.hand_over(
        here, "prometheus", secret_distribution.SECRETS["prometheus"], account
    )


def boards(here: Installation) -> Part:
    """The boards for a browser, built as we who own the checkout, served by Prometheus."""
    words = [
        *_flag("site", str(here.data / SITE)),
        *_flag("address", f"http://{readiness.LOOPBACK}:{here.ports.prometheus}/user/"),
        *_flag("traces", os.environ.get("TRACE_URL", "")),
    ]
    program = replace(_python(here, "boards", ["stack.viewer", "publish", *words]), account=None)
    return Part(program, task=True, aside=True)


def sample(here: Installation, amounts: Mapping[str, int]) -> list[Part]:
    """Sample data when there are none, and gentle traffic.

    Args:
        here: The installation.
        amounts: How many `users`, `products` and `orders` to make.
    """
    superuser = kept.read(here.secrets, "postgres-password")
    seed = ["service.seed", *(word for name in amounts for word in _flag(name, str(amounts[name])))]
    url = f"http://{readiness.LOOPBACK}:{here.ports.api}"
    people = ("admin-password", "demo-password")
    own = secret_distribution.hand_over(here, "sample", people, here.worker)
    passwords = [word for name in people for word in _flag(f"{name}-file", str(own / name))]

    def is_empty() -> bool:
        sql = "SELECT EXISTS (SELECT FROM products)"
        return (
            postgres.run_sql(here.ports.postgres, superuser, sql, database=postgres.DATABASE) == "f"
        )

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
