"""The inbox: accepts and shows Alertmanager's messages, and survives everything else."""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.inbox import heartbeats, server

MESSAGE: dict[str, Any] = {
    "version": "4",
    "receiver": "page",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "TargetDown", "severity": "page", "job": "<b>api</b>"},
            "annotations": {"summary": "api is down", "runbook": "http://example.com/runbook"},
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
        }
    ],
}


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[httpx.Client]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client:
            yield client
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with serving(server.build(0)) as client:
        yield client


def test_a_notification_is_shown_as_json(
    client: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    assert client.post("/", json=MESSAGE).is_success
    (note,) = client.get("/").json()["notifications"]
    assert (note["alert"], note["severity"], note["status"]) == ("TargetDown", "page", "firing")
    assert note["links"] == {"runbook": "http://example.com/runbook"}
    assert "FIRING page TargetDown [job=<b>api</b>] api is down" in capsys.readouterr().out


def test_a_browser_gets_a_page_with_all_text_escaped(client: httpx.Client) -> None:
    hostile = MESSAGE["alerts"][0] | {"annotations": {"summary": "<script>x</script>"}}
    client.post("/", json=MESSAGE | {"alerts": [hostile]})
    page = client.get("/", headers={"Accept": "text/html"}).text
    assert "TargetDown" in page
    assert "<script>" not in page


def test_only_the_last_200_are_stored_newest_first(client: httpx.Client) -> None:
    for number in range(15):
        alerts = [
            MESSAGE["alerts"][0] | {"annotations": {"summary": f"{number}-{index}"}}
            for index in range(20)
        ]
        client.post("/", json=MESSAGE | {"alerts": alerts})
    kept = client.get("/").json()["notifications"]
    assert len(kept) == 200
    assert kept[0]["summary"] == "14-19"


def test_a_heartbeat_is_recorded_and_is_not_a_notification(client: httpx.Client) -> None:
    assert client.get("/").json()["heartbeat"] == ""
    client.post("/heartbeat", json=MESSAGE)
    content = client.get("/").json()
    assert content["heartbeat"]
    assert content["notifications"] == []


def test_a_missed_heartbeat_and_its_recovery_are_reported_once() -> None:
    now, changes = [0.0], []
    monitor = heartbeats.Heartbeats(
        lambda *change: changes.append(change[:2]), clock=lambda: now[0]
    )
    monitor.record("/heartbeat", within=10)
    monitor.record("/heartbeat/without-deadline")
    now[0] = 9.0
    monitor.check()
    assert changes == []
    now[0] = 11.0
    monitor.check()
    monitor.check()
    assert changes == [("/heartbeat", True)]
    monitor.record("/heartbeat", within=10)
    assert changes[1:] == [("/heartbeat", False)]
    monitor.forget("/heartbeat")
    now[0] = 99.0
    monitor.check()
    assert len(changes) == 2


def test_a_missed_watchdog_is_a_notification(client: httpx.Client) -> None:
    client.post("/heartbeat?within=0.01", json=MESSAGE)
    notes = until(lambda: client.get("/").json()["notifications"])
    assert [(note["status"], note["alert"]) for note in notes] == [("firing", "Watchdog")]
    client.post("/heartbeat?within=99", json=MESSAGE)
    newest = client.get("/").json()["notifications"][0]
    assert (newest["status"], newest["starts"]) == ("resolved", notes[0]["starts"])


def until(condition: Callable[[], list[Any]]) -> list[Any]:
    deadline = time.monotonic() + 10
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_a_slack_message_is_stored(client: httpx.Client) -> None:
    message = {"attachments": [{"title": "[FIRING 1] TargetDown api", "text": "it is down"}]}
    assert client.post("/slack", json=message).text == "ok"
    (kept,) = client.get("/").json()["messages"]
    assert (kept["title"], kept["text"]) == ("[FIRING 1] TargetDown api", "it is down")


def test_only_runbooks_are_served(client: httpx.Client) -> None:
    assert client.get("/runbooks/TargetDown.md").text.startswith("# TargetDown\n")
    for path in ("/runbooks/Nothing.md", "/runbooks/%2e%2e/alert.py"):
        assert client.get(path).status_code == 404, path


def test_an_unknown_path_is_refused(client: httpx.Client) -> None:
    assert client.post("/revoked", json=MESSAGE).status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"alerts": [{}]}', b'{"alerts": 3}', b"\xff"])
def test_an_invalid_message_is_refused(client: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert client.post("/", content=body, headers=headers).status_code == 400
    assert client.get("/").json()["notifications"] == []


def test_a_huge_body_is_refused(client: httpx.Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.base_url.port)
    connection.putrequest("POST", "/")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "5000000")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", None]
)
def test_only_json_is_accepted(client: httpx.Client, kind: str | None) -> None:
    """Pages can send other types, such as forms, without a CORS preflight."""
    headers = {} if kind is None else {"Content-Type": kind}
    for path in ("/", "/slack", "/heartbeat?within=1"):
        response = client.post(path, content=json.dumps(MESSAGE), headers=headers)
        assert response.status_code == 415, path
    content = client.get("/").json()
    assert (content["notifications"], content["messages"], content["heartbeat"]) == ([], [], "")
    json_too = {"Content-Type": "application/json; charset=utf-8"}
    assert client.post("/", content=json.dumps(MESSAGE), headers=json_too).is_success


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.test"}, {"Origin": "null"}, {"Host": "evil.test:9094"}]
)
def test_cross_site_requests_are_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    client.post("/", json=MESSAGE)
    client.post("/heartbeat?within=99", json=MESSAGE)
    for method, path in (
        *(("GET", "/"), ("GET", "/runbooks/TargetDown.md"), ("POST", "/"), ("POST", "/slack")),
        *(("POST", "/heartbeat?within=0.01"), ("DELETE", "/heartbeat"), ("OPTIONS", "/")),
    ):
        response = client.request(method, path, json=MESSAGE, headers=headers)
        assert response.status_code in {403, 501}, (method, path)
        assert "TargetDown" not in response.text
        assert "access-control-allow-origin" not in response.headers
    assert len(client.get("/").json()["notifications"]) == 1


def test_configured_host_names_are_accepted() -> None:
    with serving(server.build(0, names=["inbox"])) as client:
        assert client.get("/", headers={"Host": "inbox:9094"}).is_success
        assert client.get("/", headers={"Host": "outbox:9094"}).status_code == 403


def test_a_failed_request_that_cannot_be_logged_does_not_end_the_server() -> None:
    code = """
import os, socket, sys, threading
from stack.inbox.server import build
server = build(0)
serve = server.process_request
def refuse(request, address):
    server.process_request = serve
    raise RuntimeError("can't start new thread")
server.process_request = refuse
threading.Thread(target=server.serve_forever, daemon=True).start()
socket.create_connection(server.server_address).close()
with socket.create_connection(server.server_address, 20) as second:
    second.sendall(b"GET / HTTP/1.0\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
    os._exit(42 if second.recv(100).startswith(b"HTTP/1.0 200") else 1)
"""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=full, check=False, timeout=60
        )
    assert done.returncode == 42
