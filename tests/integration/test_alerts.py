"""An alert reaches a person: fault, metric, rule, Alertmanager, webhook, and back to calm."""

import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts import delivery
from alerts.__main__ import main as render
from alerts.receivers import Environment
from stack.probes import LOOPBACK, free_port, http_answers
from stack.processes import Process, Program
from tests import servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
# A seventh of the requests becomes slow: more than one in twenty, which brings tickets, but not the
# third that would break the promise six times as fast as it may and page.
FAST_PATH, SLOW_PATH, BROKEN_PATH = "/items", "/items?pause=0.4", "/broken"
PAGE, TICKETS = "ErrorRatioHigh", {"LatencyP95High", "SlowQueryRatioHigh"}


class Webhook:
    """What a person was told, and when."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.told: list[tuple[float, str, str]] = []
        took = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                took.take(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def take(self, message: dict[str, Any]) -> None:
        at = time.monotonic() - self.began
        for alert in message["alerts"]:
            self.told.append((at, alert["status"], alert["labels"]["alertname"]))
            self.say(at, f"told: {alert['status']} {alert['annotations']['summary']}")

    def names(self, status: str, *, since: float) -> set[str]:
        return {name for at, what, name in self.told if what == status and at >= since}

    def now(self, what: str) -> float:
        at = time.monotonic() - self.began
        self.say(at, what)
        return at

    def say(self, at: float, what: str) -> None:
        print(f"{at:6.1f}s  {what}")  # noqa: T201 - the timeline, for whom a failure has to explain

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Watch:
    """The shop, Prometheus, Alertmanager and the person, all real and on loopback."""

    def __init__(self, database_url: str, started: ExitStack) -> None:
        self.person = Webhook()
        started.callback(self.person.close)
        folder = servers.temporary_folder()
        started.callback(shutil.rmtree, folder)
        self.shop = f"http://{LOOPBACK}:{_start_shop(database_url, folder, started)}"
        render(["--fast", "--output", str(folder / "rules")])
        environment = Environment(webhook=self.person.url)
        delivery.write(environment, folder / "alertmanager.yml", folder / "templates")
        self.alertmanager = servers.start_alertmanager(
            delivery.configuration(environment, str(folder / "templates"), delivery.HASTY)
        )
        started.callback(self.alertmanager.close)
        self.prometheus = servers.start_prometheus(
            _configuration(folder / "rules", self.alertmanager, self.shop),
            ["--rules.alert.resend-delay=2s", "--rules.alert.for-grace-period=0s"],
        )
        started.callback(self.prometheus.close)

    def ask(self, promql: str) -> list[float]:
        answer = httpx.get(f"{self.prometheus.url}/api/v1/query", params={"query": promql})
        return [float(found["value"][1]) for found in answer.json()["data"]["result"]]

    def active(self) -> dict[str, str]:
        """The state (active or suppressed) of what Alertmanager holds, by alert."""
        answer = httpx.get(f"{self.alertmanager.url}/api/v2/alerts").json()
        found = {alert["labels"]["alertname"]: alert["status"]["state"] for alert in answer}
        return {name: state for name, state in found.items() if name != "Watchdog"}

    @contextmanager
    def load(self, path: str, workers: int, pause: float) -> Iterator[None]:
        """Send requests until the block ends."""
        over = threading.Event()

        def send() -> None:
            with httpx.Client(base_url=self.shop, timeout=10) as client:
                while not over.wait(pause):
                    client.get(path)

        threads = [threading.Thread(target=send, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


def _start_shop(database_url: str, folder: Path, started: ExitStack) -> int:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.integration.shop:app", "--no-access-log"]
    shop = Process(
        Program(
            "shop",
            [*command, "--host", LOOPBACK, "--port", str(port), "--log-level", "critical"],
            env={"SHOP_DATABASE_URL": database_url},
            cwd=ROOT,
        ),
        log=folder / "shop.log",
    )
    started.callback(shop.stop)
    shop.start()
    shop.wait_ready(lambda: http_answers(port, FAST_PATH))
    return port


def _configuration(rules: Path, alertmanager: servers.Watcher, shop: str) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{rules}/*.yml"],
        "alerting": {
            "alertmanagers": [
                {"static_configs": [{"targets": [f"{LOOPBACK}:{alertmanager.port}"]}]}
            ]
        },
        "scrape_configs": [
            {
                "job_name": "shop",
                "static_configs": [{"targets": [shop.removeprefix("http://")]}],
            }
        ],
    }


@pytest.fixture(scope="module")
def watch(postgres_session: servers.Postgres) -> Iterator[Watch]:
    postgres_session.start()
    with ExitStack() as started:
        watch = Watch(postgres_session.database(), started)
        with watch.load(FAST_PATH, workers=2, pause=0.05):
            until("the watch sees the shop", lambda: watch.ask("job:slo_x:y or up == 1") == [1])
            until("requests are counted", lambda: any(watch.ask("job_slo:slo_events:rate5m")))
            yield watch


def until(what: str, holds: Callable[[], object], seconds: float = 90) -> float:
    """Wait for a condition; returns how long that took."""
    began = time.monotonic()
    while not holds():
        waited = time.monotonic() - began
        assert waited < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - began


def test_slow_queries_alone_bring_tickets_and_their_end(watch: Watch) -> None:
    person = watch.person
    until("calm", lambda: not watch.active())
    start = person.now("queries become slow")
    with watch.load(SLOW_PATH, workers=3, pause=0.1):
        until("tickets are told", lambda: person.names("firing", since=start) >= TICKETS)
        person.now("both tickets told; queries become fast")
    until("resolved is told", lambda: person.names("resolved", since=start) >= TICKETS)
    person.now("the end of both told")

    assert person.names("firing", since=start) == TICKETS


def test_errors_bring_a_page_within_30_seconds_that_holds_the_tickets_back(watch: Watch) -> None:
    person = watch.person
    until("calm", lambda: not watch.active())
    start = person.now("requests fail and queries become slow")
    with watch.load(BROKEN_PATH, workers=2, pause=0.1):
        with watch.load(SLOW_PATH, workers=3, pause=0.1):
            until("page told", lambda: PAGE in person.names("firing", since=start), seconds=30)
            person.now("page told")
            until(
                "tickets are held back",
                lambda: (
                    {name for name, how in watch.active().items() if how == "suppressed"} >= TICKETS
                ),
            )
            person.now("tickets fire, but are held back; queries become fast")
        until("tickets are over", lambda: not TICKETS & {*watch.active()})
        person.now("tickets over; requests succeed")
    until("resolved is told", lambda: PAGE in person.names("resolved", since=start))
    person.now("the end of the page told")

    assert not TICKETS & person.names("firing", since=start)


def test_every_rule_is_evaluated_without_error(watch: Watch) -> None:
    def health() -> set[str]:
        answer = httpx.get(f"{watch.prometheus.url}/api/v1/rules").json()
        return {rule["health"] for group in answer["data"]["groups"] for rule in group["rules"]}

    until("all rules were evaluated", lambda: "unknown" not in health())
    assert health() == {"ok"}
