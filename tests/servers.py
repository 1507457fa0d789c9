"""Real servers for tests: each on a random port, in a temporary folder, stopped by pid.

They are started by the code of the stack (`stack.process.process`), so the kernel ends them when
pytest dies in whatever way. Folders of a killed pytest are removed by the next run.
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
from stack.install import debian_suites
from stack.installation import service_user
from stack.process.process import Process, Program
from stack.servers import postgres, prometheus, redis
from stack.servers.postgres import ROLE, SUPERUSER, answers

_PREFIX = "vitals-test-"
_PASSWORD = "made-up-for-tests"


def temporary_folder() -> Path:
    """A folder owned by the service user; its name has our pid, for `remove_leftovers`."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    if user := service_user.default_user():
        user.chown(folder)
    return folder


def remove_leftovers() -> None:
    """Remove folders of killed test runs."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


class Server:
    """A server that a test may stop, kill, pause and restart; it keeps its port and data."""

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
        """Its whole log."""
        return (self._process.log or self.folder).read_text(errors="replace")

    def start(self) -> None:
        """Start unless it runs, and wait until it is ready."""
        self._process.start()
        self._process.wait_ready(self._ready)

    def stop(self) -> None:
        """Stop it orderly."""
        self._process.stop()

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._process.kill()

    def pause(self) -> None:
        """Pause with SIGSTOP: connections hang."""
        self._process.pause()

    def resume(self) -> None:
        """Continue after a pause."""
        self._process.resume()

    def send(self, number: signal.Signals) -> None:
        self._process.send(number)

    def close(self) -> None:
        """Stop and remove all data."""
        self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    """PostgreSQL with the API's role, as in the stack, but without fsync."""

    def __init__(self) -> None:
        folder, port, user = temporary_folder(), readiness.free_port(), service_user.default_user()
        password_file = folder / "password"
        password_file.write_text(_PASSWORD)
        postgres.make_cluster(folder / "data", user, password_file, sync=False)
        settings = {
            "fsync": "off",
            "full_page_writes": "off",
            "synchronous_commit": "off",
            "shared_buffers": "64MB",
        }
        program = postgres.server(folder / "data", port, user, settings)
        # Immediate shutdown: the data are not used again.
        program = replace(program, parent_death_signal=signal.SIGQUIT)
        super().__init__(folder, port, program, lambda: postgres.answers(port))
        self._names = (f"test_{number}" for number in itertools.count(1))
        self.start()
        postgres.make_role(port, _PASSWORD, _PASSWORD)
        postgres.make_database(port, _PASSWORD, "vitals")

    @property
    def url(self) -> str:
        """A shared database with arbitrary content."""
        return self._url("vitals")

    def database(self) -> str:
        """Create an empty database and return its URL for asyncpg."""
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
    """PgBouncer in transaction mode, otherwise with its defaults, and few server connections.

    Args:
        postgres: The server behind it.
        sessions: Server connections per database.
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
        self._upstream = postgres
        self.start()

    def of(self, url: str) -> str:
        """The same database as a URL, through this pooler."""
        return url.replace(f":{self._upstream.port}/", f":{self.port}/")


class Redis(Server):
    """Redis with the stack's configuration, an optional password, and `more` lines."""

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
        """Delete all data."""
        with socket.create_connection((readiness.LOOPBACK, self.port), 5) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            connection.recv(16)


class MonitoringServer(Server):
    """Prometheus or Alertmanager."""

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash."""
        return f"http://{readiness.LOOPBACK}:{self.port}"

    def reload(self) -> None:
        """Reload the configuration and the rules."""
        self.send(signal.SIGHUP)


def start_prometheus(config: str | dict[str, Any], flags: Sequence[str] = ()) -> MonitoringServer:
    """Start a Prometheus. Paths in the configuration must be absolute and readable by all."""
    return _start_monitoring("prometheus", config, flags, prometheus.server)


def start_alertmanager(config: str | dict[str, Any], flags: Sequence[str] = ()) -> MonitoringServer:
    """Start an Alertmanager."""
    return _start_monitoring("alertmanager", config, flags, prometheus.alertmanager)


def _start_monitoring(
    name: str, config: str | dict[str, Any], flags: Sequence[str], build: Callable[..., Program]
) -> MonitoringServer:
    folder, port, user = temporary_folder(), readiness.free_port(), service_user.default_user()
    path = folder / f"{name}.yml"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    (folder / "data").mkdir()
    if user:
        user.chown(folder)
    program = build(path, folder / "data", port, user, flags)
    server = MonitoringServer(folder, port, program, lambda: prometheus.answers(port))
    server.start()
    return server


def victoria_metrics_programs() -> Path:
    """The folder of VictoriaMetrics, vmagent, vmalert, vmalert-tool, vmauth and vmctl."""
    return debian_suites.fetch_victoria_metrics()


def start_victoria_metrics(flags: Sequence[str] = ()) -> MonitoringServer:
    """Start a single node of VictoriaMetrics, which shows every sample at once."""
    folder, port = temporary_folder(), readiness.free_port()
    program = Program(
        "victoria-metrics",
        [
            str(victoria_metrics_programs() / "victoria-metrics"),
            f"-storageDataPath={folder}/data",
            f"-httpListenAddr={readiness.LOOPBACK}:{port}",
            "-retentionPeriod=100y",
            "-search.latencyOffset=0s",
            "-search.disableCache",
            "-loggerLevel=WARN",
            *flags,
        ],
        cwd=folder,
    )
    ready = lambda: readiness.http_answers(port, "/health")  # noqa: E731
    server = MonitoringServer(folder, port, program, ready)
    server.start()
    return server
