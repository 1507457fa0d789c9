"""Services of others are watched, without an API and databases of our own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from stack.installation.paths import CHECKOUT, Installation
from stack.installation.ports import Ports
from stack.readiness import LOOPBACK, free_port
from stack.servers import prometheus, redis
from stack.watched_services import WatchedRedis, WatchedService, WatchSettingsError, read
from tests import servers

TOKEN = "token-of-the-shop"
SERVICE = """
from fastapi import FastAPI
from vitals import Objective, instrument

app = FastAPI()
instrument(app, service_name="shop", objectives=[Objective("availability", ratio=0.99)])

@app.get("/items")
def items() -> int:
    return 1
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = servers.temporary_folder()
    folder.chmod(0o755)
    yield folder
    subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture
def shop(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A service with the kit and a token, and its port."""
    (folder / "shop.py").write_text(SERVICE)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "shop:app", f"--port={port}", "--log-level=warning"],
        env={
            **os.environ,
            "PYTHONPATH": f"{folder}{os.pathsep}{CHECKOUT}",
            "VITALS_METRICS_TOKEN": TOKEN,
        },
    )
    yield process, port
    process.kill()
    process.wait()


def wait(condition: Callable[[], Any], seconds: float = 90) -> Any:
    """Wait until a condition has a value; the value."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


@pytest.mark.servers
@pytest.mark.timeout(180)
def test_a_service_is_watched_and_its_end_is_told(
    folder: Path, shop: tuple[subprocess.Popen[bytes], int]
) -> None:
    process, port = shop
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    secret = folder / "redis-password"
    secret.write_text(f"{TOKEN}\n")
    behind = servers.Redis(more=[redis.monitor(TOKEN)])
    url = f"redis://{redis.MONITOR}@{LOOPBACK}:{behind.port}"
    ports = {f"{name}_PORT": str(free_port()) for name in Ports.chosen()}
    watch = subprocess.Popen(
        [
            *(sys.executable, "-m", "stack", "watch", "--fast", "--job=shop"),
            *(f"{LOOPBACK}:{port}", f"--token-file={token}"),
            *(f"--redis={url}", f"--redis-password-file={secret}"),
        ],
        cwd=CHECKOUT,
        env={**os.environ, "VITALS_DATA": str(folder / "data"), **ports},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert watch.stdout
        output = ""
        for line in watch.stdout:
            output += line
            if line == "Ready.\n":
                break
        assert line == "Ready.\n", output
        server = f"http://{LOOPBACK}:{ports['PROMETHEUS_PORT']}"

        def has(query: str) -> bool:
            answer = httpx.get(f"{server}/api/v1/query", params={"query": query})
            return bool(answer.json()["data"]["result"])

        wait(lambda: has('up{job="shop"} == 1'))
        address = f"{LOOPBACK}:{behind.port}"
        wait(lambda: has(f'redis_server_up{{job="redis", server_address="{address}"}} == 1'))
        jobs = httpx.get(f"{server}/api/v1/label/job/values").json()["data"]
        assert "api" not in jobs
        record = Installation.here(
            {**os.environ, "VITALS_DATA": str(folder / "data"), **ports}
        ).read_record()
        assert record
        assert not {"api", "postgres", "redis"} & {*record.states}

        process.kill()
        inbox = f"http://{LOOPBACK}:{ports['INBOX_PORT']}/"

        def told() -> bool:
            found = httpx.get(inbox, headers={"accept": "application/json"}).json()
            return any(
                each["alert"] == "TargetDown" and each["labels"]["job"] == "shop"
                for each in found["notifications"]
            )

        wait(told)
    finally:
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=60)
        behind.close()


def test_a_redis_is_refused_whose_password_all_users_would_see(tmp_path: Path) -> None:
    with pytest.raises(WatchSettingsError, match="name a file") as refusal:
        WatchedRedis("redis://shop:hidden-word@10.0.0.7:6379")
    assert "hidden-word" not in str(refusal.value)
    with pytest.raises(WatchSettingsError, match="--redis: write redis://"):
        WatchedRedis("http://10.0.0.7:6379")
    with pytest.raises(WatchSettingsError, match="no file"):
        WatchedRedis("redis://10.0.0.7:6379", tmp_path / "none")


@pytest.mark.usefixtures("every_suite")
def test_prometheus_takes_all_that_can_be_set(tmp_path: Path) -> None:
    token, targets = tmp_path / "token", tmp_path / "targets.yml"
    token.write_text(TOKEN)
    targets.write_text("- targets: ['10.0.0.7:80']\n")
    config = tmp_path / "watch.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "shop": {
                    "targets": ["10.0.0.5:8000", "[::1]:8000"],
                    "token_file": str(token),
                    "scheme": "https",
                    "path": "/vitals/metrics",
                },
                "pay": {"files": str(targets), "dns": "pay.internal:8000", "docker": 8000},
            }
        )
    )
    here = Installation(tmp_path / "data", Ports())
    here.data.mkdir()
    text = prometheus.configuration(
        CHECKOUT / "prometheus/prometheus.yml",
        Ports(runner=1),
        tmp_path,
        rules=CHECKOUT / "prometheus/rules",
        jobs=[service.scrape_job(here) for service in read(config)],
    )
    file = tmp_path / "prometheus.yml"
    file.write_text(text)
    done = subprocess.run(
        ["promtool", "check", "config", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = {job["job_name"]: job for job in yaml.safe_load(text)["scrape_configs"]}
    assert not {"api", "redis"} & {*jobs}  # no Redis is given
    copied = Path(jobs["shop"]["authorization"]["credentials_file"])
    assert copied.read_text() == TOKEN
    assert copied.stat().st_mode & 0o077 == 0
    assert "authorization" not in jobs["pay"]
    assert jobs["pay"]["dns_sd_configs"] == [{"names": ["pay.internal"], "type": "A", "port": 8000}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "name its targets"),
        ({"targets": ["shop"]}, "'shop' is no HOST:PORT"),
        ({"targets": ["http://shop:80"]}, "is no HOST:PORT"),
        ({"dns": "shop"}, "'shop' is no HOST:PORT"),
        ({"target": ["a:1"]}, "no setting target; there are targets,"),
        ({"targets": ["a:1"], "scheme": "ftp"}, "not http or https"),
        ({"targets": ["a:1"], "path": "metrics"}, "must start with a slash"),
        ({"targets": ["a:1"], "token_file": "/nowhere"}, "there is no file /nowhere"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(WatchSettingsError, match=message):
        WatchedService.of("shop", settings)


@pytest.mark.parametrize("job", ["", "prometheus", "runner"])
def test_jobs_of_the_stack_are_not_names_of_services(job: str) -> None:
    with pytest.raises(WatchSettingsError, match="choose a name"):
        WatchedService(job, targets=("a:1",))


@pytest.mark.parametrize("text", ["", "- shop", "shop: a:1", "shop: ["])
def test_a_file_that_is_no_mapping_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "watch.yml"
    file.write_text(text)
    with pytest.raises(WatchSettingsError):
        read(file)
