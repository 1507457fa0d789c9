"""Each integration: what is rendered is valid, and the service takes what Alertmanager sends."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts import alertmanager
from alerts.alert import Severity
from alerts.integrations import integrations
from alerts.receivers import InvalidReceiverSettingsError, ReceiverSettings
from stack.inbox.text_rendering import without_markup
from tests import servers
from tests.alerts.demanding import services

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("every_suite")]

VARIABLES: dict[str, dict[str, str]] = {
    "webhook": {"ALERT_WEBHOOK_URL": "https://hooks.example/in"},
    "slack": {"ALERT_SLACK_URL_FILE": "https://hooks.slack.com/services/T0/B0/made-up"},
    "discord": {"ALERT_DISCORD_URL_FILE": "https://discord.com/api/webhooks/1/made-up"},
    "relay": {"ALERT_RELAY_URL": "http://127.0.0.1:9094/apprise"},
    "pagerduty": {"ALERT_PAGERDUTY_KEY_FILE": "made-up-key"},
    "pagerduty in the EU": {
        "ALERT_PAGERDUTY_KEY_FILE": "made-up-key",
        "ALERT_PAGERDUTY_URL": "https://events.eu.pagerduty.com/v2/enqueue",
    },
    "opsgenie": {"ALERT_OPSGENIE_KEY_FILE": "made-up-key"},
    "opsgenie in the EU": {
        "ALERT_OPSGENIE_KEY_FILE": "made-up-key",
        "ALERT_OPSGENIE_URL": "https://api.eu.opsgenie.com/",
    },
    "mail": {
        "ALERT_EMAIL_TO": "oncall@example.com",
        "ALERT_EMAIL_FROM": "watch@example.com",
        "ALERT_SMTP_HOST": "mail.example.com:587",
        "ALERT_SMTP_USER": "watch",
        "ALERT_SMTP_PASSWORD_FILE": "made-up-password",
    },
    "mail without TLS": {
        "ALERT_EMAIL_TO": "oncall@example.com",
        "ALERT_EMAIL_FROM": "watch@example.com",
        "ALERT_SMTP_HOST": "127.0.0.1:25",
        "ALERT_SMTP_TLS": "none",
    },
}
"""What each kind of receiver needs; a value of a variable `_FILE` is the file's content."""


def _settings(variables: dict[str, str], folder: Path) -> ReceiverSettings:
    given = {}
    for name, text in variables.items():
        given[name] = text
        if name.endswith("_FILE"):
            file = folder / name
            file.write_text(text)
            file.chmod(0o644)  # the server's account reads it
            given[name] = str(file)
    return ReceiverSettings.read(given)


@pytest.mark.parametrize("kind", VARIABLES)
def test_alertmanager_accepts_each_kind_alone(kind: str, tmp_path: Path) -> None:
    settings = _settings(VARIABLES[kind], tmp_path)
    assert settings.has_receivers
    file = tmp_path / "alertmanager.yml"
    alertmanager.write(settings, file, tmp_path / "templates")
    done = subprocess.run(
        ["amtool", "check-config", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
    (name,) = integrations(settings, Severity.PAGE)
    assert f"{name}:" in file.read_text()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ALERT_PAGERDUTY_URL": "https://events.eu.pagerduty.com"}, "also needs ALERT_PAGERDUTY_"),
        ({"ALERT_OPSGENIE_URL": "https://api.eu.opsgenie.com"}, "also needs ALERT_OPSGENIE_KEY_"),
        ({"ALERT_SMTP_TLS": "maybe"}, "ALERT_SMTP_TLS: must be required or none"),
        ({"ALERT_APPRISE_URLS_FILE": "ntfy://x"}, "set ALERT_RELAY_URL"),
    ],
)
def test_what_is_missing_is_named(variables: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidReceiverSettingsError, match=message):
        _settings(variables, tmp_path)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account may enter."""
    made = servers.temporary_folder()
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_each_service_takes_a_page_and_its_end(folder: Path) -> None:
    with services() as (web, kept):
        variables = {
            "ALERT_SLACK_URL_FILE": f"{web}/slack",
            "ALERT_DISCORD_URL_FILE": f"{web}/discord",
            "ALERT_RELAY_URL": f"{web}/relay",
            "ALERT_PAGERDUTY_KEY_FILE": "made-up-key",
            "ALERT_PAGERDUTY_URL": f"{web}/pagerduty",
            "ALERT_OPSGENIE_KEY_FILE": "made-up-key",
            "ALERT_OPSGENIE_URL": f"{web}/opsgenie/",
        }
        settings = _settings(variables, folder)
        templates = folder / "templates"
        alertmanager.write(settings, folder / "alertmanager.yml", templates)
        config = alertmanager.configuration(settings, str(templates), alertmanager.FAST_TIMINGS)
        running = servers.start_alertmanager(config)
        try:
            _post(running.url)
            begun = {"/slack", "/discord", "/relay", "/pagerduty", "/opsgenie/v2/alerts"}
            _until(lambda: begun <= kept.taken.keys(), kept)
            _post(running.url, endsAt="2026-11-23T10:12:00Z")
            ends = {"/slack": 2, "/discord": 2, "/relay": 2, "/pagerduty": 2, "/opsgenie/close": 1}
            _until(lambda: all(len(kept.taken.get(at, [])) >= n for at, n in ends.items()), kept)
        finally:
            running.close()
    title = "[FIRING 1] ErrorRatioHigh api"
    opened, taken = kept.taken["/opsgenie/v2/alerts"][0], kept.taken
    (slack,), (embed,) = taken["/slack"][0]["attachments"], taken["/discord"][0]["embeds"]
    assert (slack["title"], slack["color"]) == (title, "danger")
    assert taken["/slack"][1]["attachments"][0]["color"] == "good"
    assert taken["/relay"][0]["attachments"][0]["text"] == slack["text"]
    assert embed["title"] == title
    assert embed["description"].split() == without_markup(slack["text"]).split()
    assert (opened["message"], opened["priority"]) == (title, "P1")
    assert opened["description"].split() == embed["description"].split()
    assert taken["/opsgenie/close"][0]["closed"] == opened["alias"]
    trigger, resolve = taken["/pagerduty"][:2]
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert "api fails 6% of its requests" in trigger["payload"]["custom_details"]["text"]


def _post(url: str, **more: str) -> None:
    alert: dict[str, Any] = {
        "labels": {"alertname": "ErrorRatioHigh", "job": "api", "severity": "page"},
        "annotations": {
            "summary": "api fails 6% of its requests",
            "description": "Failed within five minutes: 155.",
            "board": "svc-overview",
            "runbook": "ErrorRatioHigh.md",
        },
        "startsAt": "2026-11-23T10:00:00Z",
    }
    httpx.post(f"{url}/api/v2/alerts", json=[alert | more]).raise_for_status()


def _until(condition: Any, kept: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert not kept.refused, kept.refused
        assert time.monotonic() < deadline, kept.taken
        time.sleep(0.05)
