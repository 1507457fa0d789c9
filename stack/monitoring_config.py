"""What Prometheus and Alertmanager read on this machine.

In haste, for a drill, the same rules run many times faster (`python -m alerts --fast`), every
second, and notifications go to the inbox alone, so that nobody is woken.
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

HEARTBEAT = "/heartbeat?within=180"
"""Where the inbox hears the watchdog, and after how many seconds without it says so."""
HASTY_HEARTBEAT = "/heartbeat/drill?within=8"
SLACK = "slack"
"""The file, beside Alertmanager's configuration, with the address that takes what Slack would."""


def write_prometheus(here: Installation, secrets: Path, *, haste: bool) -> Path:
    """Write Prometheus's configuration; returns its file."""
    source = here.readable(CHECKOUT / "prometheus")
    rules, targets = source / "rules", source / "targets"
    if haste:
        folder = here.folder("prometheus")
        rules, targets = folder / "hasty-rules", folder / "targets"
        for made in (rules, targets):
            secure_files.make_directory(made, owner=here.owner_of("prometheus"))
        for name, text in render(FAST).items():
            secure_files.write(rules / name, text, owner=here.owner_of("prometheus"))
    text = prometheus.configuration(
        source / "prometheus.yml",
        here.ports,
        secrets,
        rules=rules,
        targets=targets,
        interval="1s" if haste else None,
    )
    return here.write("prometheus", "prometheus.yml", text)


def write_alertmanager(here: Installation, *, haste: bool) -> Path:
    """Write Alertmanager's configuration; returns its file.

    Whom it reaches is said by the environment's ALERT_* variables; by default it is the inbox.
    """
    inbox = f"http://{readiness.LOOPBACK}:{here.ports.inbox}"
    defaults = {
        "ALERT_WEBHOOK_URL": f"{inbox}/",
        "ALERT_HEARTBEAT_URL": f"{inbox}{HASTY_HEARTBEAT if haste else HEARTBEAT}",
        "ALERT_BOARD_URL": f"http://{readiness.LOOPBACK}:{here.ports.prometheus}/user",
        "ALERT_RUNBOOK_URL": f"{inbox}/runbooks",
        "ALERT_SLACK_URL_FILE": str(here.write("alertmanager", SLACK, f"{inbox}/slack")),
    }
    given = {} if haste else {name: text for name, text in os.environ.items() if text}
    taken = {name.removesuffix("_FILE") for name in given}
    chosen = {name: url for name, url in defaults.items() if name not in taken} | given
    folder = here.folder("alertmanager")
    path, patience = folder / "alertmanager.yml", FAST_TIMINGS if haste else NORMAL_TIMINGS
    owner = here.owner_of("alertmanager")
    write(ReceiverSettings.read(chosen), path, folder / "templates", patience, owner)
    return path
