"""Services on loopback that refuse what the real ones refuse, and answer as they do.

What each demands is in its reference: Slack's incoming webhooks, Discord's webhook resource,
PagerDuty's Events API v2, Opsgenie's Alert API.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from stack.readiness import LOOPBACK

Json = dict[str, Any]
Answer = tuple[HTTPStatus, str, str]
"""Status, content type and body."""
OPSGENIE_KEY = "GenieKey made-up-key"
_CLOSE = re.compile(r"/opsgenie/v2/alerts/(?P<alias>[^/]+)/close")


class RefusedError(ValueError):
    """The service refuses the message."""


def demand(condition: object, what: str) -> None:
    if not condition:
        raise RefusedError(what)


def slack(body: Json) -> Answer:
    demand(body.get("text") or body.get("attachments"), "no_text")
    for each in body.get("attachments", []):
        demand(each.get("text") or each.get("fallback"), "no_text in an attachment")
        demand(len(each["text"]) <= 40_000, "msg_too_long")
    return HTTPStatus.OK, "text/plain", "ok"


def discord(body: Json) -> Answer:
    embeds = body.get("embeds", [])
    demand(body.get("content") or embeds, "50006: cannot send an empty message")
    demand(len(embeds) <= 10, "at most ten embeds")
    for each in embeds:
        demand(0 < len(each["title"]) <= 256, "embeds.title: 1 to 256 characters")
        demand(len(each["description"]) <= 4096, "embeds.description: at most 4096 characters")
        demand(isinstance(each.get("color", 0), int), "embeds.color: a number")
    return HTTPStatus.NO_CONTENT, "application/json", ""


def pagerduty(body: Json) -> Answer:
    demand(body.get("routing_key"), "routing_key is missing")
    demand(body.get("event_action") in {"trigger", "acknowledge", "resolve"}, "event_action")
    if body["event_action"] == "trigger":
        payload = body.get("payload") or {}
        demand(
            0 < len(payload.get("summary", "")) <= 1024, "payload.summary: up to 1024 characters"
        )
        demand(payload.get("source"), "payload.source is missing")
        demand(payload.get("severity") in {"critical", "error", "warning", "info"}, "severity")
    else:
        demand(body.get("dedup_key"), "dedup_key is missing")
    answer = {"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]}
    return HTTPStatus.ACCEPTED, "application/json", json.dumps(answer)


def opsgenie(body: Json) -> Answer:
    demand(0 < len(body.get("message", "")) <= 130, "message: 1 to 130 characters")
    demand(0 < len(body.get("alias", "")) <= 512, "alias: 1 to 512 characters")
    demand(len(body.get("description", "")) <= 15_000, "description: at most 15000 characters")
    demand(body.get("priority") in {"P1", "P2", "P3", "P4", "P5"}, "priority: P1 to P5")
    answer = {"result": "Request will be processed", "took": 0.1, "requestId": "made-up"}
    return HTTPStatus.ACCEPTED, "application/json", json.dumps(answer)


_SERVICES: dict[str, Callable[[Json], Answer]] = {
    "/slack": slack,
    "/relay": slack,
    "/discord": discord,
    "/pagerduty": pagerduty,
    "/opsgenie/v2/alerts": opsgenie,
}


class Services:
    """What the services took, by path, and what they refused."""

    def __init__(self) -> None:
        self.taken: dict[str, list[Json]] = {}
        self.refused: list[str] = []

    def answer(self, target: str, headers: Message, body: Json) -> Answer:
        """Check a message as the real service does."""
        url = urlsplit(target)
        try:
            if url.path.startswith("/opsgenie"):
                demand(headers["Authorization"] == OPSGENIE_KEY, "the key is not accepted")
            if closed := _CLOSE.fullmatch(url.path):
                demand(parse_qs(url.query).get("identifierType") == ["alias"], "identifierType")
                body, path = {**body, "closed": closed["alias"]}, "/opsgenie/close"
                answer = HTTPStatus.ACCEPTED, "application/json", "{}"
            else:
                path = url.path
                answer = _SERVICES[path](body)
        except (RefusedError, KeyError, TypeError) as error:
            self.refused.append(f"{target}: {error}: {body}")
            return HTTPStatus.BAD_REQUEST, "text/plain", str(error)
        self.taken.setdefault(path, []).append(body)
        return answer


@contextmanager
def services() -> Iterator[tuple[str, Services]]:
    """Serve them; yields their URL and what they took."""
    kept = Services()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, kind, text = kept.answer(self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_port}", kept
        server.shutdown()
        thread.join()
