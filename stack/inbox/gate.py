"""The gate: a reverse proxy for Alertmanager that refuses cross-site requests.

Alertmanager lets web pages of every origin read alerts and write silences (`Access-Control-Allow-
Origin: *`, which cannot be turned off), and has no authentication that a browser could not be made
to send. It listens below a path that only the gate knows, or where only the gate can connect.

Pages of the viewer are of another origin, that of Prometheus. They may read everything, and create
and expire silences, as JSON only (`stack.inbox.origins`).

What Alertmanager has notified of, it also sends to `POST /notified`, so that the gate can mark the
ends of alerts that were never notified (`stack.inbox.notified`).

With `--prometheus` it also runs the reconciler (`alerts.reconciler`) beside Alertmanager.
"""

import argparse
import http.client
import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import SplitResult, urlsplit

from alerts import reconciler
from stack.inbox import origins
from stack.inbox.http_server import Server
from stack.inbox.notified import PATH, NotifiedAlerts
from stack.readiness import LOOPBACK
from stack.terminal import print_line

_MAX_BYTES = 10_000_000
_TIMEOUT_SECONDS = 30.0
_OWN_HEADERS = frozenset({"connection", "content-length", "date", "keep-alive", "server"})
"""Headers of a single connection, not forwarded."""
_REPLACED = frozenset(
    {
        "transfer-encoding",
        "access-control-allow-headers",
        "access-control-allow-methods",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "vary",
    }
)
_ALERTS = "/api/v2/alerts"
"""Where Prometheus posts alerts."""
_PREFLIGHT_SECONDS = 600
"""How long a browser may remember what the pages of the viewer may send."""


