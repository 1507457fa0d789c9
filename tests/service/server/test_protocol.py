"""Every phase of a connection has a deadline, whatever the client does or omits."""

import contextlib
import logging
import re
import resource
import select
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.server import protocol, refusals
from service.server.refusals import Refusals
from tests.certificates import Authority
from tests.service.process import Running, serving
from tests.service.running import settings_for
from vitals.metrics.catalogue import HTTP_CONNECTIONS_REFUSED
from vitals.metrics.endpoint import MetricsEndpoint
from vitals.metrics.meter import Meter
from vitals.testing import Readings

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
SHORT: dict[str, Any] = {
    "head_timeout": 1.0,
    "unread_timeout": 1.0,
    "response_timeout": 1.5,
    "keep_alive_timeout": 1,
}
DEADLINE_SECONDS = 15.0
"""Seconds in which each deadline of `SHORT` must have passed, also on a busy machine."""
ASK = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n"
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with serving(
        settings_for(folder, **SHORT, address_attempts=1_000, account_attempts=1_000)
    ) as running:
        yield running


def connect(service: Running, *, window: int = 0) -> socket.socket:
    url = httpx.URL(service.url)
    client = socket.socket()
    client.settimeout(DEADLINE_SECONDS)
    if window:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    client.connect((url.host, url.port or 80))
    return client


def receive_all(client: socket.socket, drip: bytes = b"") -> bytes:
    """Return all that the server sends until it closes, while bytes are sent repeatedly."""
    received, deadline = b"", time.monotonic() + DEADLINE_SECONDS
    client.settimeout(0.1)
    while time.monotonic() < deadline:
        try:
            if not (some := client.recv(65_536)):
                return received
            received += some
        except TimeoutError:
            with contextlib.suppress(OSError):
                client.sendall(drip)
        except OSError:
            return received
    raise AssertionError(f"still open after {DEADLINE_SECONDS} seconds: {received[-200:]!r}")


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


def refused(service: Running, context: ssl.SSLContext | None = None) -> dict[str, float]:
    page = httpx.get(f"{service.url}/metrics", verify=context or True).text
    found = re.findall(HTTP_CONNECTIONS_REFUSED.name + r'\{reason="(\w+)"\} (\S+)', page)
    return {reason: float(number) for reason, number in found}


def wait_for(
    service: Running, reason: str, more_than: float, context: ssl.SSLContext | None = None
) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while refused(service, context)[reason] <= more_than:
        assert time.monotonic() < deadline, reason
        time.sleep(0.1)


# -- Clients that are slow -------------------------------------------------------------------

POST = b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
LAST = ASK.replace(b"Host: a", b"Host: a\r\nConnection: close")
HALF = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Half: "
SLOW = {
    "silent": (b"", b"", [408], "head_too_slow"),
    "half a head": (HALF, b"", [408], "head_too_slow"),
    "a head that drips": (HALF, b"a", [408], "head_too_slow"),
    "empty lines": (b"\r\n", b"\r\n", [408], "head_too_slow"),
    "half of the second head": (ASK + b"G", b"", [200, 408], "head_too_slow"),
    "a second head that drips": (ASK + HALF, b"a", [200, 408], "head_too_slow"),
    "a third one": (ASK + ASK + HALF, b"a", [200, 200, 408], "head_too_slow"),
    "a head after a body": (
        b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}" + HALF,
        b"a",
        [404, 408],
        "head_too_slow",
    ),
    "empty lines after an answer": (ASK, b"\r\n", [200, 408], "head_too_slow"),
    "an unread body": (POST % b"/nowhere", b"a", [404], "body_unread"),
    "a silent unread body": (POST % b"/nowhere", b"", [404], "body_unread"),
    "a body where one must log in": (POST % b"/api/orders/1/cancel", b"a", [401], "body_unread"),
    "a body of a GET": (
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
        b"a",
        [200],
        "body_unread",
    ),
    "unread chunks": (
        b"POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\na\r\n",
        [404],
        "body_unread",
    ),
    "trailers that drip": (
        b"POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Long: ",
        b"a",
        [404],
        "body_unread",
    ),
    "idle": (ASK, b"", [200], ""),
    "an idle upgrade": (ASK[:-2] + UPGRADE + b"\r\n", b"", [200], ""),
    "an idle websocket": (ASK[:-2] + WEBSOCKET + b"\r\n", b"", [200], ""),
    "an upgrade whose body does not come": (
        POST[:-2] % b"/nowhere" + UPGRADE + b"\r\n",
        b"",
        [404],
        "body_unread",
    ),
}


@pytest.fixture(scope="module")
def slow(service: Running) -> dict[str, tuple[bytes, dict[str, float]]]:
    """Run all slow clients at once; return what each received, and the refusals counted."""
    before = refused(service)

    def go(begin: bytes, drip: bytes) -> bytes:
        with connect(service) as client:
            client.sendall(begin)
            return receive_all(client, drip)

    with ThreadPoolExecutor(len(SLOW)) as pool:
        running = {name: pool.submit(go, begin, drip) for name, (begin, drip, *_) in SLOW.items()}
        received = {name: one.result() for name, one in running.items()}
    after = refused(service)
    counted = {reason: after[reason] - before[reason] for reason in after}
    return {name: (answered, counted) for name, answered in received.items()}


