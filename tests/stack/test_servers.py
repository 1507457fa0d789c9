"""The servers of the tests: they serve, restart, and end with their parent process."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import httpx
import pytest

from tests import servers
from tests.conftest import Start

pytestmark = pytest.mark.servers


def _one(url: str) -> object:
    async def query() -> object:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = user")
        finally:
            await connection.close()

    return asyncio.run(query())


def test_postgres_creates_databases_for_an_unprivileged_role(
    postgres: servers.Postgres,
) -> None:
    first, second = postgres.database(), postgres.database()
    assert first != second
    assert _one(first) is False


def test_postgres_restarts_after_a_crash(postgres: servers.Postgres) -> None:
    url = postgres.database()
    postgres.kill()
    with pytest.raises(OSError, match="Connect call failed"):
        _one(url)
    postgres.start()
    assert _one(url) is False


def test_servers_run_without_root(postgres: servers.Postgres, redis_server: servers.Redis) -> None:
    owners = {Path("/proc", str(server.pid)).stat().st_uid for server in (postgres, redis_server)}
    assert 0 not in owners


def test_prometheus_and_alertmanager_serve(
    prometheus_server: Start, alertmanager_server: Start
) -> None:
    prometheus = prometheus_server({"global": {"scrape_interval": "1s"}})
    quiet = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}
    alertmanager = alertmanager_server(quiet)
    assert httpx.get(f"{prometheus.url}/-/ready").is_success
    assert httpx.get(f"{alertmanager.url}/api/v2/status").json()["config"]["original"]


_SERVE_UNTIL_KILLED = """
from tests import servers
server = servers.{kind}()
print(server.pid, server.folder, flush=True)
input()
"""


@pytest.mark.parametrize("kind", ["Postgres", "Redis"])
def test_no_server_outlives_a_killed_parent(kind: str) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _SERVE_UNTIL_KILLED.format(kind=kind)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout
    pid, folder = parent.stdout.readline().split()
    assert Path("/proc", pid).exists()
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 10
    while Path("/proc", pid).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path("/proc", pid).exists()
    servers.remove_leftovers()
    assert not Path(folder).exists()
