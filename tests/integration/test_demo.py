"""The demo, end to end: after one command, Prometheus has data for every panel."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Route, sync_playwright

from stack.installation.ports import Ports
from tests import servers
from tests.integration.boards import NO_VALUE_TEXTS, panel_queries, query

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

CHECKOUT = Path(__file__).parents[2]
PORTS = Ports.chosen()


def free_ports() -> dict[str, str]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in PORTS]
    ports = {f"{name}_PORT": str(s.getsockname()[1]) for name, s in zip(PORTS, held, strict=True)}
    for each in held:
        each.close()
    return ports


class Demo:
    """`python -m stack demo` with its own data folder."""

    def __init__(self) -> None:
        self.folder = servers.temporary_folder()
        self.ports = free_ports()
        self.output = self.folder / "output"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start and wait until it is ready; returns the seconds."""
        command = [sys.executable, "-m", "stack", "demo", "--users=200", "--products=100"]
        environment = {**os.environ, **self.ports, "VITALS_DATA": str(self.folder / "data")}
        started = time.monotonic()
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--orders=2000"], cwd=CHECKOUT, env=environment, stdout=output, stderr=2
            )
        while "Ready." not in self.output_text():
            assert self.process.poll() is None, self.output_text()
            assert time.monotonic() - started < 120, self.output_text()
            time.sleep(0.1)
        return time.monotonic() - started

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command on the same data folder."""
        return subprocess.run(
            [sys.executable, "-m", "stack", *arguments],
            cwd=CHECKOUT,
            env={**os.environ, **self.ports, "VITALS_DATA": str(self.folder / "data")},
            check=False,
            capture_output=True,
            text=True,
            timeout=400,
        )

    def output_text(self) -> str:
        return self.output.read_text(errors="replace")

    def stop(self) -> int:
        """Stop it as with Ctrl-C; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[f'{service}_PORT']}"

    def query(self, promql: str) -> list[dict[str, Any]]:
        return query(self.url("PROMETHEUS"), promql)

    def value(self, promql: str) -> float:
        result = self.query(promql)
        return float(result[0]["value"][1]) if result else float("nan")


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    running = Demo()
    try:
        running.start()
        yield running
    finally:
        if running.process is not None and running.process.poll() is None:
            running.stop()


def within(seconds: float, condition: Any) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.5)


def test_every_target_is_up(demo: Demo) -> None:
    within(180, lambda: demo.value('min(up{job="api"})') == 1)
    assert demo.value("min(up)") == 1


def test_the_recording_rules_have_values(demo: Demo) -> None:
    for promql in (
        'job:http_server_request_duration_seconds:p95_5m{job="api"} > 0',
        'sum(rate(cache_requests_total{job="api",result="hit"}[1m])) > 0',
        "sum(rate(db_client_operation_duration_seconds_count[1m])) > 0",
    ):
        within(90, lambda promql=promql: demo.value(promql) > 0)


@pytest.mark.timeout(480)
def test_every_panel_of_every_board_has_data_or_may_be_empty(demo: Demo) -> None:
    queries = [*panel_queries({"job": "api", "route": "/api/products"})]
    assert len(queries) > 80
    # Rules over days are evaluated every two minutes.
    deadline = time.monotonic() + 240
    while True:
        queries = [each for each in queries if not demo.query(each.expr)]
        missing = [
            each
            for each in queries
            if not each.may_be_empty and not each.no_value.startswith(NO_VALUE_TEXTS)
        ]
        if not missing:
            break
        assert time.monotonic() < deadline, f"no data for {missing}"
        time.sleep(1)


