import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from tests.vitals.client import fetch
from vitals import instrument
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
            deadline = time.monotonic() + 20
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
