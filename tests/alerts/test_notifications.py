"""Notifications of each integration, word for word: real Alertmanagers, receivers on loopback."""

import html
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from alerts import alertmanager
from alerts.receivers import Email, ReceiverSettings
from tests import servers
from tests.alerts.receiving import Received, http_server, mail_server

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("every_suite")]

GOLDEN = Path(__file__).parent / "notifications.json"
"""Written by hand, once; ADDRESS stands for Alertmanager's."""
BEGAN, ENDED = "2026-11-23T10:00:00Z", "2026-11-23T10:12:00Z"
ALERT: dict[str, Any] = {
    "labels": {"alertname": "ErrorRatioHigh", "job": "api", "severity": "page"},
    "annotations": {
        "summary": "api fails 6% of its requests",
        "description": "Failed within five minutes: 155. Target: 99.9% without failure.",
        "cause": "pool main is 100% in use",
        "worst_route": "/orders/{id}, 150 bad requests within five minutes",
        "error": "KeyError at shop.orders:<lambda>, 42 within five minutes",
        "issue": "issues/?id=0123456789abcdef",
        "statement": "SELECT orders, 212ms of a request, orders.py:57 in get (f1) & more",
        "deployment": "version 2.0 (abc), 12m ago",
        "trace": "traces/example/?service=api&route=%2Forders%2F%7Bid%7D&reason=error&from=1&to=2",
        "logs": "logs/?service=api&level=error&from=1&to=2",
        "board": "svc-overview",
        "runbook": "ErrorRatioHigh.md",
    },
    "startsAt": BEGAN,
    "generatorURL": "http://prometheus.example/graph",
}
SECRETS = {"pagerduty": "made-up-key", "smtp": "made-up-password"}


class Delivery:
    """An Alertmanager and its receivers."""

    def __init__(self, folder: Path, started: ExitStack) -> None:
        self.received = Received()
        web = started.enter_context(http_server(self.received))
        mail = started.enter_context(mail_server(self.received))
        secrets = {**SECRETS, "slack": f"{web}/slack"}
        for name, text in secrets.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o644)  # the server's account reads it
        folder.chmod(0o755)
        settings = ReceiverSettings(
            webhook=f"{web}/webhook",
            slack_file=str(folder / "slack"),
            pagerduty_file=str(folder / "pagerduty"),
            email=Email("oncall@example.com", "watch@example.com", mail, "watch",
                        str(folder / "smtp")),
            boards="https://boards.example",
            viewer="https://boards.example/user",
            runbooks="https://books.example/runbooks",
        )  # fmt: skip
        alertmanager.write(settings, folder / "alertmanager.yml", folder / "templates")
        (folder / "templates").chmod(0o755)
        config = alertmanager.configuration(
            settings, str(folder / "templates"), alertmanager.FAST_TIMINGS
        )
        # Loopback has no TLS, and PagerDuty's address is fixed.
        config["global"] = {"smtp_require_tls": False, "pagerduty_url": f"{web}/pagerduty"}
        self.alertmanager = servers.start_alertmanager(config)
        started.callback(self.alertmanager.close)
        assert not any(secret in json.dumps(config) for secret in secrets.values())

    def notify(self, **more: str) -> dict[str, Any]:
        """Send an alert; what each receiver got, without what changes from run to run."""
        before = self._arrived()
        response = httpx.post(f"{self.alertmanager.url}/api/v2/alerts", json=[ALERT | more])
        assert response.is_success, response.text
        until(
            lambda: all(now > then for now, then in zip(self._arrived(), before, strict=True)),
            lambda: f"{before} became {self._arrived()}:\n{self.alertmanager.log}",
        )
        text = json.dumps(self._newest()).replace(self.alertmanager.url, "ADDRESS")
        seen: dict[str, Any] = json.loads(text)
        return seen

    def _arrived(self) -> list[int]:
        posts = [len(self.received.posts[f"/{path}"]) for path in ("webhook", "slack", "pagerduty")]
        return [*posts, len(self.received.mails)]

    def _newest(self) -> dict[str, Any]:
        posts, mail = self.received.posts, self.received.mails[-1]
        webhook, pagerduty = posts["/webhook"][-1], posts["/pagerduty"][-1]
        (slack,) = posts["/slack"][-1]["attachments"]
        (alert,) = webhook["alerts"]
        assert webhook["version"] == "4"
        return {
            "webhook": {
                "receiver": webhook["receiver"],
                "status": webhook["status"],
                "groupLabels": webhook["groupLabels"],
                "alert": {name: alert[name] for name in ("status", "labels", "annotations")},
            },
            "slack": {name: slack[name] for name in ("title", "text")},
            "pagerduty": {
                "routing_key": pagerduty["routing_key"],
                "event_action": pagerduty["event_action"],
                "summary": pagerduty.get("payload", {}).get("summary"),
                "severity": pagerduty.get("payload", {}).get("severity"),
                "details": pagerduty.get("payload", {}).get("custom_details", {}).get("text"),
            },
            "mail": {
                "from": mail["From"],
                "to": mail["To"],
                "subject": mail["Subject"],
                "text": _text(mail),
            },
        }


def _text(mail: Any) -> str:
    body = mail.get_body(("plain",))
    return re.sub(r"\r\n", "\n", body.get_content()).rstrip("\n")


def until(holds: Callable[[], bool], explain: Callable[[], str], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)


@pytest.fixture
def delivery(every_suite: str) -> Iterator[Delivery]:
    with ExitStack() as started:
        folder = servers.temporary_folder()
        started.callback(shutil.rmtree, folder)
        yield Delivery(folder, started)


def test_every_integration_is_notified_of_a_page_and_of_its_end(delivery: Delivery) -> None:
    notified = {"firing": delivery.notify(), "resolved": delivery.notify(endsAt=ENDED)}
    assert delivery.received.logins == {f"\0watch\0{SECRETS['smtp']}"}
    assert notified == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("job", ["my api", "a+b", "x&y=1#z", "50%25", 'it\'s "odd" \\ ünï'])
def test_links_lead_to_a_job_of_any_name(delivery: Delivery, job: str) -> None:
    """Alertmanager's page decodes percent signs only: a plus there is a plus."""
    text = delivery.notify(labels=ALERT["labels"] | {"job": job})["mail"]["text"]
    silenced = unquote(_search(r"silences/new\?filter=(\S+)", text))
    assert silenced == f'{{alertname="ErrorRatioHigh",job={json.dumps(job, ensure_ascii=False)}}}'
    board = urlsplit(_search(r"Board: (\S+)", text))
    assert parse_qs(board.query)["var-job"] == [job]
    assert not board.fragment
    runbook = urlsplit(_search(r"Runbook: (\S+)", text))
    assert parse_qs(runbook.query)["var-job"] == [job]
    assert not runbook.fragment


def _search(pattern: str, text: str) -> str:
    found = re.search(pattern, html.unescape(text))
    assert found, text
    return found[1]
