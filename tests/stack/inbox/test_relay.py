"""The relay: Apprise itself, and services on loopback that refuse what the real ones refuse."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stack.inbox import server
from stack.inbox.relay import InvalidAddressError, Relay, UndeliveredError
from tests.stack.inbox.test_server import serving

apprise = pytest.importorskip("apprise", reason="apprise is missing: make test installs it")

TITLE, TEXT = "[FIRING 1] TargetDown api", "api is down\n  Board: http://127.0.0.1/d/x?a=1&b=2"
MESSAGE = {"attachments": [{"title": TITLE, "text": TEXT, "color": "danger"}]}
Posts = list[tuple[str, Any]]


@contextmanager
def receiving(status: int = 200) -> Iterator[tuple[str, Posts]]:
    posts: Posts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((self.path, json.loads(body)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{running.server_port}", posts
        running.shutdown()
        thread.join()


def test_ntfy_gets_title_and_text() -> None:
    with receiving() as (host, posts):
        Relay([f"ntfy://{host}/alerts"]).send(MESSAGE)
    ((path, body),) = posts
    assert path == "/"
    assert (body["topic"], body["title"]) == ("alerts", TITLE)
    assert body["message"] == TEXT


@pytest.mark.parametrize(
    ("address", "text_of"),
    [
        (
            "workflows://prod-1.westeurope.logic.azure.com:443/made-up/signature",
            lambda body: json.dumps(body["attachments"][0]["content"], ensure_ascii=False),
        ),
        ("gchat://workspace/key/token", lambda body: body["text"]),
    ],
    ids=["teams", "google-chat"],
)
def test_teams_and_google_chat_get_what_they_demand(
    address: str, text_of: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their hosts are fixed and speak TLS: the request is redirected to loopback as it is made."""
    import requests  # noqa: PLC0415 - Apprise's client

    post = requests.post
    with receiving() as (host, posts):

        def redirected(_url: str, **options: Any) -> requests.Response:
            return post(f"http://{host}/", **options)

        monkeypatch.setattr(requests, "post", redirected)
        Relay([address]).send(MESSAGE)
    ((_, body),) = posts
    if address.startswith("workflows"):  # what a flow "when a webhook request is received" takes
        assert body["type"] == "message"
        attachment = body["attachments"][0]
        assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
        assert attachment["content"]["type"] == "AdaptiveCard"
        assert attachment["content"]["version"]
    text = text_of(body)
    assert "TargetDown api" in text
    assert "api is down" in text


def test_a_service_that_refuses_makes_alertmanager_try_again() -> None:
    with receiving(status=500) as (host, posts):
        relay = Relay([f"ntfy://{host}/alerts"])
        with pytest.raises(UndeliveredError):
            relay.send(MESSAGE)
        with serving(server.build(0, relay=relay)) as client:
            assert client.post("/apprise", json=MESSAGE, timeout=60).status_code == 502
        assert posts


def test_the_inbox_passes_slack_messages_on(tmp_path: Path) -> None:
    with receiving() as (host, posts):
        file = tmp_path / "addresses"
        file.write_text(f"# on call\n\nntfy://{host}/alerts\n")
        with serving(server.build(0, relay=Relay.read(file))) as client:
            assert client.post("/apprise", json=MESSAGE).text == "ok"
            assert client.post("/apprise", json={}).status_code == 400
    assert [body["title"] for _, body in posts] == [TITLE]


def test_without_addresses_there_is_no_relay() -> None:
    with serving(server.build(0)) as client:
        assert client.post("/apprise", json=MESSAGE).status_code == 404


def test_a_wrong_address_is_refused_without_showing_it(tmp_path: Path) -> None:
    file = tmp_path / "addresses"
    file.write_text("unknown://s3cret\n")
    with pytest.raises(InvalidAddressError, match="address 1") as refused:
        Relay.read(file)
    assert "s3cret" not in str(refused.value)
    file.write_text("# nothing\n")
    with pytest.raises(InvalidAddressError, match="no address"):
        Relay.read(file)
