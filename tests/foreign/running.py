"""Runs a foreign service under uvicorn, and asks it."""

import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.foreign.environment import Environment
from tests.foreign.services import ForeignService

START_TIMEOUT = 180.0
"""Seconds until the service listens: the largest of them imports for half a minute."""
TURNS = 25


class ServiceFailedError(Exception):
    """The service ended, or did not listen in time."""


@contextmanager
def run(
    service: ForeignService, environment: Environment, directory: Path, suffix: str = ""
) -> Iterator[str]:
    """Run the service; yield its base URL.

    Args:
        service: The service.
        environment: Where it is installed.
        directory: Its working directory, which is created.
        suffix: Source that is appended to the service's module.

    Raises:
        ServiceFailedError: It did not start.
    """
    directory.mkdir()
    for name, content in service.files.items():
        (directory / name).write_text(content)
    (directory / "foreign_service.py").write_text(service.module + suffix)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [environment.python, "-m", "uvicorn", "foreign_service:app", "--port", str(port)],
            cwd=directory,
            env={**os.environ, **service.environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(process, port, directory)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, directory: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    log = (directory / "log").read_text()
    raise ServiceFailedError(f"the service did not start; the end of its log:\n{log[-2000:]}")


def ask(service: ForeignService, base: str) -> Counter[tuple[str, str, int]]:
    """Send the service's requests, several times; count them by method, path and status."""
    seen: Counter[tuple[str, str, int]] = Counter()
    with httpx.Client(base_url=base, timeout=60) as client:
        for turn in range(TURNS):
            for request in service.requests:
                if turn and request.status == 201:  # is created once
                    continue
                response = client.request(
                    request.method, request.path, json=request.json, headers=request.headers
                )
                route = request.route or request.path
                seen[request.method, route, response.status_code] += 1
    return seen


def read_metrics(url: str) -> list[Sample]:
    """The samples of a metrics page."""
    page = httpx.get(url, timeout=60).raise_for_status().text
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def access_lines(directory: Path) -> int:
    """The number of lines that the server has written about requests."""
    return sum(" HTTP/1.1" in line for line in (directory / "log").read_text().splitlines())
