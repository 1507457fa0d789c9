"""Queries of exemplars find traces without reading samples of the raw series."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from dashboards.boards.registry import BOARDS
from dashboards.rendered_queries import fill_in, panels
from tests.conftest import Start

pytestmark = pytest.mark.servers

PAGE = """# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{http_route="/",le="0.1"} 1 # {trace_id="0af7"} 0.05
http_server_request_duration_seconds_bucket{http_route="/",le="+Inf"} 1
http_server_request_duration_seconds_sum{http_route="/"} 0.05
http_server_request_duration_seconds_count{http_route="/"} 1
# TYPE db_client_operation_duration_seconds histogram
db_client_operation_duration_seconds_bucket{le="0.1"} 1 # {trace_id="0af7"} 0.05
db_client_operation_duration_seconds_bucket{le="+Inf"} 1
db_client_operation_duration_seconds_sum 0.05
db_client_operation_duration_seconds_count 1
# EOF
"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def target() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("uid", ["svc-overview", "svc-db"])
def test_exemplars_cost_no_samples(uid: str, target: str, prometheus_server: Start) -> None:
    (drawn,) = (board.draw() for board in BOARDS if board.uid == uid)
    (expr,) = {
        fill_in(query["expr"])
        for panel in panels(drawn)
        for query in panel["targets"]
        if query["exemplar"]
    }
    job = {"job_name": "api", "static_configs": [{"targets": [target]}]}
    server = prometheus_server({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]})

    def ask(what: str) -> httpx.Response:
        now = time.time()
        span = {"start": f"{now - 60}", "end": f"{now}", "step": "15"}
        parameters = {"query": expr, "stats": "all", **span}
        return httpx.get(f"{server.url}/api/v1/{what}", params=parameters)

    deadline = time.monotonic() + 30
    while not (found := ask("query_exemplars").json()["data"]):
        assert time.monotonic() < deadline, "no exemplar arrived"
        time.sleep(0.2)
    assert found[0]["exemplars"][0]["labels"] == {"trace_id": "0af7"}
    data = ask("query_range").json()["data"]
    assert data["stats"]["samples"]["totalQueryableSamples"] == 0
    assert data["result"] == []
