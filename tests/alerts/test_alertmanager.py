"""The rendered Alertmanager configuration, checked by amtool."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.__main__ import main
from alerts.alertmanager import (
    FAST_TIMINGS,
    HEARTBEAT,
    ISSUES,
    NORMAL_TIMINGS,
    GroupTimings,
    configuration,
    write,
)
from alerts.receivers import Email, ReceiverSettings
from alerts.rule_files import every_alert
from stack.inbox.text_rendering import without_markup

pytestmark = pytest.mark.slow

WEBHOOK = ReceiverSettings(webhook="http://127.0.0.1:9094/")


def amtool(*arguments: str | Path) -> str:
    """Run amtool; its output becomes the failure's message."""
    done = subprocess.run(["amtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def secret(folder: Path, name: str, content: str = "s3cret-made-up") -> str:
    path = folder / name
    path.write_text(content)
    path.chmod(0o600)
    return str(path)


def everything(folder: Path) -> ReceiverSettings:
    return ReceiverSettings(
        webhook="https://hooks.example/in",
        heartbeat="https://beat.example/watch",
        slack_file=secret(folder, "slack", "https://hooks.slack.example/s3cret-made-up"),
        pagerduty_file=secret(folder, "pagerduty"),
        email=Email(
            "oncall@example.com",
            "watch@example.com",
            "mail.example.com:587",
            "watch",
            secret(folder, "smtp"),
        ),
        boards="https://boards.example",
        viewer="https://boards.example/user",
        runbooks="https://books.example/runbooks",
    )


@pytest.mark.usefixtures("every_suite")
@pytest.mark.parametrize("which", ["none", "webhook", "everything"])
@pytest.mark.parametrize("timings", [NORMAL_TIMINGS, FAST_TIMINGS], ids=["normal", "fast"])
def test_alertmanager_accepts_what_is_rendered(tmp_path: Path, which: str, timings: object) -> None:
    settings = {
        "none": ReceiverSettings(),
        "webhook": WEBHOOK,
        "everything": everything(tmp_path),
    }[which]
    file = tmp_path / "made" / "alertmanager.yml"
    write(
        settings,
        file,
        file.parent / "templates",
        FAST_TIMINGS if timings is FAST_TIMINGS else NORMAL_TIMINGS,
    )

    output = amtool("check-config", file)

    assert "5 receivers" in output
    assert "SUCCESS" in output


@pytest.mark.usefixtures("every_suite")
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("alertname=ErrorRatioHigh severity=page job=api", "page"),
        ("alertname=LatencyP95High severity=ticket job=api", "ticket"),
        ("alertname=Watchdog severity=none", "heartbeat"),
        ("alertname=Anything severity=none", "null"),
        ("alertname=Foreign job=api", "ticket"),
        ("alertname=Foreign severity=critical", "ticket"),
    ],
)
def test_each_severity_goes_to_its_receiver(tmp_path: Path, labels: str, receivers: str) -> None:
    file = tmp_path / "alertmanager.yml"
    write(WEBHOOK, file, tmp_path / "templates")
    amtool(
        *("config", "routes", "test", f"--config.file={file}", f"--verify.receivers={receivers}"),
        *labels.split(),
    )


