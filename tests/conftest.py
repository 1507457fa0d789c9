"""Fixtures of all tests. Those of real servers are for tests with `@pytest.mark.servers`."""

import functools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import httpx
import pytest

from stack.install import debian_suites
from tests import servers
from tests.scheduling import LongestFirst

SUITES = ("installed", *debian_suites.NEWER)
"""The installed Prometheus and Alertmanager, and those of newer Debian suites."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LongestFirst | None:
    """Replace the scheduler of ``--dist loadfile``."""
    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def _one_tls_context() -> Iterator[None]:
    """Each client of httpx would read all certificates of certifi again: 20 ms of each request."""
    made = functools.cache(httpx.create_ssl_context)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("httpx._transports.default.create_ssl_context", made)
        yield


@pytest.fixture(scope="session", autouse=True)
def _remove_leftovers() -> None:
    servers.remove_leftovers()


@pytest.fixture(scope="session")
def postgres_session() -> Iterator[servers.Postgres]:
    """The one PostgreSQL of this test run; use `postgres`."""
    server = servers.Postgres()
    yield server
    server.close()


@pytest.fixture
def postgres(postgres_session: servers.Postgres) -> servers.Postgres:
    """A running PostgreSQL, restarted if the previous test stopped it."""
    postgres_session.start()
    return postgres_session


@pytest.fixture
def pgbouncer(postgres: servers.Postgres) -> Iterator[servers.PgBouncer]:
    """A PgBouncer in transaction mode in front of `postgres`, with few server connections."""
    server = servers.PgBouncer(postgres)
    yield server
    server.close()


@pytest.fixture(scope="session")
def redis_session() -> Iterator[servers.Redis]:
    """The one Redis of this test run; use `redis_server`."""
    server = servers.Redis()
    yield server
    server.close()


@pytest.fixture
def redis_server(redis_session: servers.Redis) -> servers.Redis:
    """A running and empty Redis, restarted if the previous test stopped it."""
    redis_session.start()
    redis_session.flush()
    return redis_session


@pytest.fixture(params=SUITES)
def every_suite(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test once with the promtool, amtool and servers of each suite; its name."""
    return _use(request.param, monkeypatch)


@pytest.fixture(params=(SUITES[0], SUITES[-1]))
def outer_suites(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a long test with the tools of the oldest and of the newest suite; its name."""
    return _use(request.param, monkeypatch)


@pytest.fixture(params=(SUITES[0], pytest.param(SUITES[-1], marks=pytest.mark.long)))
def installed_or_newest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test of minutes with the installed tools; in `make test-long` with the newest ones."""
    return _use(request.param, monkeypatch)


def _use(suite: str, monkeypatch: pytest.MonkeyPatch) -> str:
    # Go collects garbage less often: a fifth less processor time.
    monkeypatch.setenv("GOGC", "400")
    if suite != "installed":
        monkeypatch.setenv("PATH", f"{debian_suites.fetch(suite)}{os.pathsep}{os.environ['PATH']}")
    return suite


class Start(Protocol):
    """Starts a server that is stopped at the end of the test."""

    def __call__(
        self, config: str | dict[str, Any], flags: Sequence[str] = ()
    ) -> servers.MonitoringServer: ...


@pytest.fixture
def prometheus_server() -> Iterator[Start]:
    """Start a Prometheus: `prometheus_server(configuration, flags)`."""
    with ExitStack() as started:
        yield _closing(servers.start_prometheus, started)


@pytest.fixture
def alertmanager_server() -> Iterator[Start]:
    """Start an Alertmanager: `alertmanager_server(configuration, flags)`."""
    with ExitStack() as started:
        yield _closing(servers.start_alertmanager, started)


def _closing(start: Start, started: ExitStack) -> Start:
    def start_and_close(
        config: str | dict[str, Any], flags: Sequence[str] = ()
    ) -> servers.MonitoringServer:
        server = start(config, flags)
        started.callback(server.close)
        return server

    return start_and_close


@pytest.fixture(autouse=True)
def _no_log_export() -> Iterator[None]:
    """Stop the export of logs that a test has started; it is one for the process."""
    yield
    export = sys.modules.get("vitals.logging.log_export")
    if export is not None:
        export.stop(0)
