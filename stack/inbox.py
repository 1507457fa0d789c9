"""What a person on call would get, on this machine.

`POST /` takes Alertmanager's webhooks and `POST /slack` the messages it writes for Slack. `GET /`
answers with the last of both, as JSON or, to a browser, as a page; `GET /runbooks/NAME.md` with
the runbook that a message leads to. `POST /heartbeat?within=180` is the watchdog's other end: after
so many seconds without another, the inbox says so.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from stack.heartbeats import FOREVER, Heartbeats
from stack.probes import LOOPBACK

_KEPT = 200
_LARGEST = 1_000_000
_HEARTBEAT = "/heartbeat"
_RUNBOOKS = Path(__file__).parents[1] / "alerts" / "runbooks"


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
            print(note, flush=True)

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
        f"<p>Heartbeat heard: {escape(inbox.heartbeats.last(_HEARTBEAT)) or 'never'}"
        f"<table><tr><th>received (UTC)<th>status<th>severity<th>alert<th>summary{rows}</table>"
    )


class _Handler(BaseHTTPRequestHandler):
    inbox: Inbox
    timeout = 10  # seconds for a client that says nothing

    def do_GET(self) -> None:
        if self.path.startswith("/runbooks/"):
            self._show_runbook(self.path.removeprefix("/runbooks/"))
            return
        if "text/html" in self.headers.get("Accept", ""):
            self._answer(HTTPStatus.OK, page(self.inbox), "text/html; charset=utf-8")
            return
        content = {
            "heartbeat": self.inbox.heartbeats.last(_HEARTBEAT),
            "notifications": [asdict(note) for note in self.inbox.notifications],
            "messages": [asdict(message) for message in self.inbox.messages],
        }
        self._answer(HTTPStatus.OK, json.dumps(content), "application/json")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LARGEST:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "at most 1 MB, with a Content-Length")
            return
        body = self.rfile.read(int(length))
        asked = urlsplit(self.path)
        answer = ""
        try:
            if asked.path.startswith(_HEARTBEAT):
                within = parse_qs(asked.query).get("within", [str(FOREVER)])[0]
                self.inbox.heartbeats.hear(asked.path, float(within))
            elif asked.path == "/slack":
                self.inbox.read(json.loads(body))
                answer = "ok"  # newer Alertmanagers take anything else from Slack for an error
            elif asked.path == "/":
                self.inbox.take(json.loads(body))
            else:
                self._answer(HTTPStatus.NOT_FOUND, "there are /, /slack and /heartbeat")
                return
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, f"no Alertmanager message: {error!r}")
            return
        self._answer(HTTPStatus.OK, answer)

    def do_DELETE(self) -> None:
        self.inbox.heartbeats.forget(self.path)
        self._answer(HTTPStatus.OK, "")

    def _show_runbook(self, name: str) -> None:
        texts = {path.name: path for path in _RUNBOOKS.glob("*.md")}
        if name not in texts:
            self._answer(HTTPStatus.NOT_FOUND, f"no runbook {name}")
            return
        self._answer(HTTPStatus.OK, texts[name].read_text("utf-8"), "text/plain; charset=utf-8")

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


class _Server(ThreadingHTTPServer):
    inbox: Inbox

    def service_actions(self) -> None:
        """Between two requests, and twice a second: is a heartbeat missing?"""
        self.inbox.heartbeats.look()


def build(port: int, host: str = LOOPBACK) -> ThreadingHTTPServer:
    """The server; port 0 takes a free one."""
    inbox = Inbox()
    server = _Server((host, port), type("Handler", (_Handler,), {"inbox": inbox}))
    server.inbox = inbox
    return server


def main(words: Sequence[str] | None = None) -> None:
    """Serve until we are ended."""
    parser = argparse.ArgumentParser(prog="python -m stack.inbox", description=__doc__)
    parser.add_argument("--port", type=int, default=9094)
    parser.add_argument("--host", default=LOOPBACK, help="it knows no passwords: keep it private")
    asked = parser.parse_args(words)
    build(asked.port, asked.host).serve_forever()


if __name__ == "__main__":
    main()