@pytest.mark.parametrize("name", SLOW)
def test_slow_client_gets_error_and_is_disconnected(
    slow: dict[str, tuple[bytes, dict[str, float]]], name: str
) -> None:
    expected, reason = SLOW[name][2:]
    received, counted = slow[name]
    assert statuses(received) == expected
    if 408 in expected:
        head, _, body = received.rpartition(b"HTTP/1.1 408 ")[2].partition(b"\r\n\r\n")
        assert b"application/problem+json" in head
        assert b"x-content-type-options: nosniff" in head
        assert b"connection: close" in head
        assert f"content-length: {len(body)}".encode() in head
    if reason:
        assert counted[reason] == sum(reason == other[3] for other in SLOW.values())


def test_late_complete_body_keeps_connection_open(service: Running) -> None:
    with connect(service) as client:
        client.sendall(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{")
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(65_536)
        client.sendall(b"}" + ASK)
        assert statuses(received + receive_all(client)) == [404, 200]


@pytest.mark.parametrize("last", [b"", LAST])
def test_unread_response_is_aborted(service: Running, last: bytes) -> None:
    before = refused(service)["response_unread"]
    with connect(service, window=2048) as client:
        client.sendall(LONG * 90 + last)
        wait_for(service, "response_unread", before)
        with pytest.raises(ConnectionResetError):  # the kernel has dropped its buffer, too
            read_all(client)


def read_all(client: socket.socket) -> None:
    while client.recv(65_536):
        pass


def test_response_read_too_slowly_is_aborted(service: Running) -> None:
    before = refused(service)["response_unread"]
    with connect(service, window=2048) as client:
        client.sendall(LONG * 90)
        client.settimeout(0.2)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while refused(service)["response_unread"] == before:
            assert time.monotonic() < deadline
            with contextlib.suppress(OSError):
                client.recv(10)


def test_slow_reader_above_minimum_rate_gets_whole_response(service: Running) -> None:
    before = refused(service)
    with connect(service, window=30_000) as client:
        client.sendall(LONG * 90)
        received = bytearray()
        began = time.monotonic()
        length = 90 * len(httpx.get(f"{service.url}/openapi.json").content)
        while len(received) < length:
            some = client.recv(400_000)
            assert some
            received += some
            time.sleep(0.03)
        assert statuses(bytes(received) + receive_all(client)) == [200] * 90
        assert time.monotonic() - began > SHORT["response_timeout"]
    assert refused(service) == before


def test_client_disconnect_is_not_an_error(service: Running) -> None:
    """Also when several of their requests wait for a response."""
    for _ in range(20):
        with connect(service) as client:
            client.sendall(LONG * 5)
    assert httpx.get(f"{service.url}/healthz").is_success
    assert "Traceback" not in service.said()
    assert "ASGI" not in service.said()


# -- Requests that are more than they seem ---------------------------------------------------

LOGIN = b"POST /api/users/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
WRONG = b'{"email": "a@example.com", "password": "wrong password"}'


@pytest.mark.parametrize("upgrade", [UPGRADE, WEBSOCKET])
@pytest.mark.parametrize("body", [WRONG, ASK])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_an_upgrade_with_a_body_is_one_request(
    service: Running, upgrade: bytes, body: bytes, step: int, *, chunked: bool
) -> None:
    framing = b"Content-Length: %d\r\n" % len(body)
    sent = body
    if chunked:
        framing = b"Transfer-Encoding: chunked\r\n"
        sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    whole = LOGIN + framing + upgrade + b"\r\n" + sent + LAST
    with connect(service) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), step):
            client.sendall(whole[start : start + step])
        assert statuses(receive_all(client)) == [401 if body is WRONG else 400, 200]


