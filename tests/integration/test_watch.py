"""The monitoring fits other services, on old and new versions of Prometheus."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts import alertmanager
from alerts.__main__ import main as render
from alerts.receivers import ReceiverSettings
from stack.inbox import server
from stack.install import debian_suites
from stack.process.process import Process, Program
from stack.readiness import LOOPBACK, free_port, http_answers
from tests import servers
from tests.conftest import SUITES
from tests.integration.boards import PanelQuery, panel_queries, query

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
PATHS = {"library": "/books", "clinic": "/patients"}
VERSIONS = (SUITES[0], pytest.param(SUITES[-1], marks=pytest.mark.long))
"""The oldest and the newest; versions in between are checked by promtool only."""
TIMEOUT = 150


@dataclass
class Monitoring:
    """Prometheus and Alertmanager of one suite."""

    prometheus: servers.MonitoringServer
    alertmanager: servers.MonitoringServer
    inbox: str


@pytest.fixture(scope="module")
def services(postgres_session: servers.Postgres) -> Iterator[dict[str, str]]:
    """Both services under load with errors; their URLs."""
    postgres_session.start()
    with ExitStack() as started:
        folder = servers.temporary_folder()
        started.callback(shutil.rmtree, folder)
        databases = {
            "LIBRARY_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/library",
            "CLINIC_DATABASE_URL": postgres_session.database(),
        }
        found = {name: _start(name, databases, folder, started) for name in PATHS}
        over = threading.Event()
        for name, address in found.items():
            user = threading.Thread(target=_use, args=(address, PATHS[name], over), daemon=True)
            user.start()
            started.callback(user.join)
        started.callback(over.set)
        yield found


def _start(name: str, databases: dict[str, str], folder: Path, started: ExitStack) -> str:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", f"tests.integration.foreign:{name}"]
    service = Process(
        Program(
            name,
            [*command, "--host", LOOPBACK, "--port", str(port), "--log-level", "critical"],
            env=databases,
            cwd=ROOT,
        ),
        log=folder / f"{name}.log",
    )
    started.callback(service.stop)
    service.start()
    service.wait_ready(lambda: http_answers(port, PATHS[name]))
    return f"http://{LOOPBACK}:{port}"


def _use(address: str, path: str, over: threading.Event) -> None:
    """Request all endpoints repeatedly."""
    paths = [path, f"{path}/1", f"{path}/2"] * 3
    kinds = ("each", "lost", "broken", "broken", "dropped")
    with httpx.Client(base_url=address, timeout=10) as client:
        while not over.is_set():
            with suppress(
                httpx.TransportError
            ):  # the server closes the connection of a refused request
                for each in (*paths, *(f"{path}/1?error={kind}" for kind in kinds)):
                    # A task of the background holds its connection.
                    client.get(each, headers={"Connection": "close"} if "dropped" in each else {})
                    over.wait(0.02)
                client.get(f"{path}-feed")
                client.get(f"{path}-queue")
                client.post(path, json={"number": 1})
                client.post(path, content=b'{"numb', headers={"Content-Type": "application/json"})


@pytest.fixture(scope="module", params=VERSIONS)
def monitoring(request: pytest.FixtureRequest, services: dict[str, str]) -> Iterator[Monitoring]:
    """The monitoring of a suite, for the same two services."""
    with ExitStack() as started:
        folder = servers.temporary_folder()
        started.callback(shutil.rmtree, folder)
        render(["--fast", "--output", str(folder / "rules")])
        yield _start_monitoring(request.param, services, folder, started)


def _start_monitoring(
    suite: str, services: dict[str, str], folder: Path, started: ExitStack
) -> Monitoring:
    inbox = server.build(0)
    started.enter_context(_serving(inbox))
    address = f"http://{LOOPBACK}:{inbox.server_port}"
    environment = ReceiverSettings(webhook=f"{address}/", heartbeat=f"{address}/heartbeat")
    alertmanager.write(environment, folder / "alertmanager.yml", folder / "templates")
    with pytest.MonkeyPatch.context() as patched:
        if suite != "installed":
            patched.setenv("PATH", f"{debian_suites.fetch(suite)}{os.pathsep}{os.environ['PATH']}")
        manager = servers.start_alertmanager(
            alertmanager.configuration(
                environment, str(folder / "templates"), alertmanager.FAST_TIMINGS
            )
        )
        started.callback(manager.close)
        prometheus = servers.start_prometheus(
            _configuration(folder / "rules", manager, services),
            ["--rules.alert.resend-delay=2s"],
        )
        started.callback(prometheus.close)
    return Monitoring(prometheus, manager, address)


def _serving(server: ThreadingHTTPServer) -> ExitStack:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack = ExitStack()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return stack


def _configuration(
    rules: Path, alertmanager: servers.MonitoringServer, services: dict[str, str]
) -> dict[str, Any]:
    peers = [{"static_configs": [{"targets": [f"{LOOPBACK}:{alertmanager.port}"]}]}]
    return {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
        "rule_files": [f"{rules}/*.yml"],
        "alerting": {"alertmanagers": peers},
        "scrape_configs": [
            {
                "job_name": name,
                "static_configs": [{"targets": [address.removeprefix("http://")]}],
            }
            for name, address in services.items()
        ],
    }


def _within(seconds: float, missing: Callable[[], object]) -> None:
    """Wait until nothing is missing."""
    deadline = time.monotonic() + seconds
    while remaining := missing():
        assert time.monotonic() < deadline, f"{remaining}"  # all of it
        time.sleep(0.5)


@pytest.mark.parametrize("name", PATHS)
def test_every_panel_of_every_board_has_data_for_each_service(
    monitoring: Monitoring, name: str
) -> None:
    choices = {"job": name, "route": f"{PATHS[name]}/{{number}}"}
    # Their PostgreSQL and Redis have no reader.
    unread = {"svc-postgres", "svc-redis"}
    queries = [each for each in panel_queries(choices) if each.board not in unread]
    assert len(queries) > 80

    def without_data() -> list[PanelQuery]:
        queries[:] = [each for each in queries if not query(monitoring.prometheus.url, each.expr)]
        return [
            each
            for each in queries
            if not each.may_be_empty and not (name == "library" and "db_lock_" in each.expr)
        ]  # SQLite has no sessions that wait: the panels of locks are of PostgreSQL

    _within(TIMEOUT, without_data)


def test_each_version_evaluates_all_rules_and_separates_the_services(
    monitoring: Monitoring,
) -> None:
    def unhealthy() -> list[tuple[str, str]]:
        response = httpx.get(f"{monitoring.prometheus.url}/api/v1/rules").json()
        rules = [rule for group in response["data"]["groups"] for rule in group["rules"]]
        return [(rule["name"], rule["health"]) for rule in rules if rule["health"] != "ok"]

    def failing() -> set[str]:
        notifications = httpx.get(monitoring.inbox).json()["notifications"]
        return {
            note["labels"]["job"] for note in notifications if note["alert"] == "ErrorRatioHigh"
        }

    _within(TIMEOUT, unhealthy)
    _within(TIMEOUT, lambda: not httpx.get(monitoring.inbox).json()["heartbeat"])
    _within(TIMEOUT, lambda: not failing())
    assert failing() == {"library"}, "the clinic has lower objectives"
