"""Faults of set-up, injected into real servers: the doctor names each of them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from stack import readiness
from tests import servers
from vitals import cli
from vitals.doctor.alertmanager import TEST_ALERT, count_integrations

pytestmark = pytest.mark.servers

ROOT = Path(__file__).parents[3]
RULES = ROOT / "prometheus" / "rules"
TOKEN = "made-up-for-tests"
JOB = "examined"
Json = dict[str, Any]


class Findings:
    """What the doctor found."""

    def __init__(self, status: int, found: list[Json]) -> None:
        self.status = status
        self.found = found

    def problems(self) -> dict[str, str]:
        """Messages by hop; several of one hop are lines of one message."""
        messages: dict[str, str] = {}
        for one in self.found:
            if one["status"] == "problem":
                before = messages.get(one["hop"])
                messages[one["hop"]] = (before + "\n" if before else "") + one["message"]
        return messages

    def __repr__(self) -> str:
        return "\n".join(f"{one['status']:8} {one['hop']}: {one['message']}" for one in self.found)


class Service(NamedTuple):
    url: str
    port: int


class Inbox(NamedTuple):
    """A webhook, and what it received."""

    url: str
    received: list[Json]


@pytest.fixture(scope="module")
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start_service(running: ExitStack, app: str = "app", **environment: str) -> Service:
    port = readiness.free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", f"serving:{app}", "--port", str(port)],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    running.callback(process.wait, 20)
    running.callback(process.terminate)
    wait(lambda: readiness.http_answers(port, "/things"))
    return Service(f"http://127.0.0.1:{port}", port)


@pytest.fixture(scope="module")
def service(running: ExitStack) -> Service:
    return start_service(running)


@pytest.fixture(scope="module")
def protected(running: ExitStack) -> Service:
    return start_service(running, VITALS_METRICS_TOKEN=TOKEN, EXAMINED_PATH="/vitals/metrics")


@pytest.fixture(scope="module")
def inbox(running: ExitStack) -> Inbox:
    received: list[Json] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            received.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    running.callback(server.server_close)
    running.callback(server.shutdown)
    return Inbox(f"http://127.0.0.1:{server.server_port}/", received)


@pytest.fixture(scope="module")
def alertmanager(running: ExitStack, inbox: Inbox) -> servers.MonitoringServer:
    webhook = {"name": "people", "webhook_configs": [{"url": inbox.url}]}
    server = servers.start_alertmanager(
        {"route": {"receiver": "people", "group_wait": "0s"}, "receivers": [webhook]}
    )
    running.callback(server.close)
    return server


class Watch:
    """Starts Prometheus with a fault, if any."""

    def __init__(self, service: Service, alertmanager: servers.MonitoringServer) -> None:
        self.service = service
        self.alertmanager = alertmanager
        self.started = ExitStack()

    def prometheus(
        self,
        *,
        jobs: list[Json] | None = None,
        rules: Path | None = RULES,
        alertmanagers: list[str] | None = None,
        service: Service | None = None,
        **job: Any,
    ) -> str:
        target = f"127.0.0.1:{(service or self.service).port}"
        own = {"job_name": JOB, "static_configs": [{"targets": [target]}], **job}
        sends_to = [f"127.0.0.1:{self.alertmanager.port}"]
        if alertmanagers is not None:
            sends_to = alertmanagers
        server = servers.start_prometheus(
            {
                "global": {
                    "scrape_interval": "250ms",
                    "scrape_timeout": "250ms",
                    "evaluation_interval": "500ms",
                },
                "rule_files": [f"{rules}/*.yml"] if rules else [],
                "alerting": {"alertmanagers": [{"static_configs": [{"targets": sends_to}]}]},
                "scrape_configs": [own] if jobs is None else jobs,
            },
            ["--rules.alert.resend-delay=1s"],
        )
        self.started.callback(server.close)
        return server.url


@pytest.fixture
def watch(service: Service, alertmanager: servers.MonitoringServer) -> Iterator[Watch]:
    watch = Watch(service, alertmanager)
    with watch.started:
        yield watch


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def wait(done: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.1)


class Examine:
    """Runs the command."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Findings:
        status = cli.main(["doctor", *map(str, arguments), "--json"])
        return Findings(status, json.loads(self._capsys.readouterr().out))

    def until(self, hop: str, text: str, *arguments: object) -> Findings:
        """Run until this problem is found: Prometheus sees its targets after some seconds."""
        deadline = time.monotonic() + 60
        while True:
            findings = self(*arguments)
            if text in findings.problems().get(hop, ""):
                return findings
            assert time.monotonic() < deadline, repr(findings)
            time.sleep(0.2)


