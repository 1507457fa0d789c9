"""The issue tracker as a service: its API, its metrics, and what survives a kill."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rules.monitoring import ISSUE_NEW, ISSUE_REOPENED, ISSUES
from stack import readiness
from stack.installation.paths import CHECKOUT
from stack.process.process import Program
from tests.servers import Server
from tests.stack.issues.reporting import report
from tests.stack.store.storing import PAGE, Store, storing

pytestmark = pytest.mark.servers

ISSUES_PATH = "/api/v1/issues"
ONE, OTHER, THIRD = "0a" * 8, "0b" * 8, "0c" * 8


class TrackerService(Server):
    """An issue tracker that a test may kill and start again."""

    def __init__(self, folder: Path, store: Store) -> None:
        port = readiness.free_port()
        command = [
            *(sys.executable, "-m", "stack.issues", "--port", str(port), "--page-origin", PAGE),
            *("--data", str(folder / "issues.sqlite3"), "--logs", f"http://127.0.0.1:{store.port}"),
        ]
        program = Program("issues", command, cwd=CHECKOUT)
        super().__init__(folder, port, program, lambda: readiness.http_answers(port, "/ready"))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    def issue(self, fingerprint: str) -> dict[str, Any]:
        """One issue; empty if there is none."""
        response = self.client.get(f"{ISSUES_PATH}/{fingerprint}")
        return dict(response.json()) if response.is_success else {}

    def act(self, fingerprint: str, action: str) -> httpx.Response:
        """Set the state of an issue."""
        return self.client.post(f"{ISSUES_PATH}/{fingerprint}/{action}", json={})

    def shown(self, name: str) -> set[str]:
        """The fingerprints that a metric tells of."""
        return {
            sample.labels["fingerprint"]
            for family in text_string_to_metric_families(self.client.get("/metrics").text)
            for sample in family.samples
            if sample.name == name
        }


def wait(until: Callable[[], Any], seconds: float = 60.0) -> float:
    """Wait for a condition; returns how long it took."""
    began = time.monotonic()
    while not until():
        assert time.monotonic() - began < seconds, "the condition did not come true"
        time.sleep(0.1)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with storing(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def tracker(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerService]:
    running = TrackerService(tmp_path_factory.mktemp("issues"), store)
    running.start()
    report(store, ONE, ONE, ago=0)
    report(store, OTHER, service="billing", ago=0, attributes={"exception.type": "KeyError"})
    wait(lambda: running.issue(ONE) and running.issue(OTHER))
    yield running
    running.client.close()
    running.stop()


def test_a_killed_tracker_goes_on_where_it_was(store: Store, tracker: TrackerService) -> None:
    wait(lambda: tracker.shown(ISSUE_NEW.name) == {ONE, OTHER})
    assert tracker.act(ONE, "resolve").json()["state"] == "resolved"
    assert tracker.act(OTHER, "ignore").json()["state"] == "ignored"
    tracker.kill()
    report(store, OTHER, THIRD, ago=0)
    tracker.start()
    wait(lambda: tracker.issue(THIRD))
    assert tracker.issue(ONE)["state"] == "resolved"
    assert tracker.issue(OTHER)["state"] == "ignored"
    assert tracker.issue(OTHER)["count"] == 2
    assert tracker.shown(ISSUE_NEW.name) == {THIRD}  # the others were dealt with
    tracker.kill()
    tracker.start()
    assert tracker.shown(ISSUE_NEW.name) == {THIRD}
    report(store, ONE, release="2.0.0", ago=0)
    wait(lambda: tracker.issue(ONE)["state"] == "open", 60)  # within a minute
    assert tracker.shown(ISSUE_REOPENED.name) == {ONE}
    wait(lambda: tracker.issue(ONE)["count"] == 3)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {ONE, OTHER, THIRD}),
        ("?service=billing", {OTHER}),
        ("?type=KeyError", {OTHER}),
        ("?q=key", {OTHER}),
        ("?q=%25", set()),
        ("?release=2.0.0", {ONE}),
        ("?route=/orders&state=open", {ONE, THIRD}),
        ("?state=ignored", {OTHER}),
        ("?from=9999999999", set()),
    ],
)
def test_issues_are_listed_by_what_they_are(
    tracker: TrackerService, query: str, expected: set[str]
) -> None:
    answer = tracker.client.get(f"{ISSUES_PATH}{query}").json()
    assert {each["fingerprint"] for each in answer["issues"]} == expected
    assert answer["total"] == len(expected)
    assert answer["read"]


@pytest.mark.parametrize("query", ["?state=closed", "?sort=name", "?limit=-1", "?from=yesterday"])
def test_an_impossible_parameter_is_named(tracker: TrackerService, query: str) -> None:
    answer = tracker.client.get(f"{ISSUES_PATH}{query}")
    assert answer.status_code == 400
    assert "must be" in answer.json()["error"]


def test_only_pages_of_the_viewer_may_ask(tracker: TrackerService) -> None:
    foreign = {"Origin": "http://evil.example"}
    path = f"{ISSUES_PATH}/{ONE}/resolve"
    assert tracker.client.get(ISSUES_PATH, headers=foreign).status_code == 403
    assert tracker.client.get(ISSUES_PATH, headers={"Host": "evil.example"}).status_code == 403
    assert tracker.client.post(path, json={}, headers=foreign).status_code == 403
    assert tracker.client.options(path, headers=foreign).status_code == 403
    assert tracker.client.post(path, content="{}").status_code == 415
    assert tracker.client.post(path, json={"x": "y" * 20_000}).status_code == 413
    assert tracker.issue(ONE)["state"] == "open"
    page = {"Origin": PAGE}
    preflight = tracker.client.options(path, headers=page)
    assert preflight.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    answer = tracker.client.post(path, json={}, headers=page)
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert answer.json()["state"] == "resolved"


def test_what_is_not_there_is_said(tracker: TrackerService) -> None:
    for method, path in (
        ("GET", "/"),
        ("GET", f"{ISSUES_PATH}/{'9' * 16}"),
        ("GET", f"{ISSUES_PATH}/{ONE}/resolve"),
        ("POST", f"{ISSUES_PATH}/{'9' * 16}/resolve"),
        ("POST", f"{ISSUES_PATH}/{ONE}/delete"),
    ):
        answer = tracker.client.request(method, path, json={} if method == "POST" else None)
        assert answer.status_code == 404
        assert answer.json()["error"]


def test_states_are_counted(tracker: TrackerService) -> None:
    families = text_string_to_metric_families(tracker.client.get("/metrics").text)
    samples = {
        s.labels["state"]: s.value for f in families if f.name == ISSUES.name for s in f.samples
    }
    assert samples.keys() == {"open", "resolved", "ignored"}
    assert sum(samples.values()) == 3
