"""Spans of real servers with several workers."""

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from stack import readiness
from tests.vitals.tracing.receiver import receiving
from vitals.metrics.catalogue import TARGET_INFO
from vitals.testing import Readings

METRICS = Path(__file__).parents[1] / "metrics"
ROOT = METRICS.parents[2]
GUNICORN = "gunicorn serving:app -b 127.0.0.1:{port} -w 2 -k uvicorn_worker.UvicornWorker"
REQUESTS = 30


@pytest.mark.servers
@pytest.mark.parametrize(
    "command",
    [
        "uvicorn serving:app --port {port} --workers 2 --log-level error",
        GUNICORN,
        f"{GUNICORN} --preload",
    ],
    ids=["uvicorn", "gunicorn", "gunicorn, preloaded"],
)
def test_the_spans_of_all_workers_arrive(command: str) -> None:
    port = readiness.free_port()
    url = f"http://127.0.0.1:{port}"
    with receiving() as receiver:
        server = subprocess.Popen(
            [sys.executable, "-m", *command.format(port=port).split()],
            cwd=METRICS,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
                "OTEL_TRACES_SAMPLER": "always_on",
            },
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 30
            while not readiness.http_answers(port, "/metrics"):
                assert time.monotonic() < deadline, "the server did not start"
                time.sleep(0.05)
            for number in range(REQUESTS):
                httpx.get(f"{url}/jobs/{number}", headers={"connection": "close"})
            accept = {"accept": "application/openmetrics-text"}
            page = Readings.parse(httpx.get(f"{url}/metrics", headers=accept).text)
        finally:
            server.terminate()
            server.wait(20)
    assert [span.name for span in receiver.spans] == ["GET /jobs/{number}"] * REQUESTS
    (target,) = page.series(TARGET_INFO)
    instances = {resource["service.instance.id"] for resource in receiver.resources}
    assert instances == {target["service_instance_id"]}, "one target is one instance"
    pids = {resource["process.pid"] for resource in receiver.resources}
    assert str(server.pid) not in pids
    assert len(pids) <= 2
