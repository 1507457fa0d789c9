"""Cross-site requests reach neither Alertmanager nor the inbox, and cannot read Prometheus."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from stack.inbox import gate, origins
from stack.servers.prometheus import NO_ORIGIN
from tests.conftest import Start

QUIET = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}
SILENCE = {
    "matchers": [{"name": "alertname", "value": ".+", "isRegex": True}],
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "2999-01-01T00:00:00Z",
    "createdBy": "a page",
    "comment": "everything",
}
PAGE = {"Origin": "http://evil.test"}


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[httpx.Client]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client:
            yield client
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("host", "origin", "refused"),
    [
        ("127.0.0.1:9093", None, False),
        ("localhost", None, False),
        ("[::1]:9093", None, False),
        ("LOCALHOST:9093", None, False),
        ("127.0.0.1:9093", "http://127.0.0.1:9093", False),
        ("127.0.0.1:9093", "http://127.0.0.1:8000", True),
        ("127.0.0.1:9093", "http://evil.test", True),
        ("127.0.0.1:9093", "null", True),
        ("127.0.0.1:9093", "", True),
        ("evil.test:9093", None, True),
        ("evil.test:9093", "http://evil.test:9093", True),
        ("127.0.0.1.evil.test", None, True),
        ("127.0.0.1@evil.test", None, True),
        ("[::1", None, True),
        ("", None, True),
        (None, None, True),
    ],
)
def test_cross_site_requests_are_recognised(
    host: str | None, origin: str | None, *, refused: bool
) -> None:
    headers = Message()
    for name, text in (("Host", host), ("Origin", origin)):
        if text is not None:
            headers[name] = text
    assert bool(origins.refusal(headers)) == refused


def test_two_host_headers_are_refused() -> None:
    headers = Message()
    headers["Host"] = "127.0.0.1"
    headers["Host"] = "evil.test"
    assert origins.refusal(headers)


@pytest.mark.servers
def test_alertmanager_gets_no_cross_site_requests(
    alertmanager_server: Start,
) -> None:
    upstream = alertmanager_server(QUIET)
    with serving(gate.build(0, upstream.url)) as client:
        assert client.get("/-/ready").is_success
        assert client.head("/-/ready").is_success
        assert client.get("/api/v2/alerts").json() == []
        assert client.get("/", headers={"Accept": "text/html"}).is_success
        own = {"Origin": str(client.base_url).rstrip("/")}
        made = client.post("/api/v2/silences", json=SILENCE, headers=own)
        silence = made.json()["silenceID"]
        for headers in (PAGE, {"Origin": "null"}, {"Host": "evil.test"}):
            for method, path in (
                ("GET", "/api/v2/alerts"),
                ("OPTIONS", "/api/v2/silences"),
                ("POST", "/api/v2/silences"),
                ("DELETE", f"/api/v2/silence/{silence}"),
                ("POST", "/-/reload"),
            ):
                response = client.request(method, path, json=SILENCE, headers=headers)
                assert response.status_code == 403, (method, path, headers)
                assert "access-control-allow-origin" not in response.headers
        (only,) = client.get("/api/v2/silences").json()
        assert (only["id"], only["status"]["state"]) == (silence, "active")
        assert client.delete(f"/api/v2/silence/{silence}").is_success
        assert client.get("/nowhere").status_code == 404


@pytest.mark.servers
def test_pages_of_the_viewer_read_and_write_silences_only(alertmanager_server: Start) -> None:
    viewer, allowed = "http://127.0.0.1:9090", "access-control-allow-origin"
    upstream = alertmanager_server(QUIET)
    with serving(gate.build(0, upstream.url, page_origins=[viewer])) as client:
        page = {"Origin": viewer}
        response = client.get("/api/v2/alerts", headers=page)
        assert (response.json(), response.headers.get_list(allowed)) == ([], [viewer])
        assert allowed not in client.get("/api/v2/alerts").headers
        assert client.get("/api/v2/alerts", headers={"Origin": viewer + "0"}).status_code == 403

        preflight = client.options("/api/v2/silences", headers=page)
        assert preflight.headers.get_list(allowed) == [viewer]
        assert preflight.headers["access-control-allow-headers"] == "Content-Type"
        made = client.post("/api/v2/silences", json=SILENCE, headers=page)
        assert made.headers.get_list(allowed) == [viewer]
        silence = f"/api/v2/silence/{made.json()['silenceID']}"
        assert client.options(silence, headers=page).is_success
        assert client.delete(silence, headers=page).is_success
        (only,) = client.get("/api/v2/silences").json()
        assert only["status"]["state"] == "expired"

        text = {**page, "Content-Type": "text/plain"}
        assert client.post("/api/v2/silences", content="{}", headers=text).status_code == 415
        for method, path in (
            ("POST", "/api/v2/alerts"),
            ("POST", "/-/reload"),
            ("POST", "/api/v2/silences/../alerts"),
            ("PUT", "/api/v2/silences"),
            ("DELETE", "/api/v2/silences"),
            ("OPTIONS", "/api/v2/alerts"),
        ):
            response = client.request(method, path, json=SILENCE, headers=page)
            assert response.status_code == 403, (method, path)
        assert len(client.get("/api/v2/silences").json()) == 1


@pytest.mark.servers
def test_the_root_leads_to_the_viewer(alertmanager_server: Start) -> None:
    silences = "http://127.0.0.1:9090/user/silences/"
    upstream = alertmanager_server(QUIET)
    with serving(gate.build(0, upstream.url, home=silences)) as client:
        assert client.get("/").headers["Location"] == silences
        assert client.head("/").status_code == 302
        assert client.get("/api/v2/alerts").json() == []
        assert client.get("/-/ready").is_success


def test_an_unreachable_upstream_is_a_502() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with serving(gate.build(0, f"http://127.0.0.1:{unused.getsockname()[1]}")) as client:
            assert client.get("/").status_code == 502
        page = {"Origin": "http://127.0.0.1:9090"}
        refused = gate.build(
            0, f"http://127.0.0.1:{unused.getsockname()[1]}", page_origins=[*page.values()]
        )
        with serving(refused) as client:
            response = client.get("/api/v2/alerts", headers=page)
            assert response.status_code == 502
            assert response.headers["Access-Control-Allow-Origin"] == page["Origin"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {"Content-Length": "100000000000"}, 413),
        ("/", {"Content-Length": "-1"}, 411),
        ("/", {"Transfer-Encoding": "chunked"}, 411),
        ("http://127.0.0.1/", {}, 400),
    ],
)
def test_malformed_requests_are_refused(path: str, headers: dict[str, Any], status: int) -> None:
    with serving(gate.build(0, "http://127.0.0.1:9")) as client:
        connection = http.client.HTTPConnection("127.0.0.1", client.base_url.port)
        connection.putrequest("POST", path)
        for name, text in headers.items():
            connection.putheader(name, text)
        connection.endheaders()
        assert connection.getresponse().status == status
        connection.close()


@pytest.mark.servers
def test_cross_site_requests_can_neither_read_nor_stop_prometheus(prometheus_server: Start) -> None:
    prometheus = prometheus_server({"global": {"scrape_interval": "1s"}})
    for origin in ("http://evil.test", "null", "http://127.0.0.1:8000", f"http://{NO_ORIGIN}"):
        for method in ("GET", "POST", "OPTIONS"):
            url = f"{prometheus.url}/api/v1/query"
            response = httpx.request(method, url, params={"query": "1"}, headers={"Origin": origin})
            assert "access-control-allow-origin" not in response.headers, (method, origin)
    for path in ("/-/quit", "/-/reload", "/api/v1/admin/tsdb/snapshot", "/api/v1/write"):
        assert httpx.post(f"{prometheus.url}{path}").is_error, path
    assert httpx.get(f"{prometheus.url}/-/ready").is_success
