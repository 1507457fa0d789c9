"""Where the host has OpenTelemetry's instrumentation of a client, its spans are the only ones."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from importlib import import_module
from typing import Any

import httpx
import pytest
import requests
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.vitals.http_client.dependency import Dependency
from tests.vitals.http_client.measured import requests_of
from tests.vitals.http_client.otlp import Receiver, receiver
from vitals import HttpClients, instrument

__all__ = ["receiver"]

pytestmark = pytest.mark.servers

TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


class Host:
    """A host that instruments a library by itself, and what it exports."""

    def __init__(self, module: str, name: str) -> None:
        found = pytest.importorskip(
            f"opentelemetry.instrumentation.{module}", reason="not installed"
        )
        self._instrumentor = getattr(found, name)()
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def instrument(self) -> None:
        self._instrumentor.instrument(tracer_provider=self._provider)

    def uninstrument(self) -> None:
        self._instrumentor.uninstrument()

    @property
    def span_ids(self) -> list[str]:
        return [f"{span.context.span_id:016x}" for span in self._exporter.get_finished_spans()]


async def by_httpx(url: str) -> None:
    async with httpx.AsyncClient() as http:
        await http.get(url)


async def by_requests(url: str) -> None:
    await asyncio.to_thread(requests.get, url, timeout=5)


async def by_aiohttp(url: str) -> None:
    aiohttp = import_module("aiohttp")
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        await response.read()


@pytest.fixture(
    params=[
        (by_httpx, "httpx", "HTTPXClientInstrumentor"),
        (by_requests, "requests", "RequestsInstrumentor"),
        (by_aiohttp, "aiohttp_client", "AioHttpClientInstrumentor"),
    ],
    ids=["httpx", "requests", "aiohttp"],
)
def host(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Host]]:
    call, module, name = request.param
    made = Host(module, name)
    yield call, made
    made.uninstrument()


@pytest.mark.parametrize("first", ["host", "kit"])
def test_a_request_has_the_hosts_span_alone(
    receiver: Receiver,
    dependency: Dependency,
    host: tuple[Callable[[str], Awaitable[None]], Host],
    first: str,
) -> None:
    call, own = host
    app = FastAPI()
    probe = HttpClients()
    if first == "host":
        own.instrument()
    instrument(app, logs=False, otlp_endpoint=receiver.url, probes=[probe])
    if first == "kit":
        own.instrument()

    @app.get("/")
    async def endpoint() -> None:
        await call(f"{dependency.url}/ok")

    async def run() -> None:
        async with LifespanManager(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                await client.get("/", headers=HEADERS)

    asyncio.run(run())
    if first == "kit":  # the wrapper that came last is taken off first
        own.uninstrument()
    probe.detach()
    ours = [span for span in receiver.spans if span.kind == Span.SPAN_KIND_CLIENT]
    assert ours == []
    (headers,) = dependency.headers
    (span_id,) = [each for each in own.span_ids if each in headers["traceparent"]]
    assert headers["traceparent"] == f"00-{TRACE}-{span_id}-01"
    assert requests_of(app) == {("GET", "200", ""): 1}, "the metrics are ours all the same"
