"""``vitals watch`` from the wheels: everything but Prometheus and Alertmanager is in them."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.installation.ports import Ports
from stack.process.process import Process, Program
from stack.readiness import LOOPBACK, free_port, http_answers
from tests import servers
from tests.distribution.conftest import Run

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]

TOKEN = "token-of-the-shop"
SERVICE = """
from fastapi import FastAPI
from vitals import instrument

app = FastAPI()
instrument(app, service_name="shop")
"""


def wait(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until a condition has a value; the value."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = servers.temporary_folder()
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def shop(folder: Path, installed: Path) -> Iterator[str]:
    """A service with the kit whose metrics need a token; its address."""
    (folder / "shop.py").write_text(SERVICE)
    (folder / "token").write_text(f"{TOKEN}\n")
    port = free_port()
    command = [str(installed / "uvicorn"), "shop:app", "--port", str(port)]
    env = {"VITALS_METRICS_TOKEN_FILE": str(folder / "token")}
    service = Process(Program("shop", command, cwd=folder, env=env), log=folder / "log")
    service.start()
    service.wait_ready(lambda: http_answers(port, "/openapi.json"))
    yield f"{LOOPBACK}:{port}"
    service.stop()


def test_a_service_is_watched_without_a_checkout(installed: Path, folder: Path, shop: str) -> None:
    ports = {f"{name}_PORT": str(free_port()) for name in Ports.chosen()}
    command: list[str | Path] = [installed / "vitals", "watch", shop, "--job", "shop", "--fast"]
    watch = subprocess.Popen(
        [*command, "--token-file", "token", "--data", folder / "data"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **ports},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert watch.stdout
        said = []
        for line in watch.stdout:
            said.append(line)
            if line == "Ready.\n":
                break
        assert said[-1] == "Ready.\n", "".join(said)
        prometheus = httpx.Client(base_url=f"http://{LOOPBACK}:{ports['PROMETHEUS_PORT']}")
        with prometheus:

            def value(query: str) -> list[Any]:
                found = prometheus.get("/api/v1/query", params={"query": query}).json()
                result: list[Any] = found["data"]["result"]
                return result

            wait(lambda: value('up{job="shop"} == 1'))
            wait(lambda: value('job:vitals_workers:watched{job="shop"}'))
            rules = prometheus.get("/api/v1/rules").json()["data"]["groups"]
            assert len(rules) > 20
            # The built viewer, not its placeholder.
            board = wait(lambda: prometheus.get("/user/d/svc-overview/").text)
            assert '<script type="module"' in board
            assert prometheus.get("/user/boards/svc-overview.json").json()["uid"] == "svc-overview"
            assert prometheus.get("/user/runbooks/TargetDown.md/source.md").status_code == 200
        store = f"http://{LOOPBACK}:{ports['STORE_PORT']}"
        assert httpx.post(f"{store}/v1/traces", json={"resourceSpans": []}).status_code == 200
        status = subprocess.run(
            [installed / "vitals", "watch", "--status", "--data", folder / "data"],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "vitals watch is running" in status.stdout, status.stderr
    finally:
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=60)
    assert watch.returncode == 0


def test_missing_programs_are_named_with_what_to_install(run: Run, tmp_path: Path) -> None:
    done = run("vitals", "watch", "127.0.0.1:8000", "--job", "shop", "--data", "d", path="/nowhere")
    assert done.returncode == 1
    assert "prometheus (https://prometheus.io/download/)" in done.stderr
    assert "apt-get install --no-install-recommends prometheus " in done.stderr
    assert "caddy" not in done.stderr
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["127.0.0.1:8000"], "job '': choose a name"),
        (["--job", "shop"], "job shop: name its targets (HOST:PORT)"),
        (["http://shop:80", "--job", "shop"], "'http://shop:80' is no HOST:PORT"),
    ],
)
def test_a_wrong_argument_is_named(words: list[str], message: str, run: Run) -> None:
    done = run("vitals", "watch", *words, "--data", "d")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert message in done.stderr
