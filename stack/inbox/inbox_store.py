"""What arrived for a person on call: notifications, messages and heartbeats."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from threading import Lock
from typing import Any

from stack.inbox.heartbeats import Heartbeats
from stack.terminal import tell

HEARTBEAT = "/heartbeat"
"""The watchdog's; others have addresses below it."""
_KEPT = 200


@dataclass(frozen=True)
class Notification:
    """One alert of one message. Times are ISO 8601, UTC.

    Attributes:
        group: The labels that all alerts of the message share.
    """

    received: str
    status: str
    receiver: str
    alert: str
    severity: str
    labels: dict[str, str]
    summary: str
    description: str
    starts: str
    ends: str
    links: dict[str, str]
    group: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line for a terminal."""
        about = " ".join(
            f"{name}={value}"
            for name, value in sorted(self.labels.items())
            if name not in {"alertname", "severity"}
        )
        return f"{self.status.upper()} {self.severity} {self.alert} [{about}] {self.summary}"


@dataclass(frozen=True)
class Message:
    """A message as a person reads it."""

    received: str
    title: str
    text: str


class Inbox:
    """The last notifications and messages, newest first.

    Threads share it: the tuples are replaced as a whole, so that a reader sees one state.
    """

    def __init__(self) -> None:
        self.notifications: tuple[Notification, ...] = ()
        self.messages: tuple[Message, ...] = ()
        self.heartbeats = Heartbeats(self._tell_silence)
        self._writing = Lock()

    def take(self, message: dict[str, Any]) -> None:
        """Read an Alertmanager webhook message (version 4)."""
        now = _now()
        self._keep([_notification(alert, message, now) for alert in message["alerts"]])

    def read(self, message: dict[str, Any]) -> None:
        """Read a message for Slack."""
        taken = [Message(_now(), each["title"], each["text"]) for each in message["attachments"]]
        with self._writing:
            self.messages = (*reversed(taken), *self.messages)[:_KEPT]

    def _keep(self, notes: list[Notification]) -> None:
        with self._writing:
            self.notifications = (*reversed(notes), *self.notifications)[:_KEPT]
        for note in notes:
            tell(str(note))

    def _tell_silence(self, name: str, silent: bool, heard: str) -> None:  # noqa: FBT001
        said = "fell silent: alerts may not get through" if silent else "is heard again"
        note = Notification(
            received=_now(),
            status="firing" if silent else "resolved",
            receiver="heartbeat",
            alert="Watchdog",
            severity="page",
            labels={"alertname": "Watchdog", "heartbeat": name},
            summary=f"The heartbeat {name} {said}",
            description=f"It was heard last at {heard}.",
            starts=heard,
            ends="" if silent else _now(),
            links={},
        )
        self._keep([note])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _notification(alert: dict[str, Any], message: dict[str, Any], now: str) -> Notification:
    labels, notes = dict(alert["labels"]), dict(alert["annotations"])
    summary, description = notes.pop("summary", ""), notes.pop("description", "")
    return Notification(
        received=now,
        status=alert["status"],
        receiver=message.get("receiver", ""),
        alert=labels.get("alertname", "?"),
        severity=labels.get("severity", "none"),
        labels=labels,
        summary=summary,
        description=description,
        starts=alert.get("startsAt", ""),
        ends=alert.get("endsAt", "") if alert["status"] == "resolved" else "",
        links={name: text for name, text in notes.items() if text.startswith("http")},
        group=dict(message.get("groupLabels", {})),
    )


def page(inbox: Inbox) -> str:
    """The notifications as HTML; all text is escaped, links are http only."""
    rows = "".join(
        f"<tr class={escape(note.status)}><td>{escape(note.received[:19])}"
        f"<td>{escape(note.status)}<td>{escape(note.severity)}<td>{escape(note.alert)}"
        f"<td>{escape(note.summary)} "
        + " ".join(
            f"<a href='{escape(link)}'>{escape(name)}</a>" for name, link in note.links.items()
        )
        for note in inbox.notifications
    )
    return (
        "<!doctype html><title>Inbox</title><meta charset=utf-8>"
        "<meta http-equiv=refresh content=5><style>body{font:14px sans-serif;margin:2em}"
        "td,th{padding:.3em 1em .3em 0;text-align:left}.firing td:nth-child(2){color:#c00}"
        ".resolved td:nth-child(2){color:#080}</style><h1>What a person on call would get</h1>"
        f"<p>Heartbeat heard: {escape(inbox.heartbeats.last(HEARTBEAT)) or 'never'}"
        f"<table><tr><th>received (UTC)<th>status<th>severity<th>alert<th>summary{rows}</table>"
    )
