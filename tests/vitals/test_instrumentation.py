import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from tests.vitals.client import fetch
from tests.vitals.extras import needs_extras
from vitals import Validation, instrument
from vitals.metrics.catalogue import (
    BUILD_INFO,
    DB_OPERATION_DURATION,
    DB_QUERIES_PER_REQUEST,
    EVENT_LOOP_LAG,
    HTTP_REQUEST_DURATION,
    SLO_EVENTS,
    SLO_THRESHOLD,
)
from vitals.testing import NotInstrumentedError, Readings

FOREIGN = Path(__file__).with_name("foreign.py")


@needs_extras
def test_a_foreign_service_needs_one_call() -> None:
    """Served by a real uvicorn, parsed as by Prometheus."""
    code = [line for line in FOREIGN.read_text().splitlines() if line]
    assert len(code) <= 15
    assert "service" not in "".join(line for line in code if "import" in line)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serving = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "foreign:app", "--port", str(port)],
        cwd=FOREIGN.parent,
        env={**os.environ, "PYTHONPATH": str(FOREIGN.parents[2])},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    response = client.get("/hello/anna")
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline, "the service did not start"
                    time.sleep(0.05)
            assert response.json() == "hello anna"
            page = client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    finally:
        serving.send_signal(signal.SIGTERM)
        output, _ = serving.communicate(timeout=20)
    readings = Readings.parse(page.text)
    route = "/hello/{name}"
    assert readings.value(HTTP_REQUEST_DURATION, "_count", http_route=route) == 1
    assert readings.value(DB_OPERATION_DURATION, "_count", db_operation_name="SELECT") == 1
    assert readings.value(DB_QUERIES_PER_REQUEST, "_sum", http_route=route) == 1
    assert readings.value(SLO_EVENTS, http_route=route, outcome="good") == 2
    assert readings.value(SLO_THRESHOLD, slo="latency") == 0.1
    assert readings.value(BUILD_INFO) == 1
    assert readings.series(EVENT_LOOP_LAG) == [{}]
    assert '"GET /hello/anna HTTP/1.1" 200' in output, "the server's access log is as it was"


LATE = """
import asyncio
from contextlib import asynccontextmanager
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from vitals import BodyLogging, instrument

class Holder:
    \"\"\"A middleware that keeps what the lifespan gave it.\"\"\"

    made = 0

    def __init__(self, app):
        self.app = app
        Holder.made += 1

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            self.held = "from the lifespan"
        scope["held"] = self.held
        await self.app(scope, receive, send)

@asynccontextmanager
async def lifespan(app):
    app.state.engine = create_async_engine("sqlite+aiosqlite:///{database}")
    instrument(app, engine=app.state.engine, body_logging=BodyLogging())
    yield
    await app.state.engine.dispose()
    print("tasks", sorted(t.get_name() for t in asyncio.all_tasks() if "vitals" in t.get_name()))

app = FastAPI(lifespan=lifespan)
app.add_middleware(Holder)

@app.get("/hello/{{name}}")
async def hello(name: str):
    async with app.state.engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    return [name, Holder.made]

@app.get("/fails")
async def fails():
    raise ValueError("no")
"""


@pytest.mark.parametrize("traced", [False, True])
def test_instrument_in_the_lifespan_of_a_server(tmp_path: Path, *, traced: bool) -> None:
    (tmp_path / "late.py").write_text(LATE.format(database=tmp_path / "late.db"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"} if traced else {}
    serving = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "late:app", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(FOREIGN.parents[2]), **endpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            deadline = time.monotonic() + 30
            while True:
                try:
                    response = client.get("/hello/anna")
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline, "the service did not start"
                    time.sleep(0.05)
            assert response.json() == ["anna", 1], "the host's middleware is not made again"
            # After it the server closes the connection.
            assert httpx.get(f"{client.base_url}/fails").status_code == 500
            page = client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    finally:
        serving.send_signal(signal.SIGTERM)
        output, _ = serving.communicate(timeout=30)
    readings = Readings.parse(page.text)
    route = "/hello/{name}"
    assert readings.value(HTTP_REQUEST_DURATION, "_count", http_route=route) == 1
    assert readings.value(DB_QUERIES_PER_REQUEST, "_sum", http_route=route) == 1
    assert readings.value(HTTP_REQUEST_DURATION, "_count", error_type="ValueError") == 1
    assert readings.series(EVENT_LOOP_LAG) == [{}]
    assert "vitals event-loop lag" in output, "its tasks run until the lifespan ends"
    assert "Task was destroyed" not in output
    assert serving.returncode in {0, -signal.SIGTERM}, output


def test_instrument_in_each_lifespan_again() -> None:
    kits = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        kits.append(instrument(app, logs=False))
        yield

    app = FastAPI(lifespan=lifespan)
    for _ in range(3):
        asyncio.run(start(app))
    assert len({id(kit) for kit in kits}) == 1
    readings = Readings.of(app)
    assert readings.value(HTTP_REQUEST_DURATION, "_count", http_route="/openapi.json") == 3
    assert readings.value(EVENT_LOOP_LAG, "_count") >= 3, "measured in each lifespan"


def test_what_the_lifespan_is_too_late_for_is_refused() -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with pytest.raises(RuntimeError, match=r"vitals\.watch\(engine\)"):
            instrument(app, logs=False, validation=Validation())
        instrument(app, logs=False)
        yield

    asyncio.run(start(FastAPI(lifespan=lifespan)))


async def start(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app)
    async with (
        LifespanManager(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        before = Readings.of(app).value(EVENT_LOOP_LAG, "_count")
        assert (await client.get("/openapi.json")).status_code == 200
        async with asyncio.timeout(20):
            while Readings.of(app).value(EVENT_LOOP_LAG, "_count") == before:
                await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        while [task for task in asyncio.all_tasks() if "vitals" in task.get_name()]:
            await asyncio.sleep(0.01)


def test_two_applications_in_one_process_are_measured_apart() -> None:
    first, second = FastAPI(), FastAPI()
    instrument(first, logs=False)
    instrument(second, logs=False)
    fetch(first, "GET", "/openapi.json")
    assert Readings.of(first).value(HTTP_REQUEST_DURATION, "_count") == 1
    assert Readings.of(second).value(HTTP_REQUEST_DURATION, "_count") == 0


def test_invalid_options_raise_with_a_hint() -> None:
    app = FastAPI()
    with pytest.raises(ValueError, match="must start with a slash"):
        instrument(app, metrics_path="metrics")
    with pytest.raises(ValueError, match="between 0 and 1"):
        instrument(app, trace_ratio=10)
    instrument(app, logs=False)
    with pytest.raises(RuntimeError, match="instrumented already"):
        instrument(app)
    serving = FastAPI()
    fetch(serving, "GET", "/openapi.json")
    with pytest.raises(RuntimeError, match="serves already"):
        instrument(serving)
    with pytest.raises(NotInstrumentedError, match=r"call vitals\.instrument"):
        Readings.of(serving)


def test_declarations_import_without_a_framework() -> None:
    probe = (
        "import sys, vitals.metrics.catalogue, vitals.objectives\n"
        "print([m for m in ('fastapi', 'sqlalchemy', 'opentelemetry', 'prometheus_client')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.strip() == "[]"