def test_no_rule_fails_and_no_page_fires(demo: Demo) -> None:
    groups = httpx.get(f"{demo.url('PROMETHEUS')}/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    within(180, lambda: demo.value("prometheus_rule_group_rules") > 0)
    unhealthy = [(r["name"], r.get("lastError")) for r in rules if r["health"] == "err"]
    assert unhealthy == []
    firing = [alert["metric"] for alert in demo.query('ALERTS{alertstate="firing"}')]
    assert [labels for labels in firing if labels.get("severity") == "page"] == []


HEADINGS = {
    "API": "Shop API",
    "boards": "Services",
    "queries": "Query",
    "alerts": "Active alerts",
    "silences": "Silences",
    "targets": "Targets",
    "rules": "Rules",
    "runbooks": "Runbooks",
    "notifications": "Inbox",
    "traces": "Traces",
    "log lines": "Logs",
    "issues": "Issues",
}
"""The first heading of each page that the demo prints the address of."""


def test_every_printed_address_opens_offline(demo: Demo) -> None:
    printed = dict(
        re.findall(r"^  (\w+|log lines) +(http://\S+)", demo.output_text(), re.MULTILINE)
    )
    token = (demo.folder / "data" / "secrets" / "metrics-token").read_text().strip()
    metrics = printed.pop("metrics")
    assert httpx.get(metrics, headers={"Authorization": f"Bearer {token}"}).is_success
    assert httpx.get(f"{printed.pop('OTLP')}/ready").is_success
    published = f"{printed['boards']}boards/index.json"
    within(200, lambda: httpx.get(published).is_success)  # the viewer may have to be built
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        context = browser.new_context()
        elsewhere: list[str] = []

        def refuse(route: Route) -> None:
            elsewhere.append(route.request.url)
            route.abort()

        context.route(re.compile(r"^https?://(?!127\.0\.0\.1[:/])"), refuse)
        page = context.new_page()
        headings = {}
        for name, address in printed.items():
            page.goto(address)
            heading = page.locator("h1, h2").first
            heading.wait_for(timeout=60_000)
            headings[name] = heading.inner_text().split("\n")[0].strip()
        page.goto(demo.url("ALERTMANAGER"))  # also where Alertmanager's own links lead
        page.get_by_role("heading", name="Silences").wait_for(timeout=60_000)
        browser.close()
    assert headings.keys() == HEADINGS.keys()
    wrong = {name: text for name, text in headings.items() if HEADINGS[name] not in text}
    assert wrong == {}
    assert elsewhere == []


DRILLS = ("EventLoopLagHigh", "FilesRunOut", "ErrorRatioHigh")
"""A ticket, a forecast and a page with what it holds back."""
MORE_DRILLS = (
    "NPlusOne", "LatencyP95High/route", "DBPoolTimeouts", "BudgetBurn", "MetricsGone",
    "InstanceDown", "TargetsGone", "RulesFail", "AlertsDropped", "Watchdog",
)  # fmt: skip
"""More that take half a minute; the longer ones are run by hand, which writes their table."""


def drilled(demo: Demo, names: tuple[str, ...]) -> str:
    done = demo.run("drill", *names)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in names:
        assert re.search(rf"^{name} +(page|ticket) +[\d.]+ +[\d.]+$", done.stdout, re.MULTILINE)
    return done.stdout


@pytest.mark.timeout(480)
def test_drills_notify_of_faults_and_of_their_end(demo: Demo) -> None:
    drilled(demo, DRILLS)


@pytest.mark.long
@pytest.mark.timeout(480)
def test_more_drills_notify_of_faults_and_of_their_end(demo: Demo) -> None:
    assert "BudgetBurn fires and is inhibited" in drilled(demo, MORE_DRILLS)


def test_it_stops_without_orphans_and_starts_again_with_its_data(demo: Demo) -> None:
    before = demo.value("sum(http_server_request_duration_seconds_count)")
    assert demo.stop() == 0
    for service in PORTS:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", int(demo.ports[f"{service}_PORT"])), 1)
    left = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(demo.folder).encode() in path.read_bytes()
    ]
    assert left == []
    assert demo.start() < 60
    assert "seeded" not in demo.output_text()
    expr = f"sum(max_over_time(http_server_request_duration_seconds_count[1h])) >= {before}"
    within(180, lambda: demo.query(expr) != [])
