"""Ends of alerts that were not notified are marked: a real Alertmanager behind the gate."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from stack.inbox import gate, server
from stack.inbox.notified import NotifiedAlerts
from tests import servers
from tests.stack.inbox.test_gate import serving


def _alert(instance: str, *, began: int = 0, ended: bool = False) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "labels": {"alertname": "InstanceDown", "job": "api", "instance": instance},
        "annotations": {"summary": f"{instance} is down"},
        "startsAt": (now + timedelta(seconds=began)).isoformat(),
        "endsAt": (now + timedelta(seconds=0 if ended else 300)).isoformat(),
    }


def _message(instance: str, status: str) -> dict[str, Any]:
    return {"alerts": [_alert(instance) | {"status": status}]}


def _marked(notified: NotifiedAlerts, *alerts: dict[str, Any]) -> list[str]:
    marked = json.loads(notified.mark(json.dumps(alerts).encode()))
    return [alert["annotations"].get("notified", "") for alert in marked]


def test_only_the_end_of_what_was_not_told_is_marked() -> None:
    notified = NotifiedAlerts()
    notified.note(_message("a", "firing"))
    assert _marked(notified, _alert("a", ended=True), _alert("b", ended=True)) == ["", "no"]
    assert _marked(notified, _alert("b")) == [""], "it fires"
    assert _marked(notified, _alert("b", began=-60, ended=True)) == [""], "not known"
    notified.note(_message("a", "resolved"))
    assert _marked(notified, _alert("a", ended=True)) == ["no"], "Prometheus repeats an end"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"{}", b'[{"labels": 1}]', b"[{}]"])
def test_a_body_that_is_none_of_prometheus_is_passed_on_as_it_is(body: bytes) -> None:
    assert NotifiedAlerts().mark(body) == body


@pytest.mark.servers
def test_an_end_lists_no_sibling_that_was_silenced_all_the_time() -> None:
    inbox = server.build(0)
    with serving(inbox) as client:
        address = str(client.base_url).rstrip("/")
        # The gate comes after Alertmanager, whose configuration names it: a free port meanwhile.
        proxy = gate.build(0, "http://127.0.0.1:1")
        notified = f"http://127.0.0.1:{proxy.server_port}/notified"
        hooks = [{"url": f"{address}/"}, {"url": notified}]
        route = {"receiver": "all", "group_by": ["alertname"], "group_wait": "1s",
                 "group_interval": "1s"}  # fmt: skip
        alertmanager = servers.start_alertmanager(
            {"route": route, "receivers": [{"name": "all", "webhook_configs": hooks}]}
        )
        try:
            proxy.RequestHandlerClass.upstreams = [urlsplit(alertmanager.url)]  # type: ignore[attr-defined]
            with serving(proxy) as watched:
                _tell(client, watched)
        finally:
            alertmanager.close()


def _tell(inbox: httpx.Client, gated: httpx.Client) -> None:
    def notified() -> list[tuple[str, str]]:
        found = inbox.get("/").json()["notifications"]
        return [(each["labels"]["instance"], each["status"]) for each in found]

    silence = {
        "matchers": [{"name": "instance", "value": "b", "isRegex": False}],
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "createdBy": "test",
        "comment": "",
    }
    silenced = gated.post("/api/v2/silences", json=silence)
    assert silenced.is_success, silenced.text
    begun = [_alert("a"), _alert("b")]
    gated.post("/api/v2/alerts", json=begun).raise_for_status()
    _until(lambda: ("a", "firing") in notified())
    ends = datetime.now(UTC).isoformat()
    gated.delete(f"/api/v2/silence/{silenced.json()['silenceID']}").raise_for_status()
    gated.post("/api/v2/alerts", json=[each | {"endsAt": ends} for each in begun])
    _until(lambda: ("a", "resolved") in notified())
    assert not [instance for instance, _ in notified() if instance == "b"]


def _until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
