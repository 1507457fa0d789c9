"""Real ends of the ways that alerts travel, on loopback: an HTTP server and one of mail."""

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

ANSWERS = {"/slack": b"ok", "/pagerduty": b'{"status":"success","message":"","dedup_key":"x"}'}
"""What the real ones answer, as far as Alertmanager looks at it."""


class Received:
    """What arrived, by the way it came."""

    def __init__(self) -> None:
        self.posts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.mails: list[EmailMessage] = []
        self.logins: set[str] = set()


@contextmanager
def http_server(received: Received) -> Iterator[str]:
    """Take what is posted; the server's address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.posts[self.path].append(body)
            answer = ANSWERS.get(self.path, b"")
            self.send_response(202 if self.path == "/pagerduty" else 200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server, _serving(server):
        yield f"http://{LOOPBACK}:{server.server_port}"


@contextmanager
def mail_server(received: Received) -> Iterator[str]:
    """Take mail (RFC 5321) from whoever logs in (AUTH PLAIN); host and port."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 loopback")
            while line := self.rfile.readline().decode().strip():
                verb = line.partition(" ")[0].upper()
                if verb in {"EHLO", "HELO"}:
                    self.say("250-loopback\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    received.logins.add(base64.b64decode(line.split()[2]).decode())
                    self.say("235 welcome")
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    mail = message_from_bytes(b"".join(lines), policy=policy.default)
                    assert isinstance(mail, EmailMessage)
                    received.mails.append(mail)
                    self.say("250 taken")
                else:
                    self.say("221 bye" if verb == "QUIT" else "250 fine")

        def say(self, line: str) -> None:
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
