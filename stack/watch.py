"""What Prometheus and Alertmanager read on this machine.

In haste, for a drill, the same rules run many times faster (`python -m alerts --fast`), every
second, and notifications go to the inbox alone, so that nobody is woken.
"""

import os
from pathlib import Path

from alerts.delivery import CALM, HASTY, write
from alerts.receivers import Environment
from alerts.rules import render
from alerts.timing import FAST
from stack import probes, prometheus
from stack.installation import CHECKOUT, Installation


def write_prometheus(here: Installation, secrets: Path, *, haste: bool) -> Path:
    """Write Prometheus's configuration; returns its file."""
    source = here.readable(CHECKOUT / "prometheus")
    hasty_rules = here.folder("prometheus") / "hasty-rules"
    if haste:
        hasty_rules.mkdir(exist_ok=True)
        for name, text in render(FAST).items():
            (hasty_rules / name).write_text(text)
    text = prometheus.configuration(
        source / "prometheus.yml",
        here.ports,
        secrets,
        rules=hasty_rules if haste else source / "rules",
        interval="1s" if haste else None,
    )
    if haste and here.account:
        here.account.own(hasty_rules)
    return here.write("prometheus", "prometheus.yml", text)


def write_alertmanager(here: Installation, *, haste: bool) -> Path:
    """Write Alertmanager's configuration; returns its file.

    Whom it reaches is said by the environment's ALERT_* variables; by default it is the inbox.
    """
    inbox = f"http://{probes.LOOPBACK}:{here.ports.inbox}"
    defaults = {
        "ALERT_WEBHOOK_URL": f"{inbox}/",
        "ALERT_HEARTBEAT_URL": f"{inbox}/heartbeat",
        "ALERT_BOARD_URL": f"http://{probes.LOOPBACK}:{here.ports.prometheus}/user",
    }
    given = {} if haste else {name: text for name, text in os.environ.items() if text}
    taken = {name.removesuffix("_FILE") for name in given}
    chosen = {name: url for name, url in defaults.items() if name not in taken} | given
    folder = here.folder("alertmanager")
    path = folder / "alertmanager.yml"
    write(Environment.read(chosen), path, folder / "templates", HASTY if haste else CALM)
    if here.account:
        here.account.own(folder)
    return path
