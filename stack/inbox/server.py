"""What a person on call would get, on this machine.

`POST /` takes Alertmanager's webhooks and `POST /slack` the messages it writes for Slack. `GET /`
answers with the last of both, as JSON or, to a browser, as a page; `GET /runbooks/NAME.md` with
the runbook that a message leads to. `POST /heartbeat?within=180` is the watchdog's other end: after
so many seconds without another, the inbox says so. Only JSON is taken, and nothing of other pages.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from stack.inbox import origins
from stack.inbox.heartbeats import FOREVER
from stack.inbox.http_server import Server
from stack.inbox.inbox_store import HEARTBEAT, Inbox, page
from stack.readiness import LOOPBACK

_LARGEST = 1_000_000
_RUNBOOKS = Path(__file__).parents[2] / "alerts" / "runbooks"


class _Handler(BaseHTTPRequestHandler):
    inbox: Inbox
    names: frozenset[str]
    timeout = 10  # seconds for a client that says nothing

    def do_GET(self) -> None:
        if self._is_foreign():
            return
        if self.path.startswith("/runbooks/"):
            self._show_runbook(self.path.removeprefix("/runbooks/"))
            return
        if "text/html" in self.headers.get("Accept", ""):
            self._answer(HTTPStatus.OK, page(self.inbox), "text/html; charset=utf-8")
            return
        content = {
            "heartbeat": self.inbox.heartbeats.last(HEARTBEAT),
            "notifications": [asdict(note) for note in self.inbox.notifications],
            "messages": [asdict(message) for message in self.inbox.messages],
        }
        self._answer(HTTPStatus.OK, json.dumps(content), "application/json")

    def do_POST(self) -> None:
        if self._is_foreign():
            return
        # A page of another origin may send text and forms without asking; JSON it may not.
        if self.headers.get_content_type() != "application/json":
            self._answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "this takes application/json only")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LARGEST:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "at most 1 MB, with a Content-Length")
            return
        body = self.rfile.read(int(length))
        asked = urlsplit(self.path)
        answer = ""
        try:
            if asked.path.startswith(HEARTBEAT):
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
        if self._is_foreign():
            return
        self.inbox.heartbeats.forget(self.path)
        self._answer(HTTPStatus.OK, "")

    def _is_foreign(self) -> bool:
        """Whether a page of another origin asks, which is then refused."""
        fault = origins.fault(self.headers, self.names)
        if fault:
            self._answer(HTTPStatus.FORBIDDEN, fault)
        return bool(fault)

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


class _Server(Server):
    inbox: Inbox

    def service_actions(self) -> None:
        """Between two requests, and twice a second: is a heartbeat missing?"""
        self.inbox.heartbeats.look()


def build(port: int, host: str = LOOPBACK, names: Sequence[str] = ()) -> ThreadingHTTPServer:
    """The server.

    Args:
        port: Where it listens; 0 takes a free one.
        host: Which address it listens on.
        names: What it is called, besides the names of loopback.
    """
    inbox = Inbox()
    own = {"inbox": inbox, "names": origins.LOOPBACK_NAMES | set(names)}
    server = _Server((host, port), type("Handler", (_Handler,), own))
    server.inbox = inbox
    return server


def main(words: Sequence[str] | None = None) -> None:
    """Serve until we are ended."""
    parser = argparse.ArgumentParser(prog="python -m stack.inbox.server", description=__doc__)
    parser.add_argument("--port", type=int, default=9094)
    parser.add_argument("--host", default=LOOPBACK, help="it knows no passwords: keep it private")
    parser.add_argument("--name", action="append", default=[], help="what it is called; repeatable")
    asked = parser.parse_args(words)
    build(asked.port, asked.host, asked.name).serve_forever()


if __name__ == "__main__":
    main()
