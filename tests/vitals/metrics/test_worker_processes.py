"""Real servers with several workers, under load, while some are killed."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack import readiness
from tests.conftest import Start
from vitals.metrics import worker_discovery
from vitals.metrics.catalogue import (
    DROPPED,
    HTTP_REQUEST_DURATION,
    PLANNED_START_TIME,
    PROCESS_START_TIME,
    WORKERS,
    WORKERS_CRASHED,
    WORKERS_ENDED,
)
from vitals.metrics.process_identity import start_time
from vitals.testing import Readings

HERE = Path(__file__).parent
ROUTE = "/jobs/{number}"
COUNT = f'{HTTP_REQUEST_DURATION.name}_count{{http_route="{ROUTE}"}}'
REQUEST = b"GET /jobs/%d HTTP/1.1\r\nhost: test\r\n\r\n"


GUNICORN = "gunicorn serving:app -b 127.0.0.1:{port} -w {workers} -k uvicorn_worker.UvicornWorker"
UVICORN = "uvicorn serving:app --port {port} --workers {workers} --log-level error"
SERVERS = {
    "uvicorn": UVICORN,
    "uvicorn, recycled": f"{UVICORN} --limit-max-requests 40",
    "gunicorn": GUNICORN,
    "gunicorn, recycled": f"{GUNICORN} --max-requests 40 --max-requests-jitter 10",
    "gunicorn, impatient": f"{GUNICORN} --timeout 15",
    "gunicorn, preloaded": f"{GUNICORN} --preload",
    "granian": (
        "granian serving:app --interface asgi --port {port} --workers {workers} --no-log "
        "--respawn-failed-workers --respawn-interval 0.1"
    ),
}
"""Ways to start the service of `serving.py`, none of which knows of metrics."""


@contextmanager
def serving(
    server: str, workers: int, port: int = 0
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Its port and the process that starts the workers."""
    port = port or readiness.free_port()
    with subprocess.Popen(
        [sys.executable, "-m", *SERVERS[server].format(port=port, workers=workers).split()],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE.parents[2])},
        stderr=subprocess.DEVNULL,
    ) as started:
        try:
            poll(lambda: readiness.http_answers(port, "/jobs/1"))
            yield port, started
        finally:
            started.terminate()
            started.wait(20)


def poll(done: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(0.05)


def scrape(port: int) -> Readings:
    accept = {"accept": "application/openmetrics-text;version=1.0.0"}
    # While all workers are exchanged, a connection waits for one that has started.
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", headers=accept, timeout=30)
    return Readings.parse(page.text)


def files(server: subprocess.Popen[bytes]) -> list[Path]:
    started = start_time(server.pid)
    usual = worker_discovery.base_directories(server.pid)[0]
    return list(usual.glob(f"{server.pid}-{started}-*/*"))


@dataclass
class Load:
    """What clients have seen."""

    answered: int = 0
    broken: int = 0
    workers: list[int] = field(default_factory=list)

    async def run(self, port: int, until: asyncio.Event) -> None:
        while not until.is_set():
            writer = None
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                while not until.is_set():
                    await self._ask(reader, writer)
                    await asyncio.sleep(0.01)  # a second has hundreds of requests all the same
            except (OSError, EOFError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.02)
            finally:
                if writer is not None:
                    writer.close()
                    with suppress(OSError):
                        await writer.wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.broken += 1  # until it is answered
        writer.write(REQUEST % random.randrange(5))  # noqa: S311  # which one does not matter
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        self.workers.append(int(await reader.readexactly(length)))
        self.broken -= 1
        self.answered += 1


async def load_and_kill(port: int, kills: int) -> Load:
    """Keep eight clients busy and kill a worker that answers every second."""
    load, until = Load(), asyncio.Event()
    clients = [asyncio.create_task(load.run(port, until)) for _ in range(8)]
    for _ in range(kills):
        await asyncio.sleep(1)
        async with asyncio.timeout(20):
            while not load.workers:
                await asyncio.sleep(0.05)
        os.kill(load.workers[-1], signal.SIGKILL)
        load.workers.clear()
    await asyncio.sleep(1)
    until.set()
    await asyncio.gather(*clients)
    return load


@pytest.mark.servers
@pytest.mark.parametrize("server", ["gunicorn", "gunicorn, preloaded", "granian"])
def test_any_worker_serves_the_metrics_of_all(server: str) -> None:
    with serving(server, 2) as (port, started):
        poll(lambda: scrape(port).value(WORKERS) == 2)
        answered_by: list[int] = []

        def both_have_answered() -> bool:
            answered_by.append(httpx.get(f"http://127.0.0.1:{port}/jobs/0").json())
            return len(set(answered_by)) == 2

        before = scrape(port).value(HTTP_REQUEST_DURATION, "_count", http_route=ROUTE)
        poll(both_have_answered)
        counted = scrape(port).value(HTTP_REQUEST_DURATION, "_count", http_route=ROUTE)
        assert counted - before == len(answered_by)
        os.kill(answered_by[-1], signal.SIGKILL)

        def one_was_replaced() -> bool:
            try:
                page = scrape(port)
            except httpx.TransportError:  # it waited for the worker that was killed
                return False
            return page.value(WORKERS_ENDED) == 1 and page.value(WORKERS) == 2

        poll(one_was_replaced)
        assert scrape(port).value(HTTP_REQUEST_DURATION, "_count", http_route=ROUTE) == counted
        assert started.poll() is None


def ask(port: int) -> int | None:
    """The pid of the worker that answers; None if it ended instead."""
    try:
        return int(httpx.get(f"http://127.0.0.1:{port}/jobs/0", timeout=30).text)
    except httpx.TransportError:
        return None


@pytest.mark.servers
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "server", ["uvicorn, recycled", pytest.param("gunicorn, recycled", marks=pytest.mark.long)]
)
def test_recycled_workers_did_not_crash(server: str) -> None:
    with serving(server, 2) as (port, _):

        def two_were_recycled() -> bool:
            for _ in range(20):
                ask(port)
            return scrape(port).value(WORKERS_ENDED) >= 2

        poll(two_were_recycled, 90)
        assert scrape(port).value(WORKERS_CRASHED) == 0
        killed = ask(port)
        assert killed
        os.kill(killed, signal.SIGKILL)
        poll(lambda: scrape(port).value(WORKERS_CRASHED) == 1)


