"""Messages of the inbox: what each integration of Alertmanager sent. Times are ISO 8601, UTC."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

_MAX_TEXT = 20_000
"""Characters of a text that are kept; Slack shows 40,000 bytes, PagerDuty takes 512 kB."""


@dataclass(frozen=True)
class Notification:
    """One alert of a webhook message.

    Attributes:
        group: The group labels of the message.
        cause: The possible causes, if any are known.
        annotations: All others, such as what to begin with (docs/alerts.md).
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
    cause: str = ""
    annotations: dict[str, str] = field(default_factory=dict)

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
    """An attachment of a Slack message, as a person reads it.

    Attributes:
        colour: Of its bar: ``danger``, ``good``, ``warning`` or a hexadecimal one.
        link: Where its title leads.
    """

    received: str
    title: str
    text: str
    colour: str = ""
    link: str = ""


@dataclass(frozen=True)
class Mail:
    """A mail."""

    received: str
    sender: str
    to: str
    subject: str
    text: str


@dataclass(frozen=True)
class PagerEvent:
    """An event of PagerDuty's Events API, version 2.

    Attributes:
        action: ``trigger``, ``acknowledge`` or ``resolve``.
        key: The incident that it belongs to (``dedup_key``).
        link: Where its client leads.
    """

    received: str
    action: str
    key: str
    summary: str
    severity: str
    source: str
    link: str
    details: dict[str, str]


def now() -> str:
    """The current time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def notifications_of(message: dict[str, Any]) -> list[Notification]:
    """The alerts of a webhook message (version 4)."""
    return [
        _notification(alert, message)
        for alert in message["alerts"]
        if alert["annotations"].get("notified")
        != "no"  # its end; of its begin there was no notification
    ]


def _notification(alert: dict[str, Any], message: dict[str, Any]) -> Notification:
    labels, annotations = dict(alert["labels"]), dict(alert["annotations"])
    summary, description = annotations.pop("summary", ""), annotations.pop("description", "")
    return Notification(
        received=now(),
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
        cause=annotations.get("cause", ""),
        annotations={name: str(text)[:_MAX_TEXT] for name, text in annotations.items()},
    )


def slack_messages_of(message: dict[str, Any]) -> list[Message]:
    """The attachments of a message for Slack's incoming webhooks."""
    return [
        Message(
            now(),
            str(each["title"]),
            str(each["text"])[:_MAX_TEXT],
            str(each.get("color", "")),
            str(each.get("title_link", "")),
        )
        for each in message["attachments"]
    ]


def mail_of(content: bytes) -> Mail:
    """A mail as it was sent (RFC 5322)."""
    mail = message_from_bytes(content, policy=policy.default)
    assert isinstance(mail, EmailMessage)  # noqa: S101 - the policy decides it
    body = mail.get_body(("plain", "html"))
    text = body.get_content() if body else ""
    return Mail(
        now(),
        str(mail["From"] or ""),
        str(mail["To"] or ""),
        str(mail["Subject"] or ""),
        str(text).replace("\r\n", "\n")[:_MAX_TEXT],
    )


def pager_event_of(event: dict[str, Any]) -> PagerEvent:
    """An event as PagerDuty takes it; a field that it demands must be there."""
    payload = event.get("payload") or {}
    if event["event_action"] == "trigger":
        payload = {name: payload[name] for name in ("summary", "source", "severity")} | payload
    elif event["event_action"] not in {"acknowledge", "resolve"}:
        raise ValueError(f"event_action {event['event_action']!r} is unknown")
    if not event["routing_key"]:
        raise ValueError("routing_key is empty")
    details = payload.get("custom_details") or {}
    return PagerEvent(
        now(),
        event["event_action"],
        str(event.get("dedup_key", "")),
        str(payload.get("summary", "")),
        str(payload.get("severity", "")),
        str(payload.get("source", "")),
        str(event.get("client_url", "")),
        {str(name): str(text)[:_MAX_TEXT] for name, text in details.items()},
    )
