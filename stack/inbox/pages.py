"""Pages of the inbox: its messages as Slack, a mail program and PagerDuty would show them."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from urllib.parse import quote, urlencode

from stack.inbox.inbox_store import HEARTBEAT, InboxStore
from stack.inbox.messages import Mail, Message, Notification, PagerEvent
from stack.inbox.style import STYLE
from stack.inbox.text_rendering import link, plain_text, slack_text

TABS = {"slack": "Slack", "mail": "Mail", "pagerduty": "PagerDuty", "alerts": "Alerts"}
LINES = {
    "cause": "Possible cause",
    "worst_route": "Worst route",
    "error": "Newest error",
    "statement": "Statement",
    "deployment": "Last deployment",
}
"""Annotations that messages have as a line, in their order, and its title."""
PATHS = {
    "trace": ("Trace", "{}"),
    "issue": ("Issue", "{}"),
    "logs": ("Logs", "{}"),
    "board": ("Board", "d/{}?{}"),
    "runbook": ("Runbook", "runbooks/{}?{}"),
}
"""Annotations that are paths of the viewer: their title, and the address below it."""
_BEFORE_MS = 30 * 60 * 1000
"""Time before an alert that its board shows, as in messages."""
_SHOWN = 100
_BARS = {"danger": "#d92d20", "good": "#12833c", "warning": "#b54708"}
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_STATE = re.compile(r"^\[(?P<state>[A-Z]+)[^]]*\]\s*(?P<about>.*)")


def page(inbox: InboxStore, tab: str = "", viewer: str = "") -> str:
    """The page of one integration: newest first; text is escaped, links are of the web only.

    Args:
        inbox: The messages.
        tab: A key of `TABS`; by default the first that has messages.
        viewer: Address of the viewer, for the links of alerts; empty for none.
    """
    counts = {
        "slack": len(inbox.messages),
        "mail": len(inbox.mails),
        "pagerduty": len({event.key for event in inbox.pages}),
        "alerts": len(inbox.notifications),
    }
    chosen = tab if tab in TABS else next((name for name in TABS if counts[name]), "slack")
    tabs = "".join(
        f'<li><a href="?show={name}"{_current(name == chosen)}>{title}'
        f" <span>{counts[name]}</span></a>"
        for name, title in TABS.items()
    )
    heartbeat = inbox.heartbeats.last(HEARTBEAT)
    beat = f"last heartbeat {_moment(heartbeat)}" if heartbeat else "no heartbeat yet"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Inbox · Vitals</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>"
        f"<body><header><h1>Inbox</h1><p>What a person on call gets; {escape(beat)}. "
        f'<a href="?show={chosen}">Reload</a></p>'
        f'<nav aria-label="Integrations"><ul>{tabs}</ul></nav></header>'
        f"<main><h2>{TABS[chosen]}</h2>{_content(inbox, chosen, viewer)}</main></body></html>"
    )


def _current(is_current: bool) -> str:  # noqa: FBT001
    return ' aria-current="page"' if is_current else ""


def _content(inbox: InboxStore, tab: str, viewer: str) -> str:
    if tab == "slack":
        return _listed(_slack(inbox.messages[:_SHOWN]), "Alertmanager has sent nothing to Slack.")
    if tab == "mail":
        return _listed(_mails(inbox.mails[:_SHOWN]), "Alertmanager has sent no mail.")
    if tab == "pagerduty":
        return _listed(_incidents(inbox.pages), "Alertmanager has sent nothing to PagerDuty.")
    alerts = (_alert(each, viewer) for each in inbox.notifications[:_SHOWN])
    return _listed(alerts, "No alert has been notified.")


def _listed(entries: Iterable[str], empty: str) -> str:
    texts = list(entries)
    return "".join(texts) if texts else f"<p class=empty>{escape(empty)}</p>"


def _ends(titles: Sequence[tuple[str, str]]) -> list[str]:
    """Of each title, newest first: the badge of its state, and when it ended if it has."""
    ended: dict[str, str] = {}
    badges = []
    for received, title in titles:
        found = _STATE.match(title)
        state, about = (found["state"], found["about"]) if found else ("", title)
        if state == "RESOLVED":
            ended[about] = received
            badges.append(_badge("resolved"))
        elif about in ended:
            badges.append(_badge("resolved", f"resolved {_moment(ended.pop(about))}"))
        else:
            badges.append(_badge("firing") if state else "")
    return badges


def _slack(messages: Sequence[Message]) -> Iterable[str]:
    badges = _ends([(each.received, each.title) for each in messages])
    for each, badge in zip(messages, badges, strict=True):
        bar = _BARS.get(each.colour) or (each.colour if _COLOUR.fullmatch(each.colour) else "#888")
        title = slack_text(each.title)
        if each.link:
            title = link(each.link, each.title)
        yield (
            "<article class=slack><span class=avatar aria-hidden=true>V</span><div>"
            f"<p class=who><b>Vitals</b> <small>APP</small> {_time(each.received)} {badge}</p>"
            f'<div class=attachment style="border-color:{bar}"><h3>{title}</h3>'
            f"<p class=text>{slack_text(each.text)}</p></div></div></article>"
        )


def _mails(mails: Sequence[Mail]) -> Iterable[str]:
    badges = _ends([(each.received, each.subject) for each in mails])
    for each, badge in zip(mails, badges, strict=True):
        yield (
            f"<article class=mail><h3>{escape(each.subject)}</h3>"
            f"<p class=who>from {escape(each.sender)} to {escape(each.to)}, "
            f"{_time(each.received)} {badge}</p><p class=text>{plain_text(each.text)}</p></article>"
        )


def _incidents(events: Sequence[PagerEvent]) -> Iterable[str]:
    by_key: dict[str, list[PagerEvent]] = {}
    for event in events:
        by_key.setdefault(event.key, []).append(event)
    for newest, *before in list(by_key.values())[:_SHOWN]:
        log = [newest, *before]
        trigger = next((event for event in log if event.summary), newest)
        state = "resolved" if newest.action == "resolve" else "triggered"
        details = "".join(
            f"<dt>{escape(name)}</dt><dd>{plain_text(text)}</dd>"
            for name, text in trigger.details.items()
            if text.strip()
        )
        steps = "".join(f"<li>{_time(each.received)} {escape(each.action)}" for each in log)
        yield (
            f"<article class=incident><h3>{escape(trigger.summary or newest.key)}</h3>"
            f"<p class=who>{_badge(state)} {escape(trigger.severity)}, from "
            f"{link(trigger.link, 'Alertmanager') if trigger.link else escape(trigger.source)}</p>"
            f"<dl>{details}</dl><ol>{steps}</ol></article>"
        )


def _alert(each: Notification, viewer: str) -> str:
    links = " ".join(link(address, name) for name, address in _links(each, viewer).items())
    since = f"since {_moment(each.starts)}" if each.starts else ""
    ends = f", ended {_moment(each.ends)}" if each.ends else ""
    labels = ", ".join(
        f"{name}={value}"
        for name, value in sorted(each.labels.items())
        if name not in {"alertname", "severity"}
    )
    texts = {**each.annotations, "cause": each.cause} if each.status == "firing" else {}
    lines = "".join(
        f"<p class=text>{title}: {plain_text(texts[name])}</p>"
        for name, title in LINES.items()
        if texts.get(name)
    )
    return (
        f"<article class=alert><h3>{escape(each.alert)}</h3>"
        f"<p class=who>{_badge(each.status)} {escape(each.severity)} {escape(since + ends)}</p>"
        f"<p><b>{escape(each.summary)}</b></p><p class=text>{plain_text(each.description)}</p>"
        f"{lines}<p>{links}</p><p class=who>{escape(labels)}</p></article>"
    )


def _links(each: Notification, viewer: str) -> dict[str, str]:
    """Addresses by their title: what the webhook has paths of, as in messages."""
    begun = datetime.fromisoformat(each.starts).timestamp() * 1000 if each.starts else 0
    labels = {f"var-{name}": text for name, text in sorted(each.labels.items())}
    query = urlencode({**labels, "from": int(begun) - _BEFORE_MS, "to": "now"}, quote_via=quote)
    paths = {
        title: f"{viewer.rstrip('/')}/{path.format(each.annotations[name], query)}"
        for name, (title, path) in PATHS.items()
        if viewer and each.annotations.get(name)
    }
    return paths | each.links


def _badge(state: str, text: str = "") -> str:
    kind = "over" if state == "resolved" else "on"
    return f"<span class='badge {kind}'>{escape(text or state)}</span>"


def _time(received: str) -> str:
    return f"<time datetime='{escape(received)}'>{escape(_moment(received))}</time>"


def _moment(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return text