@pytest.mark.servers
@pytest.mark.timeout(240)
def test_a_reload_is_no_crash_even_if_streams_are_cut_off() -> None:
    with serving("gunicorn, impatient", 2) as (port, server):
        poll(lambda: scrape(port).value(WORKERS) == 2)
        with httpx.stream("GET", f"http://127.0.0.1:{port}/stream", timeout=30) as response:
            holding = int(next(response.iter_lines()))
            server.send_signal(signal.SIGHUP)
            poll(lambda: scrape(port).value(WORKERS_ENDED) == 2, 90)
            assert start_time(holding) is None
        assert scrape(port).value(WORKERS_CRASHED) == 0
        poll(lambda: scrape(port).value(WORKERS) == 2)


@pytest.mark.servers
@pytest.mark.parametrize(("server", "workers"), [("uvicorn", 1), ("gunicorn", 2)])
def test_a_server_knows_whether_its_predecessor_crashed(server: str, workers: int) -> None:
    port = readiness.free_port()

    def starts(process: subprocess.Popen[bytes]) -> tuple[float, float]:
        poll(lambda: scrape(port).value(WORKERS) == workers)
        poll(lambda: len(_records(process.pid)) == workers)
        page = scrape(port)
        return page.value(PLANNED_START_TIME), page.value(PROCESS_START_TIME)

    with serving(server, workers, port) as (_, process):
        assert starts(process)[0] == 0
    with serving(server, workers, port) as (_, process):
        planned, started = starts(process)
        assert planned == pytest.approx(started, abs=0.011)
        children = [process.pid, *_children(process.pid)]
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        poll(lambda: not any(map(start_time, children)))
    with serving(server, workers, port) as (_, process):
        assert starts(process)[0] == planned


def _records(server: int) -> list[Path]:
    """What the processes of a server have noted; other servers of this machine note theirs."""
    base = worker_discovery.base_directories(server)[0]
    pids = {server, *_children(server)}
    return [path for path in base.glob("end-*") if int(path.name.split("-")[2]) in pids]


def _children(pid: int) -> list[int]:
    lists = Path("/proc", str(pid), "task").glob("*/children")
    return [int(word) for file in lists for word in file.read_text().split()]


ONE_PARENT = """
import multiprocessing, socket, sys, uvicorn
from fastapi import FastAPI
from vitals import instrument

def run(port, name):
    app = FastAPI()
    instrument(app, logs=False, **({"service_name": name} if name else {}))
    app.get(f"/{port}")(lambda: port)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="critical")

if __name__ == "__main__":
    method, name, *ports = sys.argv[1:]
    context = multiprocessing.get_context(method)
    with socket.create_server(("127.0.0.1", 0)):  # which a forked child inherits
        children = [context.Process(target=run, args=(int(port), name)) for port in ports]
        for child in children:
            child.start()
        sys.stdin.read()
    for child in children:
        child.terminate()
"""


