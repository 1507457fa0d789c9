"""Alertmanager's configuration: routes, grouping, inhibition, receivers.

Uses only syntax that Alertmanager 0.25 and later share.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alerts import inhibition, message_links
from alerts.alert import Severity
from alerts.errors import ERROR_NEW, ERROR_REOPENED
from alerts.integrations import integrations
from alerts.receivers import ReceiverSettings
from rules.identity import BY_JOB, Identity
from vitals import secure_files

TEMPLATES = Path(__file__).parent / "templates"
HEARTBEAT, NULL_RECEIVER, ISSUES = "heartbeat", "null", "issues"


@dataclass(frozen=True)
class GroupTimings:
    """Alertmanager's group waits and intervals.

    A ticket waits longer than a page, so that a page of the same problem can still inhibit it.
    Alertmanager repeats a notification at the first group interval after its repeat interval: with
    both alike, a millisecond decides whether the heartbeat comes after one or two of them.
    """

    page_wait: str
    ticket_wait: str
    page_interval: str
    ticket_interval: str
    heartbeat: str
    heartbeat_interval: str


NORMAL_TIMINGS = GroupTimings(
    page_wait="10s",
    ticket_wait="30s",
    page_interval="1m",
    ticket_interval="5m",
    heartbeat="50s",
    heartbeat_interval="20s",
)
FAST_TIMINGS = GroupTimings(
    page_wait="1s",
    ticket_wait="4s",
    page_interval="2s",
    ticket_interval="2s",
    heartbeat="1500ms",
    heartbeat_interval="1s",
)
"""For drills and tests, with rules rendered ``--fast``."""


def configuration(
    settings: ReceiverSettings,
    templates: str,
    timings: GroupTimings,
    identity: Identity = BY_JOB,
) -> dict[str, Any]:
    """Build Alertmanager's configuration.

    Args:
        settings: The receivers.
        templates: The folder of the templates, relative to the configuration's file.
        timings: Group waits and intervals.
        identity: The labels that tell services apart.
    """
    return {
        "templates": [f"{templates}/*.tmpl"],
        "route": {
            "receiver": str(Severity.TICKET),  # alerts without a known severity are tickets
            "group_by": ["alertname", *identity.labels],
            "group_wait": timings.ticket_wait,
            "group_interval": timings.ticket_interval,
            "repeat_interval": "12h",
            "routes": [
                {
                    "matchers": ['alertname="Watchdog"'],
                    "receiver": HEARTBEAT,
                    "group_wait": "0s",
                    "group_interval": timings.heartbeat_interval,
                    "repeat_interval": timings.heartbeat,
                },
                {"matchers": [f'severity="{Severity.NONE}"'], "receiver": NULL_RECEIVER},
                {  # each issue is notified once: not with others, and not its end
                    "matchers": [f'alertname=~"{ERROR_NEW.name}|{ERROR_REOPENED.name}"'],
                    "receiver": ISSUES,
                    "group_by": ["alertname", *identity.labels, "fingerprint"],
                },
                {
                    "matchers": [f'severity="{Severity.PAGE}"'],
                    "receiver": str(Severity.PAGE),
                    "group_wait": timings.page_wait,
                    "group_interval": timings.page_interval,
                    "repeat_interval": "1h",
                },
                {
                    "matchers": [f'severity="{Severity.TICKET}"'],
                    "receiver": str(Severity.TICKET),
                },
            ],
        },
        "inhibit_rules": inhibition.rules(identity),
        "receivers": [
            {"name": str(Severity.PAGE), **integrations(settings, Severity.PAGE)},
            {"name": str(Severity.TICKET), **integrations(settings, Severity.TICKET)},
            {"name": ISSUES, **integrations(settings, Severity.TICKET, ends=False)},
            {"name": HEARTBEAT, **_heartbeat(settings)},
            {"name": NULL_RECEIVER},
        ],
    }


def _heartbeat(settings: ReceiverSettings) -> dict[str, Any]:
    if not settings.heartbeat:
        return {}
    return {"webhook_configs": [{"url": settings.heartbeat, "send_resolved": False}]}


def escape_glob(path: str) -> str:
    """Escape a path for use as a glob pattern of Prometheus or Alertmanager."""
    # Prometheus rejects an asterisk in a folder's name, escaped or not.
    return re.sub(r"([\[\]?\\])", r"\\\1", path).replace("*", "?")


def write(
    settings: ReceiverSettings,
    file: Path,
    templates: Path,
    timings: GroupTimings = NORMAL_TIMINGS,
    owner: secure_files.Owner | None = None,
    *,
    identity: Identity = BY_JOB,
) -> None:
    """Write the configuration, readable by its owner only, and the templates that it uses.

    Args:
        settings: The receivers.
        file: The configuration.
        templates: The folder of the templates; created with its parent if needed.
        timings: Group waits and intervals.
        owner: The account that owns all of it and alone can read it; `None` for the current
            account, and everyone can read the templates.
        identity: The labels that tell services apart.

    Raises:
        UnsafePathError: A folder is a link, or lies behind one that another account can change.
        OSError: A file cannot be written.
    """
    secure_files.make_directories(file.parent)
    secure_files.make_directories(templates.parent)
    folder_mode, mode = (0o700, 0o600) if owner else (0o755, 0o644)
    secure_files.make_directory(templates, mode=folder_mode, owner=owner)
    texts = {path.name: path.read_text("utf-8") for path in TEMPLATES.glob("*.tmpl")}
    texts |= {
        "links.tmpl": message_links.plain(settings, identity)
        + message_links.slack(settings, identity),
        "slack.tmpl": message_links.slack_text("".join(texts.values())),
    }
    for name, text in texts.items():
        secure_files.write(templates / name, text, mode=mode, owner=owner)
    folder = os.path.relpath(templates, file.parent)
    directory = str(file.parent.absolute())
    if escape_glob(directory) != directory:  # Alertmanager joins it to a relative pattern unescaped
        folder = escape_glob(str(templates.absolute()))
    text = yaml.safe_dump(configuration(settings, folder, timings, identity), sort_keys=False)
    header = "# Rendered by `python -m alerts alertmanager`; holds webhook addresses.\n"
    secure_files.write(file, header + text, owner=owner)
