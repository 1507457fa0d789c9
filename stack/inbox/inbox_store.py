"""The inbox store: notifications, Slack messages and heartbeats that a person on call would get."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from threading import Lock
from typing import Any

from stack.inbox.heartbeats import Heartbeats
from stack.terminal import print_line

HEARTBEAT = "/heartbeat"
"""Path of the watchdog's heartbeat; others have paths below it."""
_MAX_STORED = 200


@dataclass(frozen=True)
class Notification:
    """One alert of a webhook message. Times are ISO 8601, UTC.

    Attributes:
        group: The group labels of the message.
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
        labels = " ".join(
            f"{name}={value}"
            for name, value in sorted(self.labels.items())
            if name not in {"alertname", "severity"}
        )
        return f"{self.status.upper()} {self.severity} {self.alert} [{labels}] {self.summary}"


@dataclass(frozen=True)
class Message:
    """A Slack message, as a person reads it."""

    received: str
    title: str
    text: str


class InboxStore:
    """The last notifications and messages, newest first.

    Thread-safe: the tuples are replaced as a whole, so that readers see a consistent state.
    """

    def __init__(self) -> None:
        self.notifications: tuple[Notification, ...] = ()
        self.messages: tuple[Message, ...] = ()
        self.heartbeats = Heartbeats(self._add_heartbeat_change)
        self._writing = Lock()

    def add_webhook(self, message: dict[str, Any]) -> None:
        """Store an Alertmanager webhook message (version 4)."""
        now = _now()
        self._add([_notification(alert, message, now) for alert in message["alerts"]])

    def add_slack_message(self, message: dict[str, Any]) -> None:
        """Store a message written for Slack."""
        received = [Message(_now(), each["title"], each["text"]) for each in message["attachments"]]
        with self._writing:
            self.messages = (*reversed(received), *self.messages)[:_MAX_STORED]

    def _add(self, notifications: list[Notification]) -> None:
        with self._writing:
            self.notifications = (*reversed(notifications), *self.notifications)[:_MAX_STORED]
        for notification in notifications:
            print_line(str(notification))

    def _add_heartbeat_change(self, name: str, missed: bool, last: str) -> None:  # noqa: FBT001
        event = "missed: notifications may not be delivered" if missed else "received again"
        notification = Notification(
            received=_now(),
            status="firing" if missed else "resolved",
            receiver="heartbeat",
            alert="Watchdog",
            severity="page",
            labels={"alertname": "Watchdog", "heartbeat": name},
            summary=f"Heartbeat {name} {event}",
            description=f"The last one was received at {last}.",
            starts=last,
            ends="" if missed else _now(),
            links={},
        )
        self._add([notification])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _notification(alert: dict[str, Any], message: dict[str, Any], now: str) -> Notification:
    labels, annotations = dict(alert["labels"]), dict(alert["annotations"])
    summary, description = annotations.pop("summary", ""), annotations.pop("description", "")
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
        links={name: text for name, text in annotations.items() if text.startswith("http")},
        group=dict(message.get("groupLabels", {})),
    )


def page(inbox: InboxStore) -> str:
    """The notifications as an HTML page; text is escaped, links are http only."""
    rows = "".join(
        f"<tr class={escape(notification.status)}><td>{escape(notification.received[:19])}"
        f"<td>{escape(notification.status)}<td>{escape(notification.severity)}<td>{escape(notification.alert)}"
        f"<td>{escape(notification.summary)} "
        + " ".join(
            f"<a href='{escape(link)}'>{escape(name)}</a>"
            for name, link in notification.links.items()
        )
        for notification in inbox.notifications
    )
    return (
        "<!doctype html><title>Inbox</title><meta charset=utf-8>"
        "<meta http-equiv=refresh content=5><style>body{font:14px sans-serif;margin:2em}"
        "td,th{padding:.3em 1em .3em 0;text-align:left}.firing td:nth-child(2){color:#c00}"
        ".resolved td:nth-child(2){color:#080}</style><h1>Notifications to the person on call</h1>"
        f"<p>Last heartbeat: {escape(inbox.heartbeats.last(HEARTBEAT)) or 'never'}"
        f"<table><tr><th>received (UTC)<th>status<th>severity<th>alert<th>summary{rows}</table>"
    )
