"""PostgreSQL and Redis servers for the duration of a benchmark, on random ports."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack import readiness
from stack.installation import service_user
from stack.process.process import Process
from stack.servers import postgres, redis


@dataclass(frozen=True)
class PostgresServer:
    """A running PostgreSQL.

    Attributes:
        port: Its port on loopback.
        password: Password of the superuser and of the role that owns the databases.
    """

    port: int
    password: str

    def database(self, name: str = "bench") -> str:
        """The URL of a database, which is created if missing."""
        postgres.make_database(self.port, self.password, name)
        where = f"{readiness.LOOPBACK}:{self.port}/{name}"
        return f"postgresql+asyncpg://{postgres.ROLE}:{self.password}@{where}"

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Run statements as the superuser."""
        return postgres.run_sql(self.port, self.password, statements, database=database)


@contextmanager
def postgresql(**settings: str) -> Iterator[PostgresServer]:
    """Run a temporary server with additional `settings`; its data are removed at the end."""
    folder, port, user = (
        Path(tempfile.mkdtemp()),
        readiness.free_port(),
        service_user.default_user(),
    )
    try:
        if user:
            user.chown(folder)
        password = folder / "password"
        password.write_text("only-for-this-run")
        postgres.make_cluster(folder / "data", user, password, sync=False)
        quick = {"fsync": "off", **settings}
        process = Process(postgres.server(folder / "data", port, user, quick))
        process.start()
        try:
            process.wait_ready(lambda: postgres.answers(port))
            postgres.make_role(port, password.read_text(), password.read_text())
            yield PostgresServer(port, password.read_text())
        finally:
            process.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_redis() -> Iterator[tuple[str, Process]]:
    """A temporary Redis with the configuration of the stack."""
    port, user = readiness.free_port(), service_user.default_user()
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "redis.conf"
        config.write_text(redis.configuration(port, config.parent, memory="256mb"))
        if user:
            user.chown(config.parent)
        process = Process(redis.server(config, user), log=config.with_suffix(".log"))
        process.start()
        try:
            process.wait_ready(lambda: readiness.redis_answers(port))
            yield f"redis://{readiness.LOOPBACK}:{port}/0", process
        finally:
            process.stop()


def installed() -> bool:
    """Whether PostgreSQL is installed."""
    try:
        return bool(postgres.binary("postgres"))
    except FileNotFoundError:
        return False