@pytest.mark.servers
@pytest.mark.parametrize(("method", "name"), [("fork", "shop"), ("spawn", "")])
def test_servers_of_one_parent_keep_their_figures_apart(
    method: str, name: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(ONE_PARENT)
    ports = [readiness.free_port() for _ in range(2)]
    command = [sys.executable, str(script), method, name, *map(str, ports)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as parent:
        for port in ports:
            poll(partial(readiness.http_answers, port, f"/{port}"))
        before = {port: _counted(port) for port in ports}
        for requests, port in enumerate(ports, 2):
            for _ in range(requests):
                httpx.get(f"http://127.0.0.1:{port}/{port}")
        after = {port: _counted(port) for port in ports}
        assert [set(routes) for routes in after.values()] == [{f"/{port}"} for port in ports]
        counted = [sum(after[port].values()) - sum(before[port].values()) for port in ports]
        assert counted == [2, 3]
        parent.communicate(timeout=30)


def _counted(port: int) -> dict[str, float]:
    page = scrape(port)
    return {
        labels["http_route"]: page.value(HTTP_REQUEST_DURATION, "_count", **labels)
        for labels in page.series(HTTP_REQUEST_DURATION)
        if labels["http_route"]
    }


@pytest.mark.servers
def test_figures_stay_whole_when_the_shared_directory_is_removed() -> None:
    with serving("uvicorn", 3) as (port, server):
        poll(lambda: scrape(port).value(WORKERS) == 3)
        counted = []
        for _ in range(3):
            workers: set[int | None] = set()
            while len(workers) < 3:
                workers.add(ask(port))
            counted.append(scrape(port).value(HTTP_REQUEST_DURATION, "_count", http_route=ROUTE))
            time.sleep(1.2)  # each worker looks once a second
            (directory,) = {path.parent for path in files(server)}
            shutil.rmtree(directory)
        poll(lambda: len(files(server)) >= 3)
        counted += [
            scrape(port).value(HTTP_REQUEST_DURATION, "_count", http_route=ROUTE) for _ in range(10)
        ]
        assert counted == sorted(counted)
        assert scrape(port).value(WORKERS) == 3
        assert scrape(port).value(DROPPED, reason="workers_directory") == 9


@pytest.mark.servers
def test_no_counter_decreases_when_workers_die_under_load(prometheus_server: Start) -> None:
    kills = 6
    with serving("uvicorn", 4) as (port, server):
        poll(lambda: scrape(port).value(WORKERS) == 4)
        prometheus = prometheus_server(
            {
                "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"},
                "scrape_configs": [
                    {"job_name": "api", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
                ],
            }
        )

        def query_for(query: str) -> list[Any]:
            response = httpx.get(f"{prometheus.url}/api/v1/query", params={"query": query})
            found: list[Any] = response.raise_for_status().json()["data"]["result"]
            return found

        def value(query: str) -> float:
            return sum(float(series["value"][1]) for series in query_for(query))

        before = scrape(port).value(HTTP_REQUEST_DURATION, "_count", http_route=ROUTE)
        load = asyncio.run(load_and_kill(port, kills))
        poll(lambda: scrape(port).value(WORKERS) == 4)
        counted = scrape(port).value(HTTP_REQUEST_DURATION, "_count", http_route=ROUTE) - before
        # A request is counted after its last byte is sent. A kill in between leaves one counted
        # less; one before the client has read it leaves one more.
        assert load.answered > 500
        assert load.answered - kills <= counted <= load.answered + load.broken
        poll(lambda: value(f"sum({COUNT})") == counted + before)
        assert value(WORKERS_ENDED.name) == kills
        poll(lambda: value("sum(http_server_active_requests)") == 0)
        rising = query_for('{job="api", __name__=~".+_(total|count|bucket|sum)"}[2m]')
        assert len(rising) > 100
        for series in rising:
            values = [float(sample) for _, sample in series["values"]]
            assert values == sorted(values), series["metric"]
        left = sorted(path.name.rpartition(".")[2] for path in files(server))
        assert left == ["lock", *["mmap"] * 5]
        assert sum(path.stat().st_size for path in files(server)) <= 10 << 16
