"""A trace across two services of ours is one waterfall."""

import asyncio
import time

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, HTTPException

from stack import readiness
from tests.vitals.tracing.receiver import receiving
from vitals import HttpClients, instrument

START_SECONDS = 20


@pytest.mark.servers
@pytest.mark.parametrize("reason", ["error", "caller"])
def test_what_both_services_keep_is_one_waterfall(reason: str) -> None:
    """Both fail, or the caller of the first has sampled; the first one's flag goes on."""
    clients = HttpClients()
    ports = readiness.free_port(), readiness.free_port()
    shop, stock = FastAPI(), FastAPI()

    @shop.get("/orders")
    async def orders() -> None:
        async with httpx.AsyncClient() as http:
            (await http.get(f"http://127.0.0.1:{ports[1]}/items")).raise_for_status()

    @stock.get("/items")
    async def items() -> None:
        if reason == "error":
            raise HTTPException(500)

    async def run(url: str) -> None:
        tracings = []
        for app, name in ((shop, "shop"), (stock, "stock")):
            probes = [clients] if app is shop else []
            made = instrument(
                app, service_name=name, otlp_endpoint=url, trace_ratio=0.0, probes=probes
            )
            tracings.append(made.tracing)
        servers = [
            uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, log_level="critical"))
            for app, port in zip((shop, stock), ports, strict=True)
        ]
        tasks = [asyncio.create_task(server.serve()) for server in servers]
        deadline = time.monotonic() + START_SECONDS
        while not all(server.started for server in servers):
            assert time.monotonic() < deadline, "the services did not start"
            await asyncio.sleep(0.01)
        flag = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
        async with httpx.AsyncClient() as http:
            headers = flag if reason == "caller" else {}
            await http.get(f"http://127.0.0.1:{ports[0]}/orders", headers=headers)
        for tracing in tracings:
            assert tracing is not None
            await asyncio.to_thread(tracing.shut_down)
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)

    with receiving() as receiver:
        try:
            asyncio.run(run(receiver.url))
        finally:
            clients.detach()
    spans = {span.name: span for span in receiver.spans}
    assert set(spans) == {"GET /orders", "GET", "GET /items"}
    assert len({span.trace_id for span in receiver.spans}) == 1
    assert spans["GET"].parent_span_id == spans["GET /orders"].span_id
    assert spans["GET /items"].parent_span_id == spans["GET"].span_id
    assert receiver.services == {"shop", "stock"}
