"""A receiver for Alertmanager's webhooks: shows what a person on call would get.

`GET /` answers with the last notifications, as JSON or, to a browser, as a page.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from stack.probes import LOOPBACK

_KEPT = 200
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Notification:
    """One alert of one message. Times are ISO 8601, UTC."""

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

    def __str__(self) -> str:
        """One line for a terminal."""
        about = " ".join(
            f"{name}={value}"
            for name, value in sorted(self.labels.items())
            if name not in {"alertname", "severity"}
        )
        return f"{self.status.upper()} {self.severity} {self.alert} [{about}] {self.summary}"


@dataclass
class Inbox:
    """The last notifications, newest first, and when the heartbeat was heard last.

    Threads share it: the tuple is replaced as a whole, so that a reader sees one state.
    """

    notifications: tuple[Notification, ...] = ()
    heartbeat: str = ""
    _writing: Lock = field(default_factory=Lock)

    def take(self, message: dict[str, Any]) -> list[Notification]:
        """Read an Alertmanager webhook message (version 4)."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        taken = [_notification(alert, message, now) for alert in message["alerts"]]
        with self._writing:
            self.notifications = (*reversed(taken), *self.notifications)[:_KEPT]
        return taken


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
        f"<p>Heartbeat heard: {escape(inbox.heartbeat) or 'never'}"
        f"<table><tr><th>received (UTC)<th>status<th>severity<th>alert<th>summary{rows}</table>"
    )


class _Handler(BaseHTTPRequestHandler):
    inbox: Inbox
    timeout = 10  # seconds for a client that says nothing

    def do_GET(self) -> None:
        if "text/html" in self.headers.get("Accept", ""):
            self._answer(HTTPStatus.OK, page(self.inbox), "text/html; charset=utf-8")
            return
        content = {
            "heartbeat": self.inbox.heartbeat,
            "notifications": [asdict(note) for note in self.inbox.notifications],
        }
        self._answer(HTTPStatus.OK, json.dumps(content), "application/json")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LARGEST:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "at most 1 MB, with a Content-Length")
            return
        body = self.rfile.read(int(length))
        if self.path == "/heartbeat":
            self.inbox.heartbeat = datetime.now(UTC).isoformat(timespec="seconds")
            self._answer(HTTPStatus.OK, "")
            return
        try:
            taken = self.inbox.take(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, f"no Alertmanager message: {error!r}")
            return
        for note in taken:
            print(note, flush=True)
        self._answer(HTTPStatus.OK, "")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not worth a line: the notifications are."""

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        self.wfile.write(body)


def build(port: int, host: str = LOOPBACK) -> ThreadingHTTPServer:
    """The server; port 0 takes a free one."""
    handler = type("Handler", (_Handler,), {"inbox": Inbox()})
    return ThreadingHTTPServer((host, port), handler)


def main(words: Sequence[str] | None = None) -> None:
    """Serve until we are ended."""
    parser = argparse.ArgumentParser(prog="python -m stack.inbox", description=__doc__)
    parser.add_argument("--port", type=int, default=9094)
    parser.add_argument("--host", default=LOOPBACK, help="it knows no passwords: keep it private")
    asked = parser.parse_args(words)
    build(asked.port, asked.host).serve_forever()


if __name__ == "__main__":
    main()
