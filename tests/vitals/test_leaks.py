"""No secret leaves the process: not in lines, spans, metrics, nor on the bottleneck page.

A real server, whose output, exports and pages are all read.
"""

import gzip
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, Request

from stack import readiness
from tests import servers

HERE = Path(__file__).parent
ADMIN = {"Authorization": "Bearer leaky-test-administrator"}
KINDS = (
    *("raised", "alone", "key", "parsed", "decoded", "validated", "caused", "noted", "grouped"),
    *("named", "logged", "caught", "structured", "warned", "forgotten", "handled", "traced"),
    *("asked", "bound", "cast", "unique", "literal", "misread", "commented", "repeated"),
    *("later-raised", "later-grouped", "later-bound"),
)


class Exports(ThreadingHTTPServer):
    """Collects exported spans unchanged."""

    def __init__(self) -> None:
        self.received = b""
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Exports

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.received += body
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class LeakyService:
    """The service and all of its outputs."""

    def __init__(self, url: str, output: Path, exports: Exports) -> None:
        self.url = url
        self._output = output
        self._exports = exports
        self._pages: dict[str, bytes] = {}

    def read(self) -> None:
        """Fetch its pages."""
        for page, accept in (("/vitals/bottlenecks", "text/html"), ("/vitals/bottlenecks", "*/*")):
            headers = ADMIN | {"Accept": accept}
            self._pages[page + accept] = httpx.get(self.url + page, headers=headers).content
        openmetrics = {"Accept": "application/openmetrics-text"}
        self._pages["/metrics"] = httpx.get(f"{self.url}/metrics", headers=openmetrics).content

    @property
    def outputs(self) -> dict[str, bytes]:
        """By output."""
        return {
            "output": self._output.read_bytes(),
            "spans": self._exports.received,
            **self._pages,
        }

    def wait(self, outputs: Callable[[], bool]) -> None:
        """Wait until a condition on the outputs holds."""
        deadline = time.monotonic() + 60
        while not outputs():
            assert time.monotonic() < deadline, self._output.read_text()[-3_000:]
            time.sleep(0.05)

    def leak(self, kind: str, secret: str) -> None:
        httpx.post(f"{self.url}/leak/{kind}", json={"secret": secret}, timeout=60)


@contextmanager
def leaky(database: str, directory: Path) -> Iterator[LeakyService]:
    exports = Exports()
    receiving = threading.Thread(target=exports.serve_forever, kwargs={"poll_interval": 0.01})
    receiving.start()
    port = readiness.free_port()
    environment = {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])]),
        "LEAKY_DATABASE": database,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{exports.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    output = directory / "output"
    with (
        output.open("wb") as stream,
        subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "leaky:app", "--port", str(port)],
            env=os.environ | environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
        ) as started,
    ):
        service = LeakyService(f"http://127.0.0.1:{port}", output, exports)
        try:
            service.wait(lambda: readiness.http_answers(port, "/metrics"))
            yield service
        finally:
            started.terminate()
            started.wait(30)
            exports.shutdown()
            receiving.join()
            exports.server_close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LeakyService]:
    if request.param == "sqlite":
        database = f"sqlite+aiosqlite:///{tmp_path}/leaky.db"
    else:
        server: servers.Postgres = request.getfixturevalue("postgres")
        database = server.database()
    with leaky(database, tmp_path) as service:
        yield service


def send_messages(url: httpx.URL, secret: str) -> None:
    """Send a message over a WebSocket, and wait for its end."""
    speaking = WSConnection(ConnectionType.CLIENT)
    with socket.create_connection((url.host, url.port), timeout=30) as wire:
        wire.sendall(speaking.send(Request(host=url.host, target="/socket")))
        sent = False
        while received := wire.recv(65_536):
            speaking.receive_data(received)
            for event in speaking.events():
                if isinstance(event, AcceptConnection) and not sent:
                    wire.sendall(speaking.send(Message(secret)))
                    sent = True
                if isinstance(event, CloseConnection):
                    return


def test_no_secret_leaves_the_process(service: LeakyService) -> None:
    planted: dict[str, str] = {}

    def secret(kind: str) -> str:
        planted[f"hK{len(planted):03d}xQ7zW9"] = kind
        return list(planted)[-1]

    for kind in KINDS:
        service.leak(kind, secret(kind))
    once = httpx.Limits(max_keepalive_connections=0)  # errors close connections
    with httpx.Client(base_url=service.url, limits=once, timeout=60) as client:
        client.post("/validate", json={"n": secret("validated body")})
        client.post("/validate", json={secret("a member"): 1})
        client.get("/answer", params={"secret": secret("answer")})
        client.get(f"/open/{secret('path')}")
        client.get(f"/open/reset-{secret('part of a path')};token={secret('parameter of a path')}")
        client.get(f"/nowhere/{secret('unknown path')}?q={secret('unknown query')}")
        with suppress(httpx.TransportError):  # the server may refuse it
            client.request(secret("method"), "/open/x")
        for name, value in (
            ("user-agent", "{}"),
            ("authorization", "Bearer {}"),
            ("host", "{}.example"),
            ("x-forwarded-for", "{}"),
            ("baggage", "k={}"),
            ("cookie", "session={}"),
        ):
            client.get("/open/x", headers={name: value.format(secret(name))})
        send_messages(httpx.URL(service.url), secret("socket"))
        trace = "0af7651916cd43dd8448eb211c80319c"
        headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        client.get("/open/x", headers=headers | {"tracestate": f"k={secret('tracestate')}"})
    # The last inputs appear last in the outputs.
    service.wait(lambda: trace.encode() in service.outputs["output"])
    service.wait(lambda: bytes.fromhex(trace) in service.outputs["spans"])
    service.read()
    outputs = service.outputs
    assert outputs["output"].count(b"bad password [redacted]") >= 2
    leaks = {
        f"{kind} in {name}"
        for name, content in outputs.items()
        for each, kind in planted.items()
        if each.encode() in content
    }
    assert leaks == set()
    # Harmless values are kept, or errors could not be diagnosed.
    for expected in (b"Exception in ASGI application", b'"exc_type":"ValueError"', b"leaky.py"):
        assert expected in outputs["output"]
    for expected in (b"exception.stacktrace", b"in act", b"/open/{secret}", b"SELECT CAST"):
        assert expected in outputs["spans"], expected
    assert b"SELECT CAST" in outputs["/vitals/bottlenecks*/*"]