@pytest.fixture
def examine(capsys: pytest.CaptureFixture[str]) -> Examine:
    return Examine(capsys)


def test_a_sound_set_up_has_no_problem_and_notifies_nobody(
    examine: Examine, watch: Watch, inbox: Inbox, capsys: pytest.CaptureFixture[str]
) -> None:
    prometheus = watch.prometheus()
    arguments = (
        watch.service.url,
        "--prometheus", prometheus, "--alertmanager", watch.alertmanager.url, "--job", JOB,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while True:  # the first scrapes, evaluations and notifications take some seconds
        httpx.get(f"{watch.service.url}/things")
        findings = examine(*arguments)
        if not findings.status and any(one["hop"] == "arrival" for one in findings.found):
            break
        assert time.monotonic() < deadline, findings
    assert findings.problems() == {}
    hops = {one["hop"] for one in findings.found if one["status"] == "ok"}
    assert hops >= {
        "application", "page", "token", "names", "workers", "prometheus", "target", "scrape",
        "series", "rules", "boards", "sending", "alertmanager", "config", "receivers",
        "test alert", "route", "resolved", "arrival",
    }  # fmt: skip
    notes = [one["message"] for one in findings.found if one["status"] == "note"]
    assert "no engine is watched: database panels stay empty" in notes
    alerts = httpx.get(f"{watch.alertmanager.url}/api/v2/alerts").json()
    assert TEST_ALERT not in {alert["labels"]["alertname"] for alert in alerts}
    silences = httpx.get(f"{watch.alertmanager.url}/api/v2/silences").json()
    assert {silence["status"]["state"] for silence in silences} == {"expired"}
    told = {a["labels"]["alertname"] for message in inbox.received for a in message["alerts"]}
    assert TEST_ALERT not in told
    assert cli.main(["doctor", *map(str, arguments)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "no problems"
    assert all(line.startswith(("ok ", "note ")) for line in lines[:-1])


def test_the_application_is_down(examine: Examine) -> None:
    findings = examine(f"http://127.0.0.1:{readiness.free_port()}")
    assert "nothing listens there" in findings.problems()["application"]
    assert findings.status == 1


def test_the_application_hangs(examine: Examine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        findings = examine(f"http://127.0.0.1:{silent.getsockname()[1]}", "--timeout", 0.5)
    assert "does not answer in time" in findings.problems()["application"]
    assert time.monotonic() - began < 5


def test_the_application_drips(examine: Examine) -> None:
    class Drip(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"# \n")
                    time.sleep(0.05)
            except OSError:
                pass

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Drip) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        findings = examine(f"http://127.0.0.1:{server.server_port}", "--timeout", 0.5)
        server.shutdown()
    assert "does not answer in time" in findings.problems()["application"]


def test_another_server_listens_at_the_port(examine: Examine, watch: Watch) -> None:
    findings = examine(watch.prometheus())
    assert "is not the kit's" in findings.problems()["names"]
    findings = examine(watch.alertmanager.url, "--metrics-path", "/-/nothing")
    assert "is not found, but there is a page" in findings.problems()["page"]


def test_the_path_is_wrong(examine: Examine, service: Service, protected: Service) -> None:
    findings = examine(service.url, "--metrics-path", "/metricz")
    assert "there is a page of metrics at /metrics" in findings.problems()["page"]
    findings = examine(protected.url)
    assert "there is a page of metrics at /vitals/metrics" in findings.problems()["page"]
    findings = examine(service.url, "--metrics-path", "/things")
    assert "application/json" in findings.problems()["page"]


def test_a_token_is_missing_or_wrong(
    examine: Examine, protected: Service, token_file: Path
) -> None:
    arguments = (protected.url, "--metrics-path", "/vitals/metrics")
    assert "requires a token" in examine(*arguments).problems()["token"]
    assert examine(*arguments, "--token-file", token_file).problems() == {}
    token_file.write_text("another")
    findings = examine(*arguments, "--token-file", token_file)
    assert "refuses the token" in findings.problems()["token"]


@pytest.mark.parametrize("sent", [None, "another"])
def test_prometheus_sends_no_token_or_a_wrong_one(
    sent: str | None, examine: Examine, watch: Watch, protected: Service, token_file: Path
) -> None:
    more: Json = {"authorization": {"credentials": sent}} if sent else {}
    prometheus = watch.prometheus(service=protected, metrics_path="/vitals/metrics", **more)
    arguments = (protected.url, "--metrics-path", "/vitals/metrics", "--token-file", token_file)
    findings = examine.until(
        "target", "refuses Prometheus's token", *arguments, "--prometheus", prometheus
    )
    assert set(findings.problems()) == {"target"}


def test_only_the_applications_own_machine_is_served(
    examine: Examine, watch: Watch, running: ExitStack
) -> None:
    proxied = start_service(running, "behind_proxy")
    prometheus = watch.prometheus(service=proxied)
    message = "is served to the application's own machine only"
    findings = examine.until("target", message, proxied.url, "--prometheus", prometheus)
    assert message in findings.problems()["token"]


def test_prometheus_scrapes_another_path(examine: Examine, watch: Watch, service: Service) -> None:
    prometheus = watch.prometheus(metrics_path="/metricz")
    message = "Prometheus scrapes /metricz, the page is at /metrics"
    examine.until("target", message, service.url, "--prometheus", prometheus)


def test_the_target_is_missing_or_at_another_port(
    examine: Examine, watch: Watch, service: Service
) -> None:
    other = f"127.0.0.1:{readiness.free_port()}"
    prometheus = watch.prometheus(static_configs=[{"targets": [other]}])
    findings = examine.until("target", other, service.url, "--prometheus", prometheus)
    assert f"127.0.0.1:{service.port} is none of" in findings.problems()["target"]


def test_the_target_is_dropped(examine: Examine, watch: Watch, service: Service) -> None:
    drop = {"source_labels": ["__address__"], "regex": ".*", "action": "drop"}
    prometheus = watch.prometheus(relabel_configs=[drop])
    message = f"127.0.0.1:{service.port} is dropped by relabel_configs of job {JOB}"
    examine.until("target", message, service.url, "--prometheus", prometheus)


def test_the_target_is_in_the_wrong_job(examine: Examine, watch: Watch, service: Service) -> None:
    application, itself = f"127.0.0.1:{service.port}", f"127.0.0.1:{watch.alertmanager.port}"
    mixed = {"job_name": "mixed", "static_configs": [{"targets": [application, itself]}]}
    twice = {"job_name": "again", "static_configs": [{"targets": [application]}]}
    prometheus = watch.prometheus(jobs=[mixed])
    message = f"job mixed also scrapes http://{itself}/metrics"
    examine.until("job", message, service.url, "--prometheus", prometheus)
    findings = examine(service.url, "--prometheus", prometheus, "--job", JOB)
    assert f"as job mixed, not as {JOB}" in findings.problems()["job"]
    prometheus = watch.prometheus(jobs=[mixed, twice])
    message = "several jobs: again, mixed"
    examine.until("job", message, service.url, "--prometheus", prometheus)


def test_a_metric_is_dropped_while_it_is_scraped(
    examine: Examine, watch: Watch, service: Service
) -> None:
    drop = {"source_labels": ["__name__"], "regex": "app_build_info", "action": "drop"}
    prometheus = watch.prometheus(metric_relabel_configs=[drop])
    message = "but no app_build_info"
    examine.until("series", message, service.url, "--prometheus", prometheus)


def test_no_rules_are_loaded(examine: Examine, watch: Watch, service: Service) -> None:
    findings = examine(service.url, "--prometheus", watch.prometheus(rules=None))
    assert "none of the" in findings.problems()["rules"]


@pytest.fixture
def changed_rules() -> Iterator[Path]:
    """A copy of the rules that Prometheus's user may read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for path in RULES.glob("*.yml"):
        shutil.copy(path, folder)
    yield folder
    shutil.rmtree(folder)


def test_rules_are_old_or_missing(
    examine: Examine, watch: Watch, service: Service, changed_rules: Path
) -> None:
    processes = changed_rules / "processes.yml"
    text = processes.read_text()
    assert ">=\n        3" in text
    processes.write_text(text.replace(">=\n        3", ">=\n        5"))
    prometheus = watch.prometheus(rules=changed_rules)
    message = "1 rules are of another version: CrashLoop"
    examine.until("rules", message, service.url, "--prometheus", prometheus)
    processes.unlink()
    (changed_rules / "slo.yml").unlink()
    prometheus = watch.prometheus(rules=changed_rules)
    message = "groups are not loaded: processes-alerts, "
    examine.until("rules", message, service.url, "--prometheus", prometheus)


@pytest.mark.usefixtures("every_suite")
def test_loaded_rules_are_recognized_by_every_version(
    examine: Examine, watch: Watch, service: Service
) -> None:
    prometheus = watch.prometheus()
    findings = examine(service.url, "--prometheus", prometheus)
    rules = [one["message"] for one in findings.found if one["hop"] == "rules"]
    assert len(rules) == 1
    assert rules[0].startswith("all ")


def test_prometheus_is_down_or_another_server(examine: Examine, service: Service) -> None:
    nothing = f"http://127.0.0.1:{readiness.free_port()}"
    findings = examine(service.url, "--prometheus", nothing)
    assert "nothing listens there" in findings.problems()["prometheus"]
    findings = examine(service.url, "--prometheus", service.url)
    assert "does not answer as Prometheus" in findings.problems()["prometheus"]


def test_prometheus_has_no_alertmanager_or_another_one(
    examine: Examine, watch: Watch, service: Service
) -> None:
    alertmanager = watch.alertmanager.url
    wrong: dict[str, list[str]] = {
        "to no Alertmanager": [],
        f"not to {alertmanager}": ["127.0.0.1:9"],
    }
    for message, sends_to in wrong.items():
        prometheus = watch.prometheus(alertmanagers=sends_to)
        arguments = (service.url, "--prometheus", prometheus, "--alertmanager", alertmanager)
        examine.until("sending", message, *arguments, "--no-test-alert")


def test_alertmanager_is_down_or_another_server(
    examine: Examine, watch: Watch, service: Service
) -> None:
    port = readiness.free_port()
    nothing = f"http://127.0.0.1:{port}"
    prometheus = watch.prometheus(alertmanagers=[f"127.0.0.1:{port}"])
    arguments = (service.url, "--prometheus", prometheus, "--alertmanager", nothing)
    findings = examine.until("sending", "alerts were lost", *arguments)
    assert "nothing listens there" in findings.problems()["alertmanager"]
    findings = examine(service.url, "--alertmanager", service.url)
    assert "not as Alertmanager" in findings.problems()["alertmanager"]


def test_alerts_are_routed_to_a_receiver_that_notifies_nobody(
    examine: Examine, service: Service, inbox: Inbox, running: ExitStack
) -> None:
    empty = {"name": "nobody"}
    people = {"name": "people", "webhook_configs": [{"url": inbox.url}]}
    pages = [{"receiver": "nobody", "matchers": ['severity="page"']}]
    server = servers.start_alertmanager(
        {"route": {"receiver": "people", "routes": pages}, "receivers": [people, empty]}
    )
    running.callback(server.close)
    findings = examine(service.url, "--alertmanager", server.url)
    assert findings.problems() == {"route": "page goes to nobody, which has no integration"}
    server = servers.start_alertmanager({"route": {"receiver": "nobody"}, "receivers": [empty]})
    running.callback(server.close)
    findings = examine(service.url, "--alertmanager", server.url, "--no-test-alert")
    assert findings.problems() == {"receivers": "none of nobody has an integration"}


def test_workers_that_share_nothing_are_noticed(examine: Examine, running: ExitStack) -> None:
    port = readiness.free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "serving:app", "--port", str(port), "--workers", "2"],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "VITALS_WORKERS_DIR": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    running.callback(process.wait, 20)
    running.callback(process.terminate)
    url = f"http://127.0.0.1:{port}"
    wait(lambda: readiness.http_answers(port, "/things"))
    examine.until("workers", "falls from page to page", url)


@pytest.mark.parametrize(
    "arguments",
    [["ftp://127.0.0.1"], ["http://127.0.0.1", "--metrics-path", "metrics"],
     ["http://127.0.0.1", "--token-file", "/nowhere/token"],
     ["http://127.0.0.1", "--timeout", "0"]],
)  # fmt: skip
def test_wrong_arguments_end_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


CONFIGURATION = """\
route:
  receiver: a
receivers:
- name: a
- name: "b c"
  webhook_configs:
  - url: <secret>
  slack_configs:
  - channel: x
templates: []
"""


def test_integrations_are_counted() -> None:
    assert count_integrations(CONFIGURATION) == {"a": 0, "b c": 2}
