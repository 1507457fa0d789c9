"""Receivers of notifications on loopback: an HTTP server and an SMTP server."""

import base64
import json
import socketserver
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stack.readiness import LOOPBACK

RESPONSES = {"/slack": b"ok", "/pagerduty": b'{"status":"success","message":"","dedup_key":"x"}'}
"""Responses of the real services, as far as Alertmanager reads them."""


class Received:
    """Received notifications, by path."""

    def __init__(self) -> None:
        self.posts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.mails: list[EmailMessage] = []
        self.logins: set[str] = set()


@contextmanager
def http_server(received: Received) -> Iterator[str]:
    """Receive POST requests; yields the server's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.posts[self.path].append(body)
            response = RESPONSES.get(self.path, b"")
            self.send_response(202 if self.path == "/pagerduty" else 200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server, _serving(server):
        yield f"http://{LOOPBACK}:{server.server_port}"


@contextmanager
def mail_server(received: Received) -> Iterator[str]:
    """Receive mail (RFC 5321) after AUTH PLAIN; yields host and port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.reply("220 loopback")
            while line := self.rfile.readline().decode().strip():
                verb = line.partition(" ")[0].upper()
                if verb in {"EHLO", "HELO"}:
                    self.reply("250-loopback\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    received.logins.add(base64.b64decode(line.split()[2]).decode())
                    self.reply("235 authenticated")
                elif verb == "DATA":
                    self.reply("354 end with a dot")
                    lines = iter(self.rfile.readline, b".\r\n")
                    mail = message_from_bytes(b"".join(lines), policy=policy.default)
                    assert isinstance(mail, EmailMessage)
                    received.mails.append(mail)
                    self.reply("250 accepted")
                else:
                    self.reply("221 bye" if verb == "QUIT" else "250 ok")

        def reply(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with socketserver.ThreadingTCPServer((LOOPBACK, 0), Handler) as server, _serving(server):
        yield f"{LOOPBACK}:{server.server_address[1]}"


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