class _Handler(BaseHTTPRequestHandler):
    upstreams: Sequence[SplitResult]
    names: frozenset[str]
    page_origins: frozenset[str]
    home: str
    notified: NotifiedAlerts
    protocol_version = "HTTP/1.1"
    timeout = 20  # seconds until an idle connection is closed

    def _forward(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if reason := origins.refusal(self.headers, self.names, self.page_origins):
            self._refuse(HTTPStatus.FORBIDDEN, reason)
        elif self._is_of_a_page() and (refused := origins.page_refusal(self.command, self.path)):
            self._refuse(HTTPStatus.FORBIDDEN, refused)
        elif self._is_of_a_page() and self.command == "OPTIONS":
            self._allow_page()
        elif self._is_of_a_page() and self.command == "POST" and not self._is_json():
            # A page can send forms and text without a CORS preflight, but not JSON.
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Only application/json is accepted.")
        elif "Transfer-Encoding" in self.headers or not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "A Content-Length is required.")
        elif int(length) > _MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {_MAX_BYTES} bytes.")
        elif not self.path.startswith("/"):
            self._refuse(HTTPStatus.BAD_REQUEST, "The request target must be a path.")
        elif self.home and self.path == "/" and self.command in {"GET", "HEAD"}:
            # A browser keeps the fragment: the viewer opens `#/silences/new?filter=` too.
            self._answer(HTTPStatus.FOUND, {"Location": self.home})
        else:
            self._accept(self.rfile.read(int(length)))

    do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_POST = do_PUT = _forward  # noqa: N815

    def _accept(self, body: bytes) -> None:
        if (self.command, self.path) == ("POST", _ALERTS):
            body = self.notified.mark(body)
        if (self.command, self.path) != ("POST", PATH):
            self._proxy(body)
            return
        try:
            self.notified.note(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._answer(HTTPStatus.BAD_REQUEST, {})
        else:
            self._answer(HTTPStatus.OK, {})

    def _is_of_a_page(self) -> bool:
        """Whether a page of the viewer sends it."""
        return self.headers["Origin"] in self.page_origins

    def _is_json(self) -> bool:
        return self.headers.get_content_type() == "application/json"

    def _allow_page(self) -> None:
        """Answer a CORS preflight."""
        self._answer(
            HTTPStatus.NO_CONTENT,
            {
                "Access-Control-Allow-Origin": self.headers["Origin"],
                "Access-Control-Allow-Methods": "GET, POST, DELETE",
                "Access-Control-Allow-Headers": "Content-Type",
                "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
                "Vary": "Origin",
            },
        )

    def _answer(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        """Send a response without a body."""
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def _proxy(self, body: bytes) -> None:
        headers = {
            name: text for name, text in self.headers.items() if name.lower() not in _OWN_HEADERS
        }
        try:
            response, content = self._ask(body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._refuse(HTTPStatus.BAD_GATEWAY, f"Alertmanager does not answer: {error}")
            return
        self.send_response(response.status)
        for name, text in response.getheaders():
            if name.lower() not in _OWN_HEADERS | _REPLACED:
                self.send_header(name, text)
        self._let_page_read()
        # A HEAD response has no body, but the length of the GET response.
        length = response.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _ask(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The response of the first Alertmanager that answers.

        Raises:
            OSError: None can be reached.
            HTTPException: The last does not answer in HTTP.
        """
        for number, upstream in enumerate(self.upstreams, start=1):
            connection = http.client.HTTPConnection(
                upstream.hostname or LOOPBACK, upstream.port, timeout=_TIMEOUT_SECONDS
            )
            try:
                path = upstream.path.rstrip("/") + self.path
                connection.request(self.command, path, body or None, dict(headers))
                response = connection.getresponse()
                return response, response.read()
            except (OSError, http.client.HTTPException):
                if number == len(self.upstreams):
                    raise
            finally:
                connection.close()
        raise OSError("there is no Alertmanager")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        body = f"{reason}\n".encode()
        self.close_connection = True  # the body was not read
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self._let_page_read()
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def _let_page_read(self) -> None:
        """Let a page of the viewer read the response, also a refusal, which says why."""
        if self._is_of_a_page():
            self.send_header("Access-Control-Allow-Origin", self.headers["Origin"])
        self.send_header("Vary", "Origin")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log requests."""


def build(
    port: int,
    upstream: str | Sequence[str],
    host: str = LOOPBACK,
    *,
    names: Sequence[str] = (),
    page_origins: Sequence[str] = (),
    home: str = "",
) -> ThreadingHTTPServer:
    """Build the server.

    Args:
        port: Port to listen on; 0 takes a free one.
        upstream: URL of Alertmanager, with its path; of a pair, both: the first that answers is
            asked.
        host: Address to listen on.
        names: Host names that it accepts, besides those of loopback.
        page_origins: Other origins whose pages may read, and create and expire silences: those of
            the viewer.
        home: Where `/` redirects; empty for Alertmanager's own page, which Debian's does not have.
    """
    known = origins.LOOPBACK_NAMES | set(names)
    attributes = {
        "upstreams": [
            urlsplit(url) for url in ([upstream] if isinstance(upstream, str) else upstream)
        ],
        "names": known,
        "page_origins": frozenset(page_origins),
        "home": home,
        "notified": NotifiedAlerts(),
    }
    return Server((host, port), type("Handler", (_Handler,), attributes))


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m stack.inbox.gate", description=__doc__)
    parser.add_argument("--port", type=int, default=9093)
    parser.add_argument("--host", default=LOOPBACK, help="listen address; no authentication")
    parser.add_argument(
        "--upstream",
        action="append",
        required=True,
        help="URL of Alertmanager; repeated for a pair, of which the first that answers is asked",
    )
    parser.add_argument(
        "--name", action="append", default=[], help="accepted host name; repeatable"
    )
    parser.add_argument(
        "--page-origin",
        action="append",
        default=[],
        help="an origin whose pages may read, and write silences; repeatable",
    )
    parser.add_argument("--home", default="", help="URL that / redirects to")
    parser.add_argument("--prometheus", help="its URL: report to Alertmanager what ended unheard")
    options = parser.parse_args(argv)
    server = build(
        options.port,
        options.upstream,
        options.host,
        names=options.name,
        page_origins=options.page_origin,
        home=options.home,
    )
    if options.prometheus:
        thread = Thread(
            target=reconciler.keep_reconciling,
            # By the gate, which marks ends of what was not notified.
            args=(options.prometheus, f"http://{LOOPBACK}:{server.server_port}", print_line),
            daemon=True,
        )
        thread.start()
    server.serve_forever()


if __name__ == "__main__":
    main()
