"""HTTP API of the issue tracker.

`GET /api/v1/issues` lists issues, `GET /api/v1/issues/FINGERPRINT` shows one, `POST
/api/v1/issues/FINGERPRINT/resolve`, `/ignore` and `/reopen` set its state, as JSON only. `GET
/metrics` is for Prometheus, `GET /ready` for the runner. Web pages of other origins are refused,
except those of the viewer.
"""

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from stack.inbox import origins
from stack.inbox.http_server import Server
from stack.issues import issue_views
from stack.issues.collector import Collector
from stack.issues.issue_store import IssueStore, State
from stack.issues.tracker_metrics import CONTENT_TYPE, TrackerMetrics
from stack.readiness import LOOPBACK

ISSUES = "/api/v1/issues"
ACTIONS = {"resolve": State.RESOLVED, "ignore": State.IGNORED, "reopen": State.OPEN}
_ONE = re.compile(rf"{ISSUES}/(?P<fingerprint>[0-9A-Za-z_]{{1,64}})(?:/(?P<action>\w+))?")
_MAX_BYTES = 10_000


class _Handler(BaseHTTPRequestHandler):
    store: IssueStore
    collector: Collector
    metrics: TrackerMetrics
    names: frozenset[str]
    page_origins: frozenset[str]
    protocol_version = "HTTP/1.1"
    timeout = 20  # seconds until an idle connection is closed

    def do_GET(self) -> None:
        if self._is_refused():
            return
        url = urlsplit(self.path)
        if url.path == "/metrics":
            self._answer(HTTPStatus.OK, self.metrics.render(), CONTENT_TYPE)
        elif url.path == "/ready":
            self._answer(HTTPStatus.OK, b"ready\n", "text/plain; charset=utf-8")
        elif url.path == ISSUES:
            try:
                found = issue_views.listed(self.store, dict(parse_qsl(url.query)), time())
            except issue_views.ParameterError as error:
                self._fail(HTTPStatus.BAD_REQUEST, str(error))
                return
            self._send(found | self._freshness())
        elif (found_path := _ONE.fullmatch(url.path)) and not found_path["action"]:
            self._show(found_path["fingerprint"])
        else:
            self._fail(HTTPStatus.NOT_FOUND, f"not found: use {ISSUES}")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        if self._is_refused():
            return
        found = _ONE.fullmatch(urlsplit(self.path).path)
        state = ACTIONS.get(found["action"] or "") if found else None
        if not self._read_body():
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {_MAX_BYTES} bytes")
        # Pages of another origin can send text and forms without a CORS preflight, but not JSON.
        elif self.headers.get_content_type() != "application/json":
            self._fail(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "only application/json is accepted")
        elif found is None or state is None:
            actions = ", ".join(ACTIONS)
            self._fail(
                HTTPStatus.NOT_FOUND, f"not found: use {ISSUES}/FINGERPRINT/ACTION: {actions}"
            )
        else:
            try:
                known = self.store.set_state(found["fingerprint"], state, time())
            except sqlite3.Error as error:
                text = f"not changed, because it cannot be written: {error}"
                self._fail(HTTPStatus.SERVICE_UNAVAILABLE, text)
                return
            if known:
                self._show(found["fingerprint"])
            else:
                self._fail(HTTPStatus.NOT_FOUND, f"no issue {found['fingerprint']}")

    def do_OPTIONS(self) -> None:
        """Answer a CORS preflight."""
        if self._is_refused():
            return
        headers = {
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "Content-Type",
            "Access-Control-Max-Age": "600",
        }
        self._answer(HTTPStatus.NO_CONTENT, b"", "", headers)

    def _show(self, fingerprint: str) -> None:
        issue = issue_views.shown(self.store, fingerprint, time())
        if issue is None:
            self._fail(HTTPStatus.NOT_FOUND, f"no issue {fingerprint}")
        else:
            self._send(issue)

    def _freshness(self) -> dict[str, Any]:
        """When the store was last read: without it, no issue does not mean no error."""
        read = self.collector.last_success
        return {"read": issue_views.moment(read) if read else None}

    def _is_refused(self) -> bool:
        reason = origins.refusal(self.headers, self.names, self.page_origins)
        if reason:
            self.close_connection = True
            self._fail(HTTPStatus.FORBIDDEN, reason)
        return bool(reason)

    def _read_body(self) -> bool:
        length = self.headers.get("Content-Length", "0")
        is_known = length.isdecimal() and "Transfer-Encoding" not in self.headers
        if not is_known or int(length) > _MAX_BYTES:
            self.close_connection = True  # the body was not read
            return False
        self.rfile.read(int(length))
        return True

    def _send(self, content: Any) -> None:
        self._answer(HTTPStatus.OK, json.dumps(content).encode(), "application/json")

    def _fail(self, status: HTTPStatus, reason: str) -> None:
        self._answer(status, json.dumps({"error": reason}).encode(), "application/json")

    def _answer(
        self,
        status: HTTPStatus,
        body: bytes,
        content_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Vary", "Origin")
        if self.headers["Origin"] in self.page_origins:
            self.send_header("Access-Control-Allow-Origin", self.headers["Origin"])
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Do not log requests."""


def build(
    port: int,
    store: IssueStore,
    collector: Collector,
    host: str = LOOPBACK,
    *,
    names: Sequence[str] = (),
    page_origins: Sequence[str] = (),
) -> ThreadingHTTPServer:
    """Build the server.

    Args:
        port: Port to listen on; 0 takes a free one.
        store: The issues.
        collector: What reads them.
        host: Address to listen on.
        names: Host names that it accepts, besides those of loopback.
        page_origins: Other origins whose pages may read issues and set their states.
    """
    attributes = {
        "store": store,
        "collector": collector,
        "metrics": TrackerMetrics(store, collector),
        "names": origins.LOOPBACK_NAMES | set(names),
        "page_origins": frozenset(page_origins),
    }
    return Server((host, port), type("Handler", (_Handler,), attributes))
