"""The three commands of docs/adopting.md, as they stand, beside a Prometheus that is there.

It scrapes ten jobs of others, of which half are down and the rest about to run out of files.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from checks.files import ROOT
from stack.installation import service_user
from stack.process.process import Process, Program
from stack.readiness import LOOPBACK, free_port, http_answers
from stack.servers import prometheus
from tests import servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]

PAGE = (ROOT / "docs" / "adopting.md").read_text().partition("## With the Prometheus")[2]
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0].splitlines()
FOREIGN = ("node", "etcd", "mysql", "nginx", "batch", "kafka", "jenkins", "consul", "mail", "dns")
DOWN = FOREIGN[5:]
OF_OTHERS = """\
process_open_fds 1020
process_max_fds 1024
process_resident_memory_bytes 9e9
process_start_time_seconds {now}
http_requests_total{{code="500"}} {now}
http_server_request_duration_seconds_count{{http_route="/",http_response_status_code="500"}} {now}
"""
SERVICE = """
from fastapi import FastAPI
from vitals import Objective, instrument

app = FastAPI()
instrument(app, service_name="shop", objectives=[Objective("availability", ratio=0.99)])
"""


class Others(BaseHTTPRequestHandler):
    """Metrics of a service of others."""

    def do_GET(self) -> None:
        """Answer a scrape."""
        body = OF_OTHERS.format(now=int(time.time())).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Messages(BaseHTTPRequestHandler):
    """A receiver of webhooks."""

    found: list[Any]

    def do_POST(self) -> None:
        """Keep a message."""
        length = int(self.headers["Content-Length"])
        self.found.append((self.path, json.loads(self.rfile.read(length))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@dataclass
class Theirs:
    """What is there before: Prometheus, Alertmanager, a service with the kit, messages so far."""

    folder: Path
    environment: dict[str, str]
    messages: list[Any]

    def run(self, command: str) -> str:
        """Run a command of the page; what it says."""
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def query(self, promql: str) -> list[dict[str, str]]:
        """The label sets of a query's values."""
        url = f"{self.environment['PROMETHEUS']}/api/v1/query"
        found = httpx.get(url, params={"query": promql}).json()
        return [each["metric"] for each in found["data"]["result"]]


def wait(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until a condition has a value; the value."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.3)
    return found


@pytest.fixture
def theirs(installed: Path) -> Iterator[Theirs]:
    with ExitStack() as started:
        folder = servers.temporary_folder()
        started.callback(shutil.rmtree, folder)
        messages: list[Any] = []
        others = _serve(started, Others)
        receiver = _serve(started, type("Kept", (Messages,), {"found": messages}))
        ports = {name: free_port() for name in ("prometheus", "alertmanager", "shop")}
        dead = free_port()
        jobs = {name: dead if name in DOWN else others for name in FOREIGN}
        theirs = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "alerting": {"alertmanagers": [_targets(ports["alertmanager"])]},
            "scrape_configs": [{"job_name": job, **_targets(port)} for job, port in jobs.items()],
        }
        hook = f"http://{LOOPBACK}:{receiver}"
        routes = {
            "route": {"receiver": "everybody", "group_wait": "1s"},
            "receivers": [
                {"name": name, "webhook_configs": [{"url": f"{hook}/{name}"}]}
                for name in ("everybody", "pager", "team")
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(theirs))
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(routes))
        (folder / "shop.py").write_text(SERVICE)
        user = service_user.default_user()
        for name in ("prometheus-data", "alertmanager-data"):
            (folder / name).mkdir()
            if user:
                user.chown(folder / name)
        folder.chmod(0o755)
        uvicorn = [str(installed / "uvicorn"), "shop:app", "--port", str(ports["shop"])]
        programs = {
            "shop": Program("shop", uvicorn, cwd=folder),
            "alertmanager": prometheus.alertmanager(
                *(folder / "alertmanager.yml", folder / "alertmanager-data"),
                *(ports["alertmanager"], user),
            ),
            "prometheus": prometheus.server(
                *(folder / "prometheus.yml", folder / "prometheus-data", ports["prometheus"], user),
                ("--web.enable-lifecycle", f"--web.user-assets={folder}/vitals/site"),
            ),
        }
        pids = {}
        for name, program in programs.items():
            process = Process(program, log=folder / f"{name}.log")
            started.callback(process.stop)
            process.start()
            path = "/openapi.json" if name == "shop" else "/-/ready"
            port = ports[name]
            process.wait_ready(lambda port=port, path=path: http_answers(port, path))  # type: ignore[misc]
            pids[name] = process.pid
        environment = {
            "PATH": f"{installed}{os.pathsep}{os.environ['PATH']}",
            "SERVICE": f"{LOOPBACK}:{ports['shop']}",
            "PROMETHEUS": f"http://{LOOPBACK}:{ports['prometheus']}",
            "ALERTMANAGER": f"http://{LOOPBACK}:{ports['alertmanager']}",
            "PID": str(pids["shop"]),
        }
        yield Theirs(folder, environment, messages)