def test_every_alert_goes_to_the_receiver_of_its_severity(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    write(WEBHOOK, file, tmp_path / "templates")
    own = {"Watchdog": HEARTBEAT, "ErrorNew": ISSUES, "ErrorReopened": ISSUES}
    for alert in every_alert():
        receiver = own.get(alert.name, alert.severity)
        amtool(
            *("config", "routes", "test", f"--config.file={file}"),
            *(f"--verify.receivers={receiver}", f"alertname={alert.name}"),
            *(f"severity={alert.severity}", "job=api"),
        )


def test_the_end_of_an_issue_is_not_notified(tmp_path: Path) -> None:
    write(everything(tmp_path), tmp_path / "alertmanager.yml", tmp_path / "templates")
    config = yaml.safe_load((tmp_path / "alertmanager.yml").read_text())
    receivers = {each.pop("name"): each for each in config["receivers"]}
    assert receivers["issues"].keys() == receivers["ticket"].keys()
    for kind, integrations in receivers["issues"].items():
        expected = [{**each, "send_resolved": False} for each in receivers["ticket"][kind]]
        assert integrations == expected
    (route,) = (each for each in config["route"]["routes"] if each["receiver"] == "issues")
    assert "fingerprint" in route["group_by"]


def test_only_pages_go_to_pagerduty(tmp_path: Path) -> None:
    write(everything(tmp_path), tmp_path / "alertmanager.yml", tmp_path / "templates")
    config = yaml.safe_load((tmp_path / "alertmanager.yml").read_text())
    integrations = {receiver["name"]: {*receiver} - {"name"} for receiver in config["receivers"]}
    common = {"webhook_configs", "slack_configs", "email_configs"}
    assert integrations["page"] == common | {"pagerduty_configs"}
    assert integrations["ticket"] == common
    assert integrations["heartbeat"] == {"webhook_configs"}
    assert integrations["null"] == set()


def test_a_ticket_waits_longer_than_a_page(tmp_path: Path) -> None:
    for timings, page, ticket in ((NORMAL_TIMINGS, "10s", "30s"), (FAST_TIMINGS, "1s", "4s")):
        write(WEBHOOK, tmp_path / "alertmanager.yml", tmp_path / "templates", timings)
        route = yaml.safe_load((tmp_path / "alertmanager.yml").read_text())["route"]
        assert route["group_wait"] == ticket
        waits = {found["receiver"]: found.get("group_wait") for found in route["routes"]}
        assert waits["page"] == page


@pytest.mark.parametrize("timings", [NORMAL_TIMINGS, FAST_TIMINGS], ids=["normal", "fast"])
def test_the_heartbeat_is_repeated_at_each_interval(timings: GroupTimings) -> None:
    """It is sent at the first multiple of the group interval after the repeat interval."""
    route = configuration(WEBHOOK, "templates", timings)["route"]["routes"][0]
    assert route["receiver"] == HEARTBEAT
    group, repeat = (_milliseconds(route[name]) for name in ("group_interval", "repeat_interval"))
    sent = -(-repeat // group) * group
    assert sent == (60_000 if timings is NORMAL_TIMINGS else 2_000)
    assert sent - repeat >= 500, "a tick that comes early would be skipped"
    assert repeat - (sent - group) >= 500, "a tick that comes late would send twice"


def _milliseconds(duration: str) -> int:
    return int(duration[:-2]) if duration.endswith("ms") else int(duration[:-1]) * 1000


def test_secrets_stay_in_their_files_and_the_configuration_is_private(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text("old and readable")
    file.chmod(0o644)

    write(everything(tmp_path), file, tmp_path / "templates")

    assert file.stat().st_mode & 0o777 == 0o600
    written = [file, *(tmp_path / "templates").iterdir()]
    assert not [path for path in written if "s3cret-made-up" in path.read_text()]
    assert not [*tmp_path.glob(".*")]


@pytest.mark.usefixtures("every_suite")
def test_the_templates_render_the_alert_and_its_links(tmp_path: Path) -> None:
    write(everything(tmp_path), tmp_path / "alertmanager.yml", tmp_path / "templates")

    assert _render(tmp_path) == (
        "[FIRING 1] LatencyP95High api\n"
        "FIRING since 23 Nov 10:00:00 UTC (ticket)\n"
        "  api is slow: p95 is 475ms\n"
        "  Target: 250ms at p95.\n"
        "  Board: https://boards.example/d/svc-overview?var-job=api"
        "&from=1795426200000&to=now\n"
        "  Runbook: https://books.example/runbooks/LatencyP95High.md"
        "?var-alertname=LatencyP95High&var-job=api&var-severity=ticket"
        "&from=1795426200000&to=now\n"
        "  Silence: http://127.0.0.1:9093/#/silences/new?filter="
        "%7Balertname%3D%22LatencyP95High%22%2Cjob%3D%22api%22%7D\n"
        "RESOLVED after 12m0s (ticket)\n"
        "  api is slow on /login: p95 is 1s\n"
    )


@pytest.mark.usefixtures("every_suite")
def test_alerts_of_one_message_share_what_they_have_in_common(tmp_path: Path) -> None:
    """Their links, and a description or cause that is that of the one before."""
    write(everything(tmp_path), tmp_path / "alertmanager.yml", tmp_path / "templates")
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": "InstanceDown", "job": "api", "severity": "ticket"},
            "annotations": {
                "summary": f"{instance} of api is down",
                "description": "Some or all scrapes failed.",
                "cause": "event loop lag of a is 2s",
                "board": "svc-runtime",
                "runbook": "InstanceDown.md",
            },
            "startsAt": "2026-11-23T10:00:00Z",
        }
        for instance in ("a", "b", "c")
    ]
    text = _rendered(tmp_path, alerts)
    assert text.splitlines()[:8] == [
        "[FIRING 3] InstanceDown api",
        "FIRING since 23 Nov 10:00:00 UTC (ticket)",
        "  a of api is down",
        "  Some or all scrapes failed.",
        "  Possible cause: event loop lag of a is 2s",
        "FIRING since 23 Nov 10:00:00 UTC (ticket)",
        "  b of api is down",
        "FIRING since 23 Nov 10:00:00 UTC (ticket)",
    ]
    for link in ("Board: ", "Runbook: ", "Silence: "):
        assert text.count(link) == 1


def _routes(number: int) -> list[dict[str, Any]]:
    """Alerts of one message, each of a route of its own."""
    return [
        {
            "status": "firing",
            "labels": {"alertname": "RouteFails", "job": "api", "severity": "page"},
            "annotations": {
                "summary": f"GET /{route}/{{id}} of api fails",
                "description": f"{route} of 10 requests failed.",
                "error": f"KeyError at shop.orders:<{route}>",
                "issue": f"issues/?id={route}",
                "deployment": "version 2 (a&b), 5m ago",
                "trace": f"traces/example/?service=api&route=%2F{route}",
                "logs": "logs/?service=api",
                "board": "svc-endpoint",
                "runbook": "RouteFails.md",
            },
            "startsAt": "2026-11-23T10:00:00Z",
        }
        for route in range(number)
    ]


@pytest.mark.usefixtures("every_suite")
def test_of_many_alerts_few_have_their_lines_and_the_last_are_a_number(tmp_path: Path) -> None:
    """Receivers cut long messages off at their end, where the links are."""
    write(everything(tmp_path), tmp_path / "alertmanager.yml", tmp_path / "templates")
    text = _rendered(tmp_path, _routes(25))
    assert text.count("FIRING since") == 10
    assert "\nand others, 25 in all\n" in text
    assert text.count("Newest error: ") == text.count("  Trace: ") == text.count("Issue: ") == 3
    assert text.count("Last deployment: ") == text.count("  Logs: ") == 1
    assert "Silence: " in text
    assert "and others" not in _rendered(tmp_path, _routes(10))
    assert len(_rendered(tmp_path, _routes(1))) < 2048, "what Discord shows"


@pytest.mark.usefixtures("every_suite")
def test_slack_gets_titles_of_links_and_its_characters_escaped(tmp_path: Path) -> None:
    write(everything(tmp_path), tmp_path / "alertmanager.yml", tmp_path / "templates")
    text = _rendered(tmp_path, _routes(1), "vitals.slack_")
    assert "shop.orders:&lt;0&gt;" in text
    assert "version 2 (a&amp;b), 5m ago\n  <https://boards.example/user/traces/example/" in text
    titles = re.findall(r"<https?://[^|>\s]+\|(\w+)>", text)
    assert titles == ["Trace", "Issue", "Logs", "Board", "Runbook", "Silence"]
    plain = _rendered(tmp_path, _routes(1))
    assert without_markup(text).split() == plain.split(), "what Apprise passes on"


@pytest.mark.usefixtures("every_suite")
def test_an_end_is_not_told_of_an_alert_whose_begin_was_not(tmp_path: Path) -> None:
    write(WEBHOOK, tmp_path / "alertmanager.yml", tmp_path / "templates")
    ended = [
        alert
        | {"status": "resolved", "endsAt": "2026-11-23T10:05:00Z"}
        | {"annotations": alert["annotations"] | {"notified": "no" if number != 1 else ""}}
        for number, alert in enumerate(_routes(3))
    ]
    text = _rendered(tmp_path, ended, "vitals.slack_")
    assert text.splitlines()[1:] == ["RESOLVED after 5m0s (page)", "  GET /1/{id} of api fails"]


@pytest.mark.usefixtures("every_suite")
def test_without_the_viewer_there_are_no_links_to_it(tmp_path: Path) -> None:
    write(WEBHOOK, tmp_path / "alertmanager.yml", tmp_path / "templates")
    for kind in ("vitals.", "vitals.slack_"):
        text = _rendered(tmp_path, _routes(1), kind)
        assert "Newest error: " in text
        assert "traces/" not in text
        assert "Trace" not in text


@pytest.mark.usefixtures("every_suite")
@pytest.mark.parametrize("name", ['it\'s "odd" ünï', "[a-b] *?{c} \\"])
def test_the_templates_are_found_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / "alertmanager.yml"
    write(WEBHOOK, file, file.parent / "templates")
    amtool("check-config", file)
    (file.parent / "templates" / "unfinished.tmpl").write_text('{{ define "unfinished"')
    with pytest.raises(AssertionError, match="unfinished"):
        amtool("check-config", file)


def test_without_addresses_the_runbook_is_a_path_in_the_project(tmp_path: Path) -> None:
    write(WEBHOOK, tmp_path / "alertmanager.yml", tmp_path / "templates")
    text = _render(tmp_path)
    assert "Board:" not in text
    assert "Runbook: alerts/runbooks/LatencyP95High.md\n" in text


def _render(folder: Path) -> str:
    alert = {
        "status": "firing",
        "labels": {"alertname": "LatencyP95High", "job": "api", "severity": "ticket"},
        "annotations": {
            "summary": "api is slow: p95 is 475ms",
            "description": "Target: 250ms at p95.",
            "board": "svc-overview",
            "runbook": "LatencyP95High.md",
        },
        "startsAt": "2026-11-23T10:00:00Z",
    }
    over = {
        **alert,
        "status": "resolved",
        "annotations": {"summary": "api is slow on /login: p95 is 1s"},
        "endsAt": "2026-11-23T10:12:00Z",
    }
    return _rendered(folder, [alert, over])


def _rendered(folder: Path, alerts: list[dict[str, Any]], kind: str = "vitals.") -> str:
    data = {
        "status": "firing",
        "alerts": alerts,
        "commonLabels": alerts[0]["labels"],
        "externalURL": "http://127.0.0.1:9093",
    }
    (folder / "data.json").write_text(json.dumps(data))
    return amtool(
        *("template", "render", f"--template.glob={folder}/templates/*.tmpl"),
        f"--template.data={folder}/data.json",
        f'--template.text={{{{ template "{kind}title" . }}}}\n{{{{ template "{kind}text" . }}}}',
    )


def test_the_command_reads_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "made" / "alertmanager.yml"
    monkeypatch.setenv("ALERT_WEBHOOK_URL_FILE", secret(tmp_path, "hook", "http://h.example/x\n"))

    assert main(["alertmanager", "--output", str(file)]) == 0

    assert yaml.safe_load(file.read_text())["receivers"][0] == {
        "name": "page",
        "webhook_configs": [
            {"url": "http://h.example/x", "max_alerts": 100, "send_resolved": True}
        ],
    }
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("ALERT_WEBHOOK_URL_FILE")
    assert main(["alertmanager", "--output", str(file)]) == 0
    assert "alerts will not be sent" in capsys.readouterr().err


def test_the_command_names_the_error_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALERT_WEBHOK_URL", "http://h.example/x")
    file = tmp_path / "alertmanager.yml"
    assert main(["alertmanager", "--output", str(file)]) == 2
    assert "ALERT_WEBHOK_URL: unknown" in capsys.readouterr().err
    assert not file.exists()
