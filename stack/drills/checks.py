"""What must be right about a notification: its group, its links, what it holds back."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from stack import services
from stack.drills.environment import Ground
from stack.drills.observer import Sight

_LINK = re.compile(r"^\s*(Board|Runbook|Silence): (\S+)$", re.MULTILINE)
_MATCHER = re.compile(r'\w+="(?:[^"\\]|\\.)*"')


class CheckError(AssertionError):
    """Something about a notification is wrong."""


def check_group(note: Mapping[str, Any], sight: Sight) -> str:
    """Whatever came in the same message is the same trouble of the same job.

    Raises:
        CheckError: It is not.
    """
    expected = {name: note["labels"].get(name, "") for name in ("alertname", "job")}
    group = {name: note["group"].get(name, "") for name in expected}
    together = [
        other
        for other in sight.notes
        if (other["received"], other["group"]) == (note["received"], note["group"])
    ]
    labels = [{name: other["labels"].get(name, "") for name in expected} for other in together]
    if group != expected or any(found != expected for found in labels):
        raise CheckError(f"grouped by {note['group']}: {labels}")
    return f"one message of {len(together)} alert{'s' * (len(together) > 1)}, grouped by " + (
        " and ".join(note["group"])
    )


def is_held_back(name: str, job: str, by: str, sight: Sight) -> bool:
    """Whether a job's alerts of a name fire, and all of them are held back for another."""
    holders = {
        alert["fingerprint"] for alert in sight.known if alert["labels"].get("alertname") == by
    }
    inhibited = [
        alert["status"]["inhibitedBy"]
        for alert in sight.known
        if alert["labels"].get("alertname") == name and alert["labels"].get("job") == job
    ]
    return bool(inhibited) and all(holders & {*found} for found in inhibited)


def find_message(note: Mapping[str, Any], since: str, sight: Sight) -> str:
    """What people read about a notification; empty as long as it has not come."""
    title = f"{note['labels']['alertname']} {note['labels'].get('job', '')}"
    for message in sight.messages:
        fresh = message["received"] >= since
        if fresh and title in message["title"] and note["summary"] in message["text"]:
            return str(message["text"])
    return ""


async def check_links(note: Mapping[str, Any], text: str, ground: Ground, sight: Sight) -> str:
    """Each link of a message leads somewhere, and there to this alert.

    Raises:
        CheckError: One does not.
    """
    links = dict(_LINK.findall(text))
    if missing := {"Board", "Runbook", "Silence"} - {*links}:
        raise CheckError(f"no link {', '.join(sorted(missing))} in:\n{text}")
    runbook = await _fetch(links["Runbook"], ground.client)
    if not runbook.startswith(f"# {note['alert']}\n"):
        raise CheckError(f"{links['Runbook']} is another runbook")
    await _fetch(links["Silence"], ground.client)
    wanted = unquote(links["Silence"].partition("filter=")[2])
    matchers = _MATCHER.findall(wanted)
    if f"{{{','.join(matchers)}}}" != wanted or not any(
        found["labels"] == note["labels"] for found in await sight.matches(matchers)
    ):
        raise CheckError(f"{links['Silence']} would not silence this alert")
    return f"runbook and silence lead to it, {await _check_board(links['Board'], note, ground)}"


async def _check_board(link: str, note: Mapping[str, Any], ground: Ground) -> str:
    asked = parse_qs(urlsplit(link).query)
    if asked.get("var-job", [""]) != [note["labels"].get("job", "")] or "from" not in asked:
        raise CheckError(f"{link} shows another job or time")
    if not (ground.here.data / services.SITE / "boards").exists():
        return "the boards are not built here, so their link was not followed"
    await _fetch(link, ground.client)
    return "so does the board"


async def _fetch(link: str, client: httpx.AsyncClient) -> str:
    answer = await client.get(link.partition("#")[0], follow_redirects=True)
    if answer.status_code != httpx.codes.OK:
        raise CheckError(f"{link} answers {answer.status_code}")
    return answer.text
