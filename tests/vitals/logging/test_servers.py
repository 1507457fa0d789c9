"""Logging under a real server, which configures it before or after the application is made."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from stack import readiness

SERVICE = Path(__file__).with_name("logged.py")


@pytest.mark.parametrize(
    ("start", "order", "logs"),
    [
        ("command", "host first", "json"),
        ("command", "only the server", "host"),
        ("run", "kit first", "json"),
        ("run", "only the server", "json"),
        ("run", "kit first", "host"),
    ],
)
def test_lines_of_a_server(start: str, order: str, logs: str) -> None:
    port = readiness.free_port()
    command = [sys.executable, str(SERVICE)]
    if start == "command":
        command = [sys.executable, "-m", "uvicorn", "logged:app", "--port", str(port)]
    environment = {
        "PYTHONPATH": os.pathsep.join([str(SERVICE.parent), str(SERVICE.parents[3])]),
        "ORDER": order,
        "LOGS": logs,
        "PORT": str(port),
    }
    with subprocess.Popen(
        command,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            deadline = time.monotonic() + 60
            while not readiness.http_answers(port, "/metrics"):
                assert server.poll() is None, "it did not start"
                assert time.monotonic() < deadline, "it did not start"
                time.sleep(0.05)
            httpx.get(f"http://127.0.0.1:{port}/items/planted")
        finally:
            server.terminate()
            output, errors = server.communicate(timeout=60)
    if logs == "host":
        assert '"GET /items/planted HTTP/1.1" 200' in output
        assert "request slow: GET /items/{item} answered 200" in errors
        assert ("HOST shop bought [/items/{item}]" in errors) == (order != "only the server")
        return
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    events = {line["event"].partition(" - ")[2] or line["event"]: line for line in lines}
    assert events['"GET /items/{item} HTTP/1.1" 200']["logger"] == "uvicorn.access"
    assert events["request slow"]["http.route"] == "/items/{item}"
    assert events["bought"]["http.route"] == "/items/{item}"
    assert any(event.startswith("Finished server process") for event in events), "lines were lost"
    assert "planted" not in output + errors
    assert "HOST shop" not in errors
