"""Real servers for tests: each on a random port, in a temporary folder, ended by its pid.

Started by the code that starts the stack (`stack.process.process`), so the kernel ends them when
pytest dies in whatever way. Folders of a pytest that was killed are removed by the next one.
"""

import itertools
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from stack import readiness
from stack.installation import service_user
from stack.process.process import Process, Program
from stack.servers import postgres, prometheus, redis
from stack.servers.postgres import ROLE, SUPERUSER, answers

_PREFIX = "vitals-test-"
_PASSWORD = "made-up-for-tests"


def temporary_folder() -> Path:
    """A folder that the servers' account owns; its name carries our pid for `sweep`."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    if user := service_user.default_user():
        user.chown(folder)
    return folder


def sweep() -> None:
    """Remove what tests left that could not clean up any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


class Server:
    """A server that a test may stop, kill, pause and start again; its port and data stay."""

    def __init__(self, folder: Path, port: int, program: Program, ready: Callable[[], bool]):
        self.folder = folder
        self.port = port
        self._ready = ready
        self._process = Process(program, log=folder / f"{program.name}.log")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.alive

    @property
    def log(self) -> str:
        """All it has said."""
        return (self._process.log or self.folder).read_text(errors="replace")

    def start(self) -> None:
        """Start unless it runs, and wait until it serves."""
        self._process.start()
        self._process.wait_ready(self._ready)

    def stop(self) -> None:
        """End in order."""
        self._process.stop()

    def kill(self) -> None:
        """End as a crash would."""
        self._process.kill()

    def pause(self) -> None:
        """Freeze: connections hang."""
        self._process.pause()

    def resume(self) -> None:
        """Go on."""
        self._process.resume()

    def send(self, number: signal.Signals) -> None:
        self._process.send(number)

    def close(self) -> None:
        """End and remove all data."""
        self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    """PostgreSQL with the API's role, as the stack makes it, but without caring for the disk."""

    def __init__(self) -> None:
        folder, port, user = temporary_folder(), readiness.free_port(), service_user.default_user()
        password_file = folder / "password"
        password_file.write_text(_PASSWORD)
        postgres.make_cluster(folder / "data", user, password_file, sync=False)
        careless = {
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "shared_buffers": "64MB",
        }
        program = postgres.server(folder / "data", port, user, careless)
        # Immediate: nobody will ever read these data again.
        program = replace(program, parent_death_signal=signal.SIGQUIT)
        super().__init__(folder, port, program, lambda: postgres.answers(port))
        self._names = (f"test_{number}" for number in itertools.count(1))
        self.start()
        postgres.make_role(port, _PASSWORD, _PASSWORD)
        postgres.make_database(port, _PASSWORD, "vitals")

    @property
    def url(self) -> str:
        """A database for those that do not mind its content."""
        return self._url("vitals")

    def database(self) -> str:
        """Make a fresh, empty database and return its URL for asyncpg."""
        name = next(self._names)
        postgres.make_database(self.port, _PASSWORD, name)
        return self._url(name)

    def sql(self, statements: str, *, database: str = "vitals") -> str:
        """Run statements as the superuser; returns unaligned rows."""
        return postgres.run_sql(self.port, _PASSWORD, statements, database=database)

    def _url(self, database: str) -> str:
        where = f"{readiness.LOOPBACK}:{self.port}/{database}"
        return f"postgresql+asyncpg://{postgres.ROLE}:{_PASSWORD}@{where}"


class PgBouncer(Server):
    """PgBouncer with its own defaults but for the pool mode; few sessions, so that clients share.

    Args:
        postgres: The server behind it.
        sessions: How many of each database it lends.
        more: Further lines of its configuration.
    """

    def __init__(self, postgres: Postgres, *, sessions: int = 3, more: Sequence[str] = ()) -> None:
        folder, port, user = temporary_folder(), readiness.free_port(), service_user.default_user()
        users, config = folder / "users", folder / "pgbouncer.ini"
        users.write_text(f'"{ROLE}" "{_PASSWORD}"\n"{SUPERUSER}" "{_PASSWORD}"\n')
        lines = (
            "[databases]",
            f"* = host={readiness.LOOPBACK} port={postgres.port}",
            "[pgbouncer]",
            f"listen_addr = {readiness.LOOPBACK}",
            f"listen_port = {port}",
            "unix_socket_dir =",
            "auth_type = scram-sha-256",
            f"auth_file = {users}",
            "pool_mode = transaction",
            f"default_pool_size = {sessions}",
            *more,
        )
        config.write_text("".join(f"{line}\n" for line in lines))
        if user:
            user.chown(folder)
        program = Program("pgbouncer", ["pgbouncer", str(config)], user=user, cwd=folder)
        super().__init__(folder, port, program, lambda: answers(port))
        self._behind = postgres
        self.start()

    def of(self, url: str) -> str:
        """The same database as that of a URL, by way of this pooler."""
        return url.replace(f":{self._behind.port}/", f":{self.port}/")


class Redis(Server):
    """Redis as the stack configures it, with a password if one is given, and with `more` lines."""

    def __init__(
        self, *, password: str | None = None, memory: str = "64mb", more: Sequence[str] = ()
    ) -> None:
        folder, port, user = temporary_folder(), readiness.free_port(), service_user.default_user()
        config = folder / "redis.conf"
        text = redis.configuration(port, folder, password=password, memory=memory)
        config.write_text(text + "".join(f"{line}\n" for line in more))
        program = redis.server(config, user)
        super().__init__(folder, port, program, lambda: readiness.redis_answers(port))
        self.start()

    @property
    def url(self) -> str:
        """Database 0."""
        return f"redis://{readiness.LOOPBACK}:{self.port}/0"

    def flush(self) -> None:
        """Forget everything."""
        with socket.create_connection((readiness.LOOPBACK, self.port), 5) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            connection.recv(16)


class Watcher(Server):
    """Prometheus or Alertmanager."""

    @property
    def url(self) -> str:
        """Root of its web interface, without a slash at the end."""
        return f"http://{readiness.LOOPBACK}:{self.port}"

    def reload(self) -> None:
        """Read the configuration and the rules again."""
        self.send(signal.SIGHUP)


def start_prometheus(config: str | dict[str, Any], flags: Sequence[str] = ()) -> Watcher:
    """Start a Prometheus. Paths in the configuration must be absolute and readable by all."""
    return _start_watcher("prometheus", config, flags, prometheus.server)


def start_alertmanager(config: str | dict[str, Any], flags: Sequence[str] = ()) -> Watcher:
    """Start an Alertmanager."""
    return _start_watcher("alertmanager", config, flags, prometheus.alertmanager)


def _start_watcher(
    name: str, config: str | dict[str, Any], flags: Sequence[str], build: Callable[..., Program]
) -> Watcher:
    folder, port, user = temporary_folder(), readiness.free_port(), service_user.default_user()
    path = folder / f"{name}.yml"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    (folder / "data").mkdir()
    if user:
        user.chown(folder)
    program = build(path, folder / "data", port, user, flags)
    watcher = Watcher(folder, port, program, lambda: prometheus.answers(port))
    watcher.start()
    return watcher
