"""Stands before Alertmanager and refuses what pages of others send.

Alertmanager lets every page of the web read alerts and write silences (`Access-Control-Allow-
Origin: *`, which nothing turns off), and has no password of its own that a browser could not be
made to send. It listens where only this program knows the path, or can connect at all.
"""

import argparse
import http.client
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import SplitResult, urlsplit

from stack.inbox import origins
from stack.inbox.http_server import Server
from stack.readiness import LOOPBACK

_LARGEST = 10_000_000
_SECONDS = 30.0
_OWN = frozenset({"connection", "content-length", "date", "keep-alive", "server"})
"""Headers that each connection has of its own."""
_REPLACED = frozenset({"transfer-encoding", "access-control-allow-origin", "vary"})


class _Handler(BaseHTTPRequestHandler):
    behind: SplitResult
    names: frozenset[str]
    readers: frozenset[str]
    protocol_version = "HTTP/1.1"
    timeout = 20  # seconds for a client that says nothing

    def _pass_on(self) -> None:
        length = self.headers.get("Content-Length", "0")
        friends = self.readers if self.command == "GET" else frozenset[str]()
        if fault := origins.fault(self.headers, self.names, friends):
            self._refuse(HTTPStatus.FORBIDDEN, fault)
        elif "Transfer-Encoding" in self.headers or not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "Send a Content-Length.")
        elif int(length) > _LARGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {_LARGEST} bytes.")
        elif not self.path.startswith("/"):
            self._refuse(HTTPStatus.BAD_REQUEST, "This is no proxy for others.")
        else:
            self._exchange(self.rfile.read(int(length)))

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_POST = do_PUT = _pass_on  # noqa: N815

    def _exchange(self, body: bytes) -> None:
        headers = {name: text for name, text in self.headers.items() if name.lower() not in _OWN}
        where = self.behind.hostname or LOOPBACK
        connection = http.client.HTTPConnection(where, self.behind.port, timeout=_SECONDS)
        try:
            path = self.behind.path.rstrip("/") + self.path
            connection.request(self.command, path, body or None, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._refuse(HTTPStatus.BAD_GATEWAY, f"Alertmanager does not answer: {error}")
            return
        finally:
            connection.close()
        self.send_response(response.status)
        for name, text in response.getheaders():
            if name.lower() not in _OWN | _REPLACED:
                self.send_header(name, text)
        if (origin := self.headers["Origin"]) in self.readers:
            self.send_header("Access-Control-Allow-Origin", origin)
        self.send_header("Vary", "Origin")
        # Where nothing is sent, it is the length of what would be.
        length = response.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        body = f"{why}\n".encode()
        self.close_connection = True  # the body was not read
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Requests are not worth a line."""


def build(
    port: int,
    to: str,
    host: str = LOOPBACK,
    names: Sequence[str] = (),
    readers: Sequence[str] = (),
) -> ThreadingHTTPServer:
    """The server.

    Args:
        port: Where it listens; 0 takes a free one.
        to: Address of Alertmanager, with its path.
        host: Which address it listens on.
        names: What it is called, besides the names of loopback.
        readers: Other origins whose pages may read, such as that of the boards.
    """
    known = origins.LOOPBACK_NAMES | set(names)
    own = {"behind": urlsplit(to), "names": known, "readers": frozenset(readers)}
    return Server((host, port), type("Handler", (_Handler,), own))


def main(words: Sequence[str] | None = None) -> None:
    """Serve until we are ended."""
    parser = argparse.ArgumentParser(prog="python -m stack.inbox.gate", description=__doc__)
    parser.add_argument("--port", type=int, default=9093)
    parser.add_argument("--host", default=LOOPBACK, help="it knows no passwords: keep it private")
    parser.add_argument("--to", required=True, help="Alertmanager's address")
    parser.add_argument("--name", action="append", default=[], help="what it is called; repeatable")
    parser.add_argument(
        "--reader", action="append", default=[], help="an origin whose pages may read; repeatable"
    )
    asked = parser.parse_args(words)
    build(asked.port, asked.to, asked.host, asked.name, asked.reader).serve_forever()


if __name__ == "__main__":
    main()