def test_pipelined_requests_are_answered_in_order(service: Running) -> None:
    with connect(service) as client:
        client.sendall((ASK + LONG + b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n") * 30)
        assert statuses(receive_all(client)) == [200, 200, 404] * 30


def test_too_many_pipelined_requests_close_after_earlier_responses(service: Running) -> None:
    before = refused(service)["too_many_pipelined"]
    with connect(service) as client:
        client.sendall(ASK * 2_000)
        received = receive_all(client)
    assert set(statuses(received)) == {200}
    assert len(statuses(received)) <= 2 * protocol.PIPELINE_LIMIT
    assert b"connection: close" in received.rpartition(b"HTTP/1.1 ")[2]
    assert refused(service)["too_many_pipelined"] == before + 1


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (b"NONSENSE\r\n\r\n", 400, "malformed"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400,
         "malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, "malformed"),
        (b"CONNECT example.com:443 HTTP/1.1\r\nHost: a\r\n\r\n" + ASK, 501, "connect"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 70_000 + b"\r\n\r\n", 431,
         "head_too_large"),
        (LOGIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: " + b"a" * 500_000, 431,
         "head_too_large"),
        (LOGIN + b"Transfer-Encoding: chunked\r\n\r\n2;x=" + b"a" * 500_000, 431,
         "head_too_large"),
        (LOGIN + b"Transfer-Encoding: chunked\r\n\r\nnot a number", 400, "malformed"),
    ],
)  # fmt: skip
def test_malformed_request_gets_problem_and_close(
    service: Running, sent: bytes, status: int, reason: str
) -> None:
    before = refused(service)[reason]
    with connect(service) as client:
        with contextlib.suppress(OSError):  # it may close while we still send
            client.sendall(sent)
        received = receive_all(client)
    # Data in flight when it closed may have discarded the response.
    assert statuses(received) == [status] or (len(sent) > 60_000 and not received)
    assert refused(service)[reason] == before + 1


# -- Many connections ------------------------------------------------------------------------


def test_connection_above_limit_is_refused_until_another_closes(tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path, **SHORT | {"head_timeout": DEADLINE_SECONDS}, max_connections=10
    )
    with serving(settings) as service:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connect(service)) for _ in range(30)]
            answered, _, _ = select.select(clients, [], [], DEADLINE_SECONDS)
            assert answered
            assert all(statuses(client.recv(1_000)) == [503] for client in answered)
        wait_for_health(service)
        assert refused(service)["too_many_connections"] >= 1
        assert "too_many_connections" in service.end()


def wait_for_health(service: Running) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{service.url}/healthz").is_success:
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_exhausted_file_limit_neither_spins_nor_stops_serving(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, **SHORT | {"head_timeout": 3.0}, max_connections=1_000)
    with serving(settings) as service, contextlib.ExitStack() as clients:
        pid = service.process.pid
        open_now = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 20, open_now + 20))
        for _ in range(60):
            clients.enter_context(connect(service))
        began, used = time.monotonic(), processor_seconds(pid)
        time.sleep(1)  # measures its work meanwhile
        share = (processor_seconds(pid) - used) / (time.monotonic() - began)
        assert share < 0.5
        wait_for_health(service)  # its clients are silent, so they are disconnected
        assert refused(service)["head_too_slow"] >= 10
        service.end()


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_file_descriptors_are_reserved_for_databases(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings_for(tmp_path)
    for files, most in ((1024, 768), (100, 36), (20, 1), (1_000_000, 10_000), (-1, 10_000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, files=files: (files, files))
        assert settings.connections() == most
    assert settings_for(tmp_path, max_connections=7).connections() == 7


# -- Servers ---------------------------------------------------------------------------------


def test_unread_response_does_not_delay_shutdown(tmp_path: Path) -> None:
    with (
        serving(settings_for(tmp_path, shutdown_timeout=1)) as service,
        connect(service, window=2048) as one,
        connect(service) as two,
    ):
        one.sendall(LONG * 90)
        two.sendall(HALF)
        assert one.recv(10)
        began = time.monotonic()
        service.end()
        assert time.monotonic() - began < DEADLINE_SECONDS


def test_deadlines_apply_in_every_worker(tmp_path: Path) -> None:
    with serving(settings_for(tmp_path, **SHORT, workers=2)) as service:
        with contextlib.ExitStack() as opened:
            clients = [opened.enter_context(connect(service)) for _ in range(12)]
            for client in clients:
                client.sendall(HALF)
            assert [statuses(receive_all(client)) for client in clients] == [[408]] * 12
        wait_for(service, "head_too_slow", 11)
        service.end()


def test_deadlines_apply_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("server")
    settings = settings_for(tmp_path, **SHORT, tls_cert_file=certificate, tls_key_file=key)
    context = ssl.create_default_context(cafile=str(authority.file))
    with serving(settings, context) as service:
        with context.wrap_socket(connect(service), server_hostname="127.0.0.1") as client:
            client.sendall(HALF)
            assert statuses(receive_all(client)) == [408]
        with context.wrap_socket(connect(service, window=2048), server_hostname="127.0.0.1") as c:
            c.sendall(LONG * 90)
            wait_for(service, "response_unread", 0, context)
        service.end()


# -- The record ------------------------------------------------------------------------------


def test_all_refusals_are_counted_and_few_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(refusals, "monotonic", lambda: now[0])
    meter = Meter()
    record = Refusals(meter).record
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            record("malformed", "192.0.2.1")
        now[0] = 61.0
        record("malformed", "192.0.2.2")
    assert [record.getMessage() for record in caplog.records] == [
        "connection refused: malformed, client 192.0.2.1, 1 since the last event of this reason",
        "connection refused: malformed, client 192.0.2.2, 100 since the last event of this reason",
    ]
    page = MetricsEndpoint(meter).render(as_openmetrics=True, gzipped=False)
    assert Readings.parse(page.decode()).value(HTTP_CONNECTIONS_REFUSED, reason="malformed") == 101
