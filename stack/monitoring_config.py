"""Configuration of Prometheus and Alertmanager for this machine.

In fast mode, for a drill, the same rules run many times faster (`python -m alerts --fast`), every
second, and notifications go to the inbox only, so that no one is paged.
"""

import os
from pathlib import Path

from alerts.alertmanager import FAST_TIMINGS, NORMAL_TIMINGS, write
from alerts.receivers import ReceiverSettings
from alerts.rule_files import render
from alerts.time_scale import FAST
from stack import readiness
from stack.installation.paths import CHECKOUT, Installation
from stack.servers import prometheus
from vitals import secure_files

HEARTBEAT = "/heartbeat?within=150"
"""Heartbeat endpoint of the inbox for the watchdog alert, with its deadline in seconds."""
FAST_HEARTBEAT = "/heartbeat/drill?within=8"
SLACK_URL_FILE = "slack"
"""The file, beside Alertmanager's configuration, with the webhook URL that stands in for Slack."""


def write_prometheus(here: Installation, secrets: Path, *, fast: bool) -> Path:
    """Write Prometheus's configuration; returns its file."""
    source = here.readable(CHECKOUT / "prometheus")
    rules, targets = source / "rules", source / "targets"
    if fast:
        folder = here.folder("prometheus")
        rules, targets = folder / "fast-rules", folder / "targets"
        for each in (rules, targets):
            secure_files.make_directory(each, owner=here.owner_of("prometheus"))
        for name, text in render(FAST).items():
            secure_files.write(rules / name, text, owner=here.owner_of("prometheus"))
    text = prometheus.configuration(
        source / "prometheus.yml",
        here.ports,
        secrets,
        rules=rules,
        targets=targets,
        interval="1s" if fast else None,
    )
    return here.write("prometheus", "prometheus.yml", text)


def write_alertmanager(here: Installation, *, fast: bool) -> Path:
    """Write Alertmanager's configuration; returns its file.

    ALERT_* environment variables name the receivers; by default it is the inbox.
    """
    inbox = f"http://{readiness.LOOPBACK}:{here.ports.inbox}"
    defaults = {
        "ALERT_WEBHOOK_URL": f"{inbox}/",
        "ALERT_HEARTBEAT_URL": f"{inbox}{FAST_HEARTBEAT if fast else HEARTBEAT}",
        "ALERT_BOARD_URL": f"http://{readiness.LOOPBACK}:{here.ports.prometheus}/user",
        "ALERT_RUNBOOK_URL": f"{inbox}/runbooks",
        "ALERT_SLACK_URL_FILE": str(here.write("alertmanager", SLACK_URL_FILE, f"{inbox}/slack")),
    }
    configured = {} if fast else {name: text for name, text in os.environ.items() if text}
    overridden = {name.removesuffix("_FILE") for name in configured}
    chosen = {name: url for name, url in defaults.items() if name not in overridden} | configured
    folder = here.folder("alertmanager")
    path, timing = folder / "alertmanager.yml", FAST_TIMINGS if fast else NORMAL_TIMINGS
    owner = here.owner_of("alertmanager")
    write(ReceiverSettings.read(chosen), path, folder / "templates", timing, owner)
    return path
