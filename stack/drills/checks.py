"""Checks of a notification: its group, its links, and the alerts that it inhibits."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from stack import services
from stack.drills.environment import Environment
from stack.drills.observer import Observer

_LINK = re.compile(r"^\s*(Board|Runbook|Silence): (\S+)$", re.MULTILINE)
_MATCHER = re.compile(r'\w+="(?:[^"\\]|\\.)*"')


class CheckError(AssertionError):
    """A check of a notification failed."""


def check_group(note: Mapping[str, Any], observer: Observer) -> str:
    """Check that all alerts of the message have the same name and job.

    Raises:
        CheckError: They do not.
    """
    expected = {name: note["labels"].get(name, "") for name in ("alertname", "job")}
    group = {name: note["group"].get(name, "") for name in expected}
    together = [
        other
        for other in observer.notifications
        if (other["received"], other["group"]) == (note["received"], note["group"])
    ]
    labels = [{name: other["labels"].get(name, "") for name in expected} for other in together]
    if group != expected or any(found != expected for found in labels):
        raise CheckError(f"grouped by {note['group']}: {labels}")
    return f"one message of {len(together)} alert{'s' * (len(together) > 1)}, grouped by " + (
        " and ".join(note["group"])
    )


def is_inhibited(name: str, job: str, by: str, observer: Observer) -> bool:
    """Whether a job's alerts of a name fire, and all are inhibited by another alert."""
    inhibitors = {
        alert["fingerprint"]
        for alert in observer.alertmanager_alerts
        if alert["labels"].get("alertname") == by
    }
    inhibited = [
        alert["status"]["inhibitedBy"]
        for alert in observer.alertmanager_alerts
        if alert["labels"].get("alertname") == name and alert["labels"].get("job") == job
    ]
    return bool(inhibited) and all(inhibitors & {*found} for found in inhibited)


def find_message(note: Mapping[str, Any], since: str, observer: Observer) -> str:
    """The Slack message of a notification; empty until it arrives."""
    title = f"{note['labels']['alertname']} {note['labels'].get('job', '')}"
    for message in observer.messages:
        fresh = message["received"] >= since
        if fresh and title in message["title"] and note["summary"] in message["text"]:
            return str(message["text"])
    return ""


async def check_links(
    note: Mapping[str, Any], text: str, environment: Environment, observer: Observer
) -> str:
    """Check that each link of a message works and points to this alert.

    Raises:
        CheckError: One does not.
    """
    links = dict(_LINK.findall(text))
    if missing := {"Board", "Runbook", "Silence"} - {*links}:
        raise CheckError(f"no link {', '.join(sorted(missing))} in:\n{text}")
    runbook = await _fetch(links["Runbook"], environment.client)
    if not runbook.startswith(f"# {note['alert']}\n"):
        raise CheckError(f"{links['Runbook']} is not the runbook of the alert")
    await _fetch(links["Silence"], environment.client)
    expected = unquote(links["Silence"].partition("filter=")[2])
    matchers = _MATCHER.findall(expected)
    if f"{{{','.join(matchers)}}}" != expected or not any(
        found["labels"] == note["labels"] for found in await observer.matches(matchers)
    ):
        raise CheckError(f"{links['Silence']} would not silence this alert")
    return (
        f"runbook and silence links work, {await _check_board(links['Board'], note, environment)}"
    )


async def _check_board(link: str, note: Mapping[str, Any], environment: Environment) -> str:
    query = parse_qs(urlsplit(link).query)
    if query.get("var-job", [""]) != [note["labels"].get("job", "")] or "from" not in query:
        raise CheckError(f"{link} shows another job or time")
    if not (environment.here.data / services.SITE / "boards").exists():
        return "board link not followed (not built)"
    await _fetch(link, environment.client)
    return "board link works"


async def _fetch(link: str, client: httpx.AsyncClient) -> str:
    response = await client.get(link.partition("#")[0], follow_redirects=True)
    if response.status_code != httpx.codes.OK:
        raise CheckError(f"{link} returned {response.status_code}")
    return response.text
