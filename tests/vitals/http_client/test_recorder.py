import asyncio
from types import SimpleNamespace

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from tests.vitals.client import fetch
from tests.vitals.http_client.dependency import Dependency
from tests.vitals.http_client.measured import application, requests_of, servers_of
from vitals import HttpClients, watch
from vitals.http_client.recorder import MAX_SERVERS
from vitals.metrics.catalogue import (
    DROPPED,
    HTTP_CLIENT_REQUEST_DURATION,
    HTTP_CLIENT_REQUESTS_PER_REQUEST,
    OTHER,
)
from vitals.metrics.meter import Meter
from vitals.testing import Readings

MOCK = httpx.MockTransport(lambda _request: httpx.Response(200))


def test_hosts_beyond_the_slots_share_one_and_named_ones_never_do() -> None:
    app = application(probe := HttpClients(["httpx"], servers=["Payments.example"]))
    with watch(httpx.Client(transport=MOCK)) as http:
        for number in range(MAX_SERVERS + 20):
            http.get(f"http://tenant-{number}.example/")
        http.get("https://payments.example/")
        http.get("https://PAYMENTS.example:8443/")
        http.get("http://tenant-1.EXAMPLE/")
    servers = servers_of(app)
    assert len(servers) == MAX_SERVERS + 3
    assert {("payments.example", "443"), ("payments.example", "8443"), (OTHER, OTHER)} < servers
    shared = Readings.of(app).value(HTTP_CLIENT_REQUEST_DURATION, "_count", server_address=OTHER)
    assert shared == 20
    probe.detach()


@pytest.mark.servers
def test_requests_are_counted_per_request_by_route(dependency: Dependency) -> None:
    app = application(probe := HttpClients(["httpx"]))

    @app.get("/fan-out/{number}")
    async def fan_out(number: int) -> int:
        async with httpx.AsyncClient() as http:
            await asyncio.gather(*(http.get(f"{dependency.url}/ok") for _ in range(number)))
        return number

    for number in (0, 1, 3):
        assert fetch(app, "GET", f"/fan-out/{number}").json() == number
    probe.detach()
    readings = Readings.of(app)
    route = {"http_route": "/fan-out/{number}"}
    assert readings.value(HTTP_CLIENT_REQUESTS_PER_REQUEST, "_sum", **route) == 4
    assert readings.value(HTTP_CLIENT_REQUESTS_PER_REQUEST, "_count", **route) == 2
    assert len(dependency.seen) == 4


def test_a_meter_that_fails_fails_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    app = application()
    http = watch(httpx.Client(transport=MOCK))
    assert http.get("http://one.example/").status_code == 200

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Meter, "gauge", broken)
    assert http.get("http://two.example/").status_code == 200
    monkeypatch.undo()
    http.close()
    assert Readings.of(app).value(DROPPED, reason="http_client") == 1


def test_a_request_of_an_exporter_is_not_measured() -> None:
    from opentelemetry.instrumentation.utils import suppress_instrumentation  # noqa: PLC0415

    app = application()
    with watch(httpx.Client(transport=MOCK)) as http:
        with suppress_instrumentation():
            http.get("http://collector.example/")
        assert requests_of(app) == {}
        http.get("http://service.example/")
    assert requests_of(app) == {("GET", "200", ""): 1}


def test_each_application_counts_what_its_own_requests_cause() -> None:
    first, second = application(), application()
    http = watch(httpx.Client(transport=MOCK))

    def add_route(app: FastAPI) -> None:
        @app.get("/")
        def call() -> int:
            return http.get("http://service.example/").status_code

    async def serve(app: FastAPI) -> None:
        async with LifespanManager(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                assert (await client.get("/")).json() == 200

    for app in (first, second):
        add_route(app)
    if not hasattr(SimpleNamespace, "meter"):
        asyncio.run(serve(second))
    http.close()
    assert requests_of(first) == {}
    assert requests_of(second) == {("GET", "200", ""): 1}
