"""How an alert travels: Alertmanager's routes, grouping, inhibition and receivers.

Only syntax that Alertmanager 0.25 and later share.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alerts.alert import Severity
from alerts.receivers import Email, Environment
from vitals import secure_files

TEMPLATES = Path(__file__).parent / "templates"
HEARTBEAT, NOBODY = "heartbeat", "nobody"


@dataclass(frozen=True)
class Patience:
    """How long Alertmanager waits.

    A ticket waits longer than a page, so that a page of the same trouble can still hold it back.
    """

    page_wait: str
    ticket_wait: str
    page_interval: str
    ticket_interval: str


CALM = Patience(page_wait="10s", ticket_wait="30s", page_interval="1m", ticket_interval="5m")
HASTY = Patience(page_wait="1s", ticket_wait="4s", page_interval="2s", ticket_interval="2s")
"""For drills and tests, with rules rendered ``--fast``."""


def configuration(environment: Environment, templates: str, patience: Patience) -> dict[str, Any]:
    """Say how alerts travel, as Alertmanager's configuration.

    Args:
        environment: Whom to reach.
        templates: The folder of the templates, relative to the configuration's file.
        patience: How long to wait.
    """
    return {
        "templates": [f"{templates}/*.tmpl"],
        "route": {
            "receiver": str(Severity.TICKET),  # what nobody classified is still seen by day
            "group_by": ["alertname", "job"],
            "group_wait": patience.ticket_wait,
            "group_interval": patience.ticket_interval,
            "repeat_interval": "12h",
            "routes": [
                {
                    "matchers": ['alertname="Watchdog"'],
                    "receiver": HEARTBEAT,
                    "group_wait": "0s",
                    "group_interval": patience.page_interval,
                    "repeat_interval": patience.page_interval,
                },
                {"matchers": [f'severity="{Severity.NONE}"'], "receiver": NOBODY},
                {
                    "matchers": [f'severity="{Severity.PAGE}"'],
                    "receiver": str(Severity.PAGE),
                    "group_wait": patience.page_wait,
                    "group_interval": patience.page_interval,
                    "repeat_interval": "1h",
                },
                {
                    "matchers": [f'severity="{Severity.TICKET}"'],
                    "receiver": str(Severity.TICKET),
                },
            ],
        },
        "inhibit_rules": _inhibitions(),
        "receivers": [
            {"name": str(Severity.PAGE), **_people(environment, Severity.PAGE)},
            {"name": str(Severity.TICKET), **_people(environment, Severity.TICKET)},
            {"name": HEARTBEAT, **_heartbeat(environment)},
            {"name": NOBODY},
        ],
    }


def _inhibitions() -> list[dict[str, Any]]:
    return [
        {  # who has been woken for a service needs no ticket about it
            "source_matchers": [f'severity="{Severity.PAGE}"', 'job!=""'],
            "target_matchers": [f'severity="{Severity.TICKET}"'],
            "equal": ["job"],
        },
        {  # what does not run cannot do well in any other respect
            "source_matchers": ['alertname="TargetDown"'],
            "target_matchers": [f'severity="{Severity.PAGE}"', 'alertname!="TargetDown"'],
            "equal": ["job"],
        },
        {  # the same failures, seen over five minutes and over an hour
            "source_matchers": ['alertname="ErrorRatioHigh"'],
            "target_matchers": ['alertname="BudgetBurn"', 'slo="availability"'],
            "equal": ["job"],
        },
        {  # a cache cannot answer from a store that is left alone
            "source_matchers": ['alertname="CacheStoreDown"'],
            "target_matchers": ['alertname="CacheHitRatioCollapsed"'],
            "equal": ["job", "cache"],
        },
        {  # why it is slow says more than that it is
            "source_matchers": ['alertname=~"CacheStoreDown|DBPoolSaturated"'],
            "target_matchers": ['alertname="LatencyP95High"'],
            "equal": ["job"],
        },
    ]


def _people(environment: Environment, severity: Severity) -> dict[str, Any]:
    receiver: dict[str, Any] = {}
    if environment.webhook:
        receiver["webhook_configs"] = [{"url": environment.webhook, "send_resolved": True}]
    if environment.slack_file:
        receiver["slack_configs"] = [
            {
                "api_url_file": environment.slack_file,
                "send_resolved": True,
                "title": '{{ template "vitals.title" . }}',
                "text": '{{ template "vitals.text" . }}',
            }
        ]
    if environment.email:
        receiver["email_configs"] = [_mail(environment.email)]
    if environment.pagerduty_file and severity is Severity.PAGE:
        receiver["pagerduty_configs"] = [
            {
                "routing_key_file": environment.pagerduty_file,
                "send_resolved": True,
                "severity": "critical",
                "description": '{{ template "vitals.title" . }}',
                "details": {"text": '{{ template "vitals.text" . }}'},
            }
        ]
    return receiver


def _mail(email: Email) -> dict[str, Any]:
    login = {"auth_username": email.user, "auth_password_file": email.password_file}
    return {
        "to": email.to,
        "from": email.sender,
        "smarthost": email.server,
        "send_resolved": True,
        "headers": {"Subject": '{{ template "vitals.title" . }}'},
        "text": '{{ template "vitals.text" . }}',
        "html": "",
        **(login if email.user else {}),
    }


def _heartbeat(environment: Environment) -> dict[str, Any]:
    if not environment.heartbeat:
        return {}
    return {"webhook_configs": [{"url": environment.heartbeat, "send_resolved": False}]}


def links(environment: Environment) -> str:
    """Write the templates that depend on where boards and runbooks are found."""
    board = f'\n  Board: {environment.boards}/{{{{ template "vitals.board_path" . }}}}'
    base = environment.runbooks or "alerts/runbooks"
    return (
        f'{{{{ define "vitals.board" }}}}{board if environment.boards else ""}{{{{ end }}}}\n'
        f'{{{{ define "vitals.runbook" }}}}\n  Runbook: {base}/{{{{ .Annotations.runbook }}}}'
        "{{ end }}\n"
    )


def escaped(path: str) -> str:
    """A path as a pattern of Prometheus or Alertmanager that matches it."""
    # Prometheus refuses an asterisk in a folder's name, escaped or not.
    return re.sub(r"([\[\]?\\])", r"\\\1", path).replace("*", "?")


def write(
    environment: Environment,
    file: Path,
    templates: Path,
    patience: Patience = CALM,
    owner: secure_files.Owner | None = None,
) -> None:
    """Write the configuration, readable by its owner only, and the templates that it uses.

    Args:
        environment: Whom to reach.
        file: The configuration.
        templates: The folder of the templates; made with the one above it if needed.
        patience: How long to wait.
        owner: Whom all of it belongs to, who alone can read it; `None` for us, and everyone
            can read the templates.

    Raises:
        UnsafePathError: A folder is a link, or lies behind one that another account can change.
        OSError: A file cannot be written.
    """
    secure_files.make_directories(file.parent)
    secure_files.make_directories(templates.parent)
    folder_mode, mode = (0o700, 0o600) if owner else (0o755, 0o644)
    secure_files.make_directory(templates, mode=folder_mode, owner=owner)
    texts = {path.name: path.read_text("utf-8") for path in TEMPLATES.glob("*.tmpl")}
    for name, text in (texts | {"links.tmpl": links(environment)}).items():
        secure_files.write(templates / name, text, mode=mode, owner=owner)
    folder = os.path.relpath(templates, file.parent)
    place = str(file.parent.absolute())
    if escaped(place) != place:  # it is put before a relative pattern as it is
        folder = escaped(str(templates.absolute()))
    text = yaml.safe_dump(configuration(environment, folder, patience), sort_keys=False)
    said = "# Rendered by `python -m alerts alertmanager`; holds webhook addresses.\n"
    secure_files.write(file, said + text, owner=owner)
