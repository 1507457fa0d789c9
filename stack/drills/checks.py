"""Checks of a notification: its group, its links, and the alerts that it inhibits."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx

from stack import monitoring_services
from stack.drills import runbooks
from stack.drills.environment import Environment
from stack.drills.observer import Observer
from stack.inbox import text_rendering

_LINK = re.compile(r"<(\S+)\|(Trace|Issue|Logs|Board|Runbook|Silence)>")
_MATCHER = re.compile(r'\w+="(?:[^"\\]|\\.)*"')


_ANSWER_SECONDS = 30.0
"""Time for the queries of a runbook to have an answer: those over rates need several scrapes."""
_MATCH_SECONDS = 10.0
"""Time for Alertmanager to answer: a request on a busy machine can fail."""


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
    """The Slack message of a notification that fires; empty until it arrives."""
    title = f"{note['labels']['alertname']} {note['labels'].get('job', '')}"
    for message in observer.messages:
        fresh = message["received"] >= since
        firing = message["text"].partition("RESOLVED")[0]  # there may be an end since
        if fresh and title in message["title"] and _as_text(firing, note["summary"]):
            return str(message["text"])
    return ""


def _as_text(message: str, summary: str) -> bool:
    return summary in text_rendering.unescaped(message)


async def check_runbook(
    steps: Sequence[runbooks.Step],
    labels: Mapping[str, str],
    observer: Observer,
    seconds: float = _ANSWER_SECONDS,
) -> str:
    """Follow a runbook with the labels of its alert: its queries have answers.

    Raises:
        CheckError: One has none, and the runbook does not say what that means.
    """
    deadline = time.monotonic() + seconds
    while True:
        empty = [
            step
            for step in steps
            if not await observer.results(runbooks.fill_in(step.query, labels))
        ]
        unexplained = [step.query for step in empty if not step.no_result]
        if not unexplained:
            break
        if time.monotonic() > deadline:
            filled = [runbooks.fill_in(query, labels) for query in unexplained]
            raise CheckError(f"queries of the runbook without an answer: {'; '.join(filled)}")
        await asyncio.sleep(1)
    return f"{len(steps) - len(empty)} of {len(steps)} queries of the runbook have an answer" + (
        ", it says what the others mean" if empty else ""
    )


def check_says(pattern: str, text: str) -> str:
    """Check that a message says what the pattern describes.

    Raises:
        CheckError: It does not.
    """
    found = re.search(pattern, text)
    if found is None:
        raise CheckError(f"the message does not say {pattern!r}: {text}")
    return f"the message says {found[0]!r}"


def links_of(text: str) -> dict[str, str]:
    """The links of a message, by their titles; of several with one title, the first."""
    return {title: address for address, title in reversed(_LINK.findall(text))}


async def check_links(
    note: Mapping[str, Any], text: str, environment: Environment, observer: Observer
) -> str:
    """Check that each link of a message works and points to this alert.

    Raises:
        CheckError: One does not.
    """
    links = links_of(text)
    if missing := {"Board", "Runbook", "Silence"} - {*links}:
        raise CheckError(f"no link {', '.join(sorted(missing))} in:\n{text}")
    _check_variables(links["Runbook"], note["group"])
    site = environment.here.data / monitoring_services.SITE
    if (site / "index.html").exists():
        await _check_runbook_page(links["Runbook"], note["alert"], environment.client)
        for title in ("Silence", "Trace", "Issue", "Logs"):
            if title in links:
                await _fetch(links[title], environment.client)
    expected = unquote(links["Silence"].partition("filter=")[2])
    matchers = _MATCHER.findall(expected)
    silenced = f"{{{','.join(matchers)}}}" == expected
    if not silenced or not await _is_matched(note["labels"], matchers, observer):
        raise CheckError(f"{links['Silence']} would not silence this alert")
    return (
        f"runbook and silence links work, {await _check_board(links['Board'], note, environment)}"
    )


async def _is_matched(labels: Mapping[str, str], matchers: list[str], observer: Observer) -> bool:
    """Whether matchers match an alert, by an Alertmanager that may not answer each time."""
    deadline = time.monotonic() + _MATCH_SECONDS
    while True:
        found = await observer.matches(matchers)
        if any(each["labels"] == labels for each in found):
            return True
        if found or time.monotonic() > deadline:
            return False
        await asyncio.sleep(1)


def _check_variables(link: str, labels: Mapping[str, str]) -> None:
    """Check that a link has these labels, and a time; alerts of one message share its links."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
    missing = {name: text for name, text in labels.items() if query.get(f"var-{name}", "") != text}
    if missing or "from" not in query:
        raise CheckError(f"{link} has not the labels and the time of the alert: {missing}")


async def _check_runbook_page(link: str, alert: str, client: httpx.AsyncClient) -> None:
    """Check that a link leads to the runbook: the viewer's page, or its text in a placeholder."""
    page = await _fetch(link, client)
    if f"<title>Runbook of {alert}</title>" not in page and f"# {alert}\n" not in page:
        raise CheckError(f"{link} is not the runbook of the alert")


async def _check_board(link: str, note: Mapping[str, Any], environment: Environment) -> str:
    query = parse_qs(urlsplit(link).query)
    if query.get("var-job", [""]) != [note["labels"].get("job", "")] or "from" not in query:
        raise CheckError(f"{link} shows another job or time")
    if not (environment.here.data / monitoring_services.SITE / "boards").exists():
        return "board link not followed (not built)"
    await _fetch(link, environment.client)
    return "board link works"


async def _fetch(link: str, client: httpx.AsyncClient) -> str:
    response = await client.get(link.partition("#")[0], follow_redirects=True)
    if response.status_code != httpx.codes.OK:
        raise CheckError(f"{link} returned {response.status_code}")
    return response.text


def is_end(note: Mapping[str, Any], starts: str) -> bool:
    """Whether a notification tells the end of the alert that began then.

    The reconciler may tell it first, and has it begin when its condition became true.
    """
    begun, fired, over = map(datetime.fromisoformat, (note["starts"], starts, note["ends"]))
    return begun <= fired < over
