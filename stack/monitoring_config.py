"""Configuration of Prometheus and Alertmanager for this machine.

In fast mode, for a drill, the same rules run many times faster (`python -m alerts --fast`), every
second, and notifications go to the inbox only, so that no one is paged.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from alerts.alertmanager import FAST_TIMINGS, NORMAL_TIMINGS, write
from alerts.receivers import ReceiverSettings
from alerts.rule_files import render
from alerts.time_scale import FAST
from stack import readiness
from stack.installation.paths import CHECKOUT, Installation
from stack.installation.ports import Ports
from stack.servers import prometheus
from stack.watched_services import WatchedService
from vitals import secure_files

HEARTBEAT = "/heartbeat?within=150"
"""Heartbeat endpoint of the inbox for the watchdog alert, with its deadline in seconds."""
FAST_HEARTBEAT = "/heartbeat/drill?within=8"
SLACK_URL_FILE = "slack"
"""The file, beside Alertmanager's configuration, with the webhook URL that stands in for Slack."""
PAGERDUTY_KEY_FILE = "pagerduty"
"""The file beside it with a key that stands in for PagerDuty's."""
APPRISE_FILE = "ALERT_APPRISE_URLS_FILE"
"""Names a file of Apprise's addresses, to which the inbox passes messages on."""
_MAIL = ("ALERT_EMAIL", "ALERT_SMTP")


def _kind(name: str) -> str:
    """What a variable configures: all variables of mail, or of PagerDuty, belong together."""
    if name.startswith(_MAIL):
        return "mail"
    return "ALERT_PAGERDUTY" if name.startswith("ALERT_PAGERDUTY") else name.removesuffix("_FILE")


def viewer_url(here: Installation) -> str:
    """The URL of the viewer, whose pages are below it: the public one, or that of Prometheus."""
    if here.public:
        return here.public.origin
    return f"http://{readiness.LOOPBACK}:{here.ports.prometheus}/user"


def write_prometheus(
    here: Installation,
    secrets: Path,
    *,
    fast: bool,
    targets: Path | None = None,
    watched: Sequence[WatchedService] = (),
    pair: Sequence[Ports] = (),
    replica: str = "",
) -> Path:
    """Write Prometheus's configuration; returns its file.

    Args:
        here: The installation.
        secrets: Folder of the secrets that Prometheus sends to its targets.
        fast: For a drill.
        targets: Folder of the files of targets, which is made; by default the project's.
        watched: Services in place of the API.
        pair: Ports of both halves of a pair, which each scrapes and notifies.
        replica: What tells the two Prometheus of a pair apart.
    """
    source = here.readable(CHECKOUT / "prometheus")
    rules, owner = source / "rules", here.owner_of("prometheus")
    if targets:
        secure_files.make_directory(targets, owner=owner)
    if fast:
        rules = here.folder("prometheus") / "fast-rules"
        secure_files.make_directory(rules, owner=owner)
        for name, text in render(FAST).items():
            secure_files.write(rules / name, text, owner=owner)
    text = prometheus.configuration(
        source / "prometheus.yml",
        here.ports,
        secrets,
        rules=rules,
        targets=targets or source / "targets",
        interval="1s" if fast else None,
        jobs=[service.scrape_job(here) for service in watched],
        pair=pair,
        replica=replica,
    )
    return here.write("prometheus", "prometheus.yml", text)


def write_alertmanager(
    here: Installation,
    *,
    fast: bool,
    mail_port: int | None = None,
    gates: Sequence[int] = (),
) -> Path:
    """Write Alertmanager's configuration; returns its file.

    ALERT_* environment variables name the receivers; by default it is the inbox, which gets what
    each kind of receiver gets.

    Args:
        here: The installation.
        fast: For a drill.
        mail_port: Port of the inbox's mail server, if it has one.
        gates: Ports of the gates, which both hear of what either Alertmanager notified of.
    """
    inbox = f"http://{readiness.LOOPBACK}:{here.ports.inbox}"
    defaults = {
        "ALERT_WEBHOOK_URL": f"{inbox}/",
        "ALERT_HEARTBEAT_URL": f"{inbox}{FAST_HEARTBEAT if fast else HEARTBEAT}",
        "ALERT_BOARD_URL": viewer_url(here),
        "ALERT_VIEWER_URL": viewer_url(here),
        "ALERT_NOTIFIED_URL": " ".join(
            f"http://{readiness.LOOPBACK}:{port}/notified"
            for port in gates or [here.ports.alertmanager]
        ),
        "ALERT_RUNBOOK_URL": f"{viewer_url(here)}/runbooks",
        "ALERT_SILENCE_URL": f"{viewer_url(here)}/silences/new/",
        "ALERT_SLACK_URL_FILE": str(here.write("alertmanager", SLACK_URL_FILE, f"{inbox}/slack")),
    }
    key = here.write("alertmanager", PAGERDUTY_KEY_FILE, "inbox")
    defaults |= {
        "ALERT_PAGERDUTY_KEY_FILE": str(key),
        "ALERT_PAGERDUTY_URL": f"{inbox}/pagerduty",
    }
    if mail_port:
        defaults |= {
            "ALERT_EMAIL_TO": "oncall@localhost",
            "ALERT_EMAIL_FROM": "vitals@localhost",
            "ALERT_SMTP_HOST": f"{readiness.LOOPBACK}:{mail_port}",
            "ALERT_SMTP_TLS": "none",
        }
    configured = {} if fast else {name: text for name, text in os.environ.items() if text}
    if configured.pop(APPRISE_FILE, ""):
        configured["ALERT_RELAY_URL"] = f"{inbox}/apprise"
    overridden = {_kind(name) for name in configured}
    chosen = {n: text for n, text in defaults.items() if _kind(n) not in overridden} | configured
    folder = here.folder("alertmanager")
    path, timing = folder / "alertmanager.yml", FAST_TIMINGS if fast else NORMAL_TIMINGS
    owner = here.owner_of("alertmanager")
    write(ReceiverSettings.read(chosen), path, folder / "templates", timing, owner)
    return path