def _serve(started: ExitStack, handler: type[BaseHTTPRequestHandler]) -> int:
    """Serve in a thread; the port."""
    server = ThreadingHTTPServer((LOOPBACK, 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    started.callback(thread.join)
    started.callback(server.server_close)
    started.callback(server.shutdown)
    return server.server_port


def _targets(port: int) -> dict[str, Any]:
    return {"static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}


def _has_a_board(theirs: Theirs) -> None:
    """The first two commands: a board has graphs, every rule works, nothing of theirs changed."""
    export, load, _ = COMMANDS
    before = {
        name: yaml.safe_load((theirs.folder / name).read_text())
        for name in ("prometheus.yml", "alertmanager.yml")
    }
    theirs.run(export)
    theirs.run(load)
    now = yaml.safe_load((theirs.folder / "prometheus.yml").read_text())
    assert now["scrape_configs"][:-1] == before["prometheus.yml"]["scrape_configs"]
    assert (
        yaml.safe_load((theirs.folder / "prometheus.yml~").read_text()) == before["prometheus.yml"]
    )

    def is_graphed() -> list[dict[str, str]]:
        httpx.get(f"http://{theirs.environment['SERVICE']}/openapi.json")
        return theirs.query('job:http_server_request_duration_seconds:p95_5m{job="shop"} > 0')

    wait(is_graphed)
    wait(lambda: theirs.query('job:vitals_workers:watched{job="shop"}'))
    page = httpx.get(f"{theirs.environment['PROMETHEUS']}/user/d/svc-overview/?var-job=shop")
    assert '<script type="module"' in page.text
    rules = httpx.get(f"{theirs.environment['PROMETHEUS']}/api/v1/rules").json()["data"]["groups"]
    assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}


def _has_nothing_of_others(theirs: Theirs) -> None:
    """All ten are scraped, half in vain, and no alert, not even a pending one, is about them."""
    assert {each["job"] for each in theirs.query("up")} == {*FOREIGN, "shop"}
    assert {each["job"] for each in theirs.query("up == 0")} >= {*DOWN}
    names = "|".join(FOREIGN)
    for label in ("job", "service"):
        assert not theirs.query(f'ALERTS{{{label}=~"{names}"}}')
    assert not [message for path, message in theirs.messages if path == "/everybody"]


def test_a_board_and_a_drilled_alert_in_three_commands(theirs: Theirs) -> None:
    assert len(COMMANDS) == 3
    _has_a_board(theirs)
    theirs.run(COMMANDS[2])
    wait(lambda: theirs.query('ALERTS{alertname="TargetDown",job="shop",alertstate="pending"}'))
    _has_nothing_of_others(theirs)


@pytest.mark.long
def test_the_drilled_alert_reaches_the_receiver_of_pages_and_no_other(theirs: Theirs) -> None:
    _has_a_board(theirs)
    theirs.run(COMMANDS[2])
    wait(lambda: [path for path, _ in theirs.messages if path == "/pager"], 240)
    [message] = [message for path, message in theirs.messages if path == "/pager"]
    assert {alert["labels"]["alertname"] for alert in message["alerts"]} == {"TargetDown"}
    assert {alert["labels"]["job"] for alert in message["alerts"]} == {"shop"}
    _has_nothing_of_others(theirs)
