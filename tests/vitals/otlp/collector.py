"""A collector that answers, or fails, as a test says."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Collector(ThreadingHTTPServer):
    """Takes what is posted.

    Attributes:
        bodies: What came and was answered with 200, decompressed.
        paths: The paths.
        headers: The headers of each.
        answers: Statuses of the next answers; 200 when empty.
        retry_after: The header of answers that are no 200.
        body: The body of answers.
        connections: Connections that were opened.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        self.retry_after = ""
        self.body = b""
        self.connections = 0
        super().__init__(("127.0.0.1", 0), _Take)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: object, client_address: object) -> None:
        self.connections += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]


class _Take(BaseHTTPRequestHandler):
    server: Collector
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        status = server.answers.pop(0) if server.answers else 200
        server.paths.append(self.path)
        server.headers.append({name.lower(): value for name, value in self.headers.items()})
        if status == 200:
            server.bodies.append(body)
        self.send_response(status)
        if server.retry_after and status != 200:
            self.send_header("retry-after", server.retry_after)
        self.send_header("content-length", str(len(server.body)))
        self.end_headers()
        self.wfile.write(server.body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


@contextmanager
def hanging(trickle: bytes = b"") -> Iterator[str]:
    """Run a collector that accepts connections and never answers, or byte by byte."""
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()
    taken: list[socket.socket] = []

    def accept() -> None:
        while not ended.is_set():
            try:
                taken.append(listening.accept()[0])
            except OSError:
                return
            if trickle:
                threading.Thread(target=drip, args=(taken[-1],), daemon=True).start()

    def drip(to: socket.socket) -> None:
        try:
            while not ended.wait(0.02):
                to.sendall(trickle)
        except OSError:
            return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for each in taken:
            each.close()
        thread.join(10)


def wait_until(holds: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)
