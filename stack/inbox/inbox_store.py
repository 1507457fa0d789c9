"""The inbox store: the messages and heartbeats that a person on call would get."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from stack.inbox.archive import Archive
from stack.inbox.heartbeats import NO_DEADLINE, Heartbeats
from stack.inbox.messages import (
    Mail,
    Message,
    Notification,
    PagerEvent,
    mail_of,
    notifications_of,
    now,
    pager_event_of,
    slack_messages_of,
)
from stack.terminal import print_line

HEARTBEAT = "/heartbeat"
"""Path of the watchdog's heartbeat; others have paths below it."""
_MAX_STORED = 200
_KINDS = {
    "notification": Notification,
    "message": Message,
    "mail": Mail,
    "page": PagerEvent,
}
Kept = TypeVar("Kept", bound=Notification | Message | Mail | PagerEvent)


class InboxStore:
    """The last messages of each kind, newest first.

    Thread-safe: the tuples are replaced as a whole, so that readers see a consistent state.

    Args:
        archive: The file that keeps them across restarts; `None` for none.
    """

    def __init__(self, archive: Path | None = None) -> None:
        self._archive = Archive(archive)
        self.notifications: tuple[Notification, ...] = self._kept("notification")
        self.messages: tuple[Message, ...] = self._kept("message")
        self.mails: tuple[Mail, ...] = self._kept("mail")
        self.pages: tuple[PagerEvent, ...] = self._kept("page")
        self.heartbeats = Heartbeats(self._add_heartbeat_change)
        for name, received, within in self._archive.heartbeats():
            self.heartbeats.restore(name, received, within)
        self._writing = Lock()

    def add_webhook(self, message: dict[str, Any]) -> None:
        """Store an Alertmanager webhook message (version 4)."""
        self._add(notifications_of(message))

    def add_slack_message(self, message: dict[str, Any]) -> None:
        """Store a message written for Slack."""
        received = slack_messages_of(message)
        with self._writing:
            self.messages = self._with(self.messages, received, "message")

    def add_mail(self, content: bytes) -> None:
        """Store a mail as it was sent."""
        mail = mail_of(content)
        with self._writing:
            self.mails = self._with(self.mails, [mail], "mail")

    def add_pager_event(self, event: dict[str, Any]) -> str:
        """Store an event written for PagerDuty; returns the key of its incident."""
        received = pager_event_of(event)
        with self._writing:
            self.pages = self._with(self.pages, [received], "page")
        return received.key

    def record_heartbeat(self, name: str, within: float = NO_DEADLINE) -> None:
        """Record a heartbeat; the next one is due within this many seconds."""
        self.heartbeats.record(name, within)
        self._archive.set_heartbeat(name, self.heartbeats.last(name), within)

    def forget_heartbeat(self, name: str) -> None:
        """Stop monitoring a sender."""
        self.heartbeats.forget(name)
        self._archive.forget_heartbeat(name)

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()

    def _kept(self, kind: str) -> Any:
        return tuple(_KINDS[kind](**each) for each in self._archive.newest(kind, _MAX_STORED))

    def _with(
        self, before: tuple[Kept, ...], received: Sequence[Kept], kind: str
    ) -> tuple[Kept, ...]:
        for each in received:
            self._archive.add(kind, each.received, asdict(each))
        all_of_them: list[Kept] = [*reversed(received), *before]
        return tuple(all_of_them[:_MAX_STORED])

    def _add(self, notifications: list[Notification]) -> None:
        with self._writing:
            self.notifications = self._with(self.notifications, notifications, "notification")
        for notification in notifications:
            print_line(str(notification))

    def _add_heartbeat_change(self, name: str, missed: bool, last: str) -> None:  # noqa: FBT001
        event = "missed: notifications may not be delivered" if missed else "received again"
        notification = Notification(
            received=now(),
            status="firing" if missed else "resolved",
            receiver="heartbeat",
            alert="Watchdog",
            severity="page",
            labels={"alertname": "Watchdog", "heartbeat": name},
            summary=f"Heartbeat {name} {event}",
            description=f"The last one was received at {last}.",
            starts=last,
            ends="" if missed else now(),
            links={},
        )
        self._add([notification])
