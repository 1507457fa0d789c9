"""The inbox: an HTTP server that receives the notifications of the person on call, on this machine.

`POST /` accepts Alertmanager's webhooks, `POST /slack` its messages to Slack, `POST /pagerduty` its
events for PagerDuty, and a mail server its mail. `GET /` returns the last of each, as JSON or, to a
browser, as pages; `GET /runbooks/NAME.md` returns a runbook that messages link to. `POST
/heartbeat?within=150` receives the watchdog alert: after that many seconds without another one, the
inbox adds a notification. It accepts only JSON, no cross-site requests. `POST /apprise` passes a
Slack message on to the services that Apprise knows, if their addresses are given.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import SplitResult, parse_qs, urlsplit

from stack.inbox import origins
from stack.inbox.heartbeats import NO_DEADLINE
from stack.inbox.http_server import Server
from stack.inbox.inbox_store import HEARTBEAT, InboxStore
from stack.inbox.mail_server import MailServer
from stack.inbox.pages import page
from stack.inbox.relay import InvalidAddressError, Relay, UndeliveredError
from stack.readiness import LOOPBACK

_MAX_BYTES = 1_000_000
_RUNBOOKS = Path(__file__).parents[2] / "alerts" / "runbooks"


class _Handler(BaseHTTPRequestHandler):
    inbox: InboxStore
    relay: Relay | None
    names: frozenset[str]
    viewer: str
    timeout = 10  # seconds until an idle connection is closed

    def do_GET(self) -> None:
        if self._is_cross_site():
            return
        if self.path.startswith("/runbooks/"):
            self._show_runbook(self.path.removeprefix("/runbooks/"))
            return
        if "text/html" in self.headers.get("Accept", ""):
            tab = parse_qs(urlsplit(self.path).query).get("show", [""])[0]
            text = page(self.inbox, tab, self.viewer)
            self._respond(HTTPStatus.OK, text, "text/html; charset=utf-8")
            return
        content = {
            "heartbeat": self.inbox.heartbeats.last(HEARTBEAT),
            "notifications": [asdict(each) for each in self.inbox.notifications],
            "messages": [asdict(message) for message in self.inbox.messages],
            "mails": [asdict(mail) for mail in self.inbox.mails],
            "pages": [asdict(event) for event in self.inbox.pages],
        }
        self._respond(HTTPStatus.OK, json.dumps(content), "application/json")

    def do_POST(self) -> None:
        if self._is_cross_site():
            return
        # Pages of another origin can send text and forms without a CORS preflight, but not JSON.
        if self.headers.get_content_type() != "application/json":
            self._respond(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "only application/json is accepted")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MAX_BYTES:
            self._respond(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "at most 1 MB, with a Content-Length"
            )
            return
        body = self.rfile.read(int(length))
        try:
            self._accept(urlsplit(self.path), body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._respond(HTTPStatus.BAD_REQUEST, f"not an Alertmanager message: {error!r}")
        except UndeliveredError as error:  # Alertmanager tries again
            self._respond(HTTPStatus.BAD_GATEWAY, str(error))

    def _accept(self, url: SplitResult, body: bytes) -> None:
        """Store a message, and respond as the service that it is written for."""
        if url.path.startswith(HEARTBEAT):
            within = parse_qs(url.query).get("within", [str(NO_DEADLINE)])[0]
            self.inbox.record_heartbeat(url.path, float(within))
            self._respond(HTTPStatus.OK, "")
        elif url.path == "/slack":
            self.inbox.add_slack_message(json.loads(body))
            # Newer Alertmanagers treat any other Slack response as an error.
            self._respond(HTTPStatus.OK, "ok")
        elif url.path == "/pagerduty":
            key = self.inbox.add_pager_event(json.loads(body))
            response = {"status": "success", "message": "Event processed", "dedup_key": key}
            self._respond(HTTPStatus.ACCEPTED, json.dumps(response), "application/json")
        elif url.path == "/apprise" and self.relay:
            self.relay.send(json.loads(body))
            self._respond(HTTPStatus.OK, "ok")
        elif url.path == "/":
            self.inbox.add_webhook(json.loads(body))
            self._respond(HTTPStatus.OK, "")
        else:
            known = "use /, /slack, /pagerduty or /heartbeat"
            self._respond(HTTPStatus.NOT_FOUND, f"not found: {known}")

    def do_DELETE(self) -> None:
        if self._is_cross_site():
            return
        self.inbox.forget_heartbeat(self.path)
        self._respond(HTTPStatus.OK, "")

    def _is_cross_site(self) -> bool:
        """Whether it is a cross-site request; if so it is refused."""
        reason = origins.refusal(self.headers, self.names)
        if reason:
            self._respond(HTTPStatus.FORBIDDEN, reason)
        return bool(reason)

    def _show_runbook(self, name: str) -> None:
        runbooks = {path.name: path for path in _RUNBOOKS.glob("*.md")}
        if name not in runbooks:
            self._respond(HTTPStatus.NOT_FOUND, f"no runbook {name}")
            return
        self._respond(HTTPStatus.OK, runbooks[name].read_text("utf-8"), "text/plain; charset=utf-8")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log requests, only notifications."""

    def _respond(self, status: HTTPStatus, text: str, content_type: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        self.wfile.write(body)


class _Server(Server):
    inbox: InboxStore

    def service_actions(self) -> None:
        """Check for missed heartbeats, between requests and twice a second."""
        self.inbox.heartbeats.check()


def build(
    port: int,
    host: str = LOOPBACK,
    names: Sequence[str] = (),
    archive: Path | None = None,
    *,
    relay: Relay | None = None,
    viewer: str = "",
) -> ThreadingHTTPServer:
    """Build the server.

    Args:
        port: Port to listen on; 0 takes a free one.
        host: Address to listen on.
        names: Host names that it accepts, besides those of loopback.
        archive: The file that keeps messages across restarts; `None` for none.
        relay: Passes messages on to other services.
        viewer: Address of the viewer, for the links of alerts.
    """
    inbox = InboxStore(archive)
    known = origins.LOOPBACK_NAMES | set(names)
    attributes = {"inbox": inbox, "names": known, "relay": relay, "viewer": viewer}
    server = _Server((host, port), type("Handler", (_Handler,), attributes))
    server.inbox = inbox
    return server


def build_mail_server(port: int, server: ThreadingHTTPServer, host: str = LOOPBACK) -> MailServer:
    """Build the mail server whose mail an inbox shows; its port may be 0."""
    assert isinstance(server, _Server)  # noqa: S101 - that of `build`
    return MailServer(port, server.inbox.add_mail, host)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m stack.inbox.server", description=__doc__)
    parser.add_argument("--port", type=int, default=9094)
    parser.add_argument("--mail-port", type=int, help="receive mail there; by default none")
    parser.add_argument("--host", default=LOOPBACK, help="listen address; no authentication")
    parser.add_argument(
        "--name", action="append", default=[], help="accepted host name; repeatable"
    )
    parser.add_argument("--archive", type=Path, help="SQLite file; without it nothing is kept")
    parser.add_argument("--apprise", type=Path, help="file with one address of Apprise a line")
    parser.add_argument("--viewer", default="", help="address of the viewer, for links of alerts")
    options = parser.parse_args(argv)
    try:
        relay = Relay.read(options.apprise) if options.apprise else None
    except (InvalidAddressError, OSError) as error:
        parser.error(f"--apprise: {error}")
    server = build(
        options.port,
        options.host,
        options.name,
        options.archive,
        relay=relay,
        viewer=options.viewer,
    )
    if options.mail_port is not None:
        mail = build_mail_server(options.mail_port, server, options.host)
        Thread(target=mail.serve_forever, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
