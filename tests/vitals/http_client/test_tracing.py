"""Spans of outgoing requests, and the trace's context that they carry."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from stack import readiness
from tests.vitals.http_client.dependency import Dependency
from tests.vitals.http_client.otlp import Receiver, receiver
from vitals import HttpClients, instrument

__all__ = ["receiver"]

pytestmark = pytest.mark.servers

TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-00"}


@pytest.fixture
def clients() -> Iterator[HttpClients]:
    probe = HttpClients()
    yield probe
    probe.detach()


def serve(
    receiver: Receiver, clients: HttpClients, call: Callable[[], Awaitable[Any]], headers: Any
) -> list[Span]:
    """Serve one request that makes a call; returns the spans that were exported."""
    app = FastAPI()
    instrument(app, logs=False, otlp_endpoint=receiver.url, probes=[clients])

    @app.get("/")
    async def endpoint() -> None:
        await call()

    async def run() -> None:
        async with LifespanManager(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                await client.get("/", headers=headers)

    asyncio.run(run())
    return receiver.spans


def by_httpx(url: str) -> Callable[[], Awaitable[Any]]:
    async def call() -> None:
        async with httpx.AsyncClient() as http:
            request = http.build_request("GET", url)
            try:
                await http.send(request, follow_redirects=True)
            finally:
                assert "traceparent" not in request.headers, "the host's request is as it was"

    return call


def by_requests(url: str) -> Callable[[], Awaitable[Any]]:
    return lambda: asyncio.to_thread(requests.get, url, timeout=5)


def by_aiohttp(url: str) -> Callable[[], Awaitable[Any]]:
    aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")

    async def call() -> None:
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            await response.read()

    return call


LIBRARIES = pytest.mark.parametrize("by", [by_httpx, by_requests, by_aiohttp])


def attributes_of(span: Span) -> dict[str, Any]:
    return {each.key: each.value.int_value or each.value.string_value for each in span.attributes}


@LIBRARIES
def test_a_request_has_a_span_whose_context_it_carries(
    receiver: Receiver, clients: HttpClients, dependency: Dependency, by: Any
) -> None:
    url = f"http://alice:s3cret@127.0.0.1:{dependency.port}/redirect?token=t0ken"
    spans = serve(receiver, clients, by(url), SAMPLED)
    caller = SAMPLED["traceparent"].split("-")[2]
    (server,) = (span for span in spans if span.parent_span_id.hex() == caller)
    sent = [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT]
    sent.sort(key=lambda span: span.start_time_unix_nano)
    assert [attributes_of(span)["http.response.status_code"] for span in sent] == [307, 200]
    for span, headers in zip(sent, dependency.headers, strict=True):
        assert span.name == "GET"
        assert span.trace_id.hex() == TRACE
        assert span.parent_span_id == server.span_id
        assert headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
    assert attributes_of(sent[0]) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": dependency.port,
        "http.response.status_code": 307,
    }
    assert "s3cret" not in str(sent)
    assert "t0ken" not in str(sent)


@LIBRARIES
def test_a_failed_request_has_a_failed_span(
    receiver: Receiver, clients: HttpClients, by: Any
) -> None:
    call = by(f"http://{readiness.LOOPBACK}:{readiness.free_port()}/")

    async def failing() -> None:
        with pytest.raises(OSError if by is not by_httpx else httpx.ConnectError):
            await call()

    spans = serve(receiver, clients, failing, SAMPLED)
    (sent,) = (span for span in spans if span.kind == Span.SPAN_KIND_CLIENT)
    assert sent.status.code == sent.status.STATUS_CODE_ERROR
    assert "Connect" in attributes_of(sent)["error.type"]


@LIBRARIES
def test_an_unsampled_trace_is_carried_on_without_a_span(
    receiver: Receiver, clients: HttpClients, dependency: Dependency, by: Any
) -> None:
    assert serve(receiver, clients, by(f"{dependency.url}/ok"), UNSAMPLED) == []
    (headers,) = dependency.headers
    assert headers["traceparent"].startswith(f"00-{TRACE}-")
    assert headers["traceparent"].endswith("-00")


def test_without_tracing_nothing_is_added(clients: HttpClients, dependency: Dependency) -> None:
    app = FastAPI()
    instrument(app, logs=False, probes=[clients])
    requests.get(f"{dependency.url}/ok", timeout=5)
    assert "traceparent" not in dependency.headers[0]


def test_a_context_that_the_host_has_set_stays(
    receiver: Receiver, clients: HttpClients, dependency: Dependency
) -> None:
    async def call() -> None:
        async with httpx.AsyncClient() as http:
            await http.get(f"{dependency.url}/ok", headers={"traceparent": "the host's own"})

    spans = serve(receiver, clients, call, SAMPLED)
    assert dependency.headers[0]["traceparent"] == "the host's own"
    assert [span for span in spans if span.kind == Span.SPAN_KIND_CLIENT] == []
