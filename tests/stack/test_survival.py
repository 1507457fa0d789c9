"""The real stack on a full disk, after kills, and in folders with unusual names."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.installation.paths import CHECKOUT
from stack.installation.ports import Ports
from stack.process import lock
from stack.readiness import free_port
from tests import servers
from tests.disks import disk
from vitals.metrics.process_identity import start_time

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
PORTS = Ports.chosen()
ODD = 'it\'s "odd" ünï 数 [a-b] *?{x} $HOME %s \\ #'
SERVERS = {
    "postgres",
    "postgres-reader",
    "redis",
    "redis-reader",
    "api",
    "inbox",
    "store",
    "issues",
    "alertmanager",
    "gate",
    "prometheus",
}


class Stack:
    """`python -m stack up` with a data folder and ports of its own."""

    def __init__(self, data: Path, output: Path, *flags: str, **environment: str) -> None:
        self.data = data
        self._flags = flags
        self.ports = {name: free_port() for name in PORTS}
        self._output = output
        self._environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("ALERT_")},
            "VITALS_DATA": str(data),
            **{f"{name}_PORT": str(port) for name, port in self.ports.items()},
            **environment,
        }
        self.runner: subprocess.Popen[str] | None = None

    @property
    def output_text(self) -> str:
        return self._output.read_text()

    def start(self) -> subprocess.Popen[str]:
        with self._output.open("w") as output:
            self.runner = subprocess.Popen(
                [sys.executable, "-m", "stack", "up", *self._flags],
                cwd=CHECKOUT,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.wait(lambda: "\nReady.\n" in self.output_text)
        return self.runner

    def ensure(self) -> subprocess.Popen[str]:
        """Start it unless it runs."""
        if self.runner and self.runner.poll() is None:
            return self.runner
        return self.start()

    def wait(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.output_text
            assert self.runner is None or self.runner.poll() is None, self.output_text
            time.sleep(0.1)

    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stack", *arguments],
            cwd=CHECKOUT,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def record(self) -> dict[str, dict[str, Any]]:
        record: dict[str, dict[str, Any]] = json.loads((self.data / "running.json").read_text())
        return record

    @property
    def pids(self) -> dict[str, int]:
        return self.record["pids"]

    def url(self, service: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    def close(self) -> None:
        if self.runner and self.runner.poll() is None:
            self.runner.terminate()
            self.runner.wait(90)
        self.run_command("clean")


@contextmanager
def _stack(data: Path, output: Path, *flags: str, **environment: str) -> Iterator[Stack]:
    stack = Stack(data, output, *flags, **environment)
    try:
        yield stack
    finally:
        stack.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    made = servers.temporary_folder()
    made.chmod(0o755)  # for servers of every user
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_the_stack_survives_a_full_disk(folder: Path, tmp_path: Path) -> None:
    (folder / "small").mkdir()
    with (
        disk(folder / "small", "220m") as small,
        _stack(folder / "small" / "data", tmp_path / "output") as stack,
    ):
        runner = stack.start()
        before = stack.pids
        assert before.keys() == SERVERS
        small.fill()
        stack.wait(lambda: _log_something(stack) and "log files not writable" in stack.output_text)
        for _ in range(5):
            assert httpx.get(stack.url("API", "/api/products")).status_code == 200
            person = {"email": "a@example.com", "name": "A" * 90, "password": "made-up-for-tests-1"}
            httpx.post(stack.url("API", "/api/users"), json=person)
        assert httpx.get(stack.url("PROMETHEUS", "/-/ready")).is_success
        assert httpx.get(stack.url("ALERTMANAGER", "/-/ready")).is_success
        assert stack.run_command("status").returncode == 0
        os.kill(before["gate"], signal.SIGKILL)
        stack.wait(lambda: "gate is ready again" in stack.output_text)
        assert stack.run_command("status").returncode == 0
        small.free()
        stack.wait(lambda: "log files writable again" in stack.output_text)
        assert stack.output_text.count("log files") == 2
        assert {name for name in SERVERS if stack.pids[name] != before[name]} == {"gate"}
        runner.send_signal(signal.SIGINT)
        assert runner.wait(90) == 0


def _log_something(stack: Stack) -> bool:
    """Have the API log something."""
    return httpx.get(stack.url("API", "/api/products")).status_code == 200


def test_orphans_of_a_killed_runner_and_reaper_are_listed_and_ended(
    folder: Path, tmp_path: Path
) -> None:
    with _stack(folder, tmp_path / "output", WORKERS="2") as stack:
        runner = stack.start()
        children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children").read_text().split()
        [reaper] = [pid for pid in children if b"reaper.py" in _command(pid)]
        workers = Path(f"/proc/{stack.pids['api']}/task/{stack.pids['api']}/children").read_text()
        os.kill(int(reaper), signal.SIGSTOP)  # so that it does not end the workers before it dies
        runner.kill()
        os.kill(int(reaper), signal.SIGKILL)
        runner.wait()
        stack.runner = None

        stack.wait(lambda: not lock.is_held(stack.data / "lock"))  # the reaper has ended, too
        status = stack.run_command("status")
        assert status.returncode == 3
        assert "not running" in status.stdout
        for worker in workers.split():
            assert f"api           pid {worker}" in status.stdout

        stack.start()
        assert "ending processes of a killed stack" in stack.output_text
        assert not any(start_time(int(worker)) for worker in workers.split())
        assert stack.run_command("status").returncode == 0


def _command(pid: str) -> bytes:
    return Path("/proc", pid, "cmdline").read_bytes()


@pytest.fixture(scope="module")
def odd() -> Iterator[Stack]:
    """A stack in a folder with an unusual name, with rules as fast as in a drill."""
    made = servers.temporary_folder()
    made.chmod(0o755)
    data = made / ODD / "data"
    with _stack(data, made / "output", "--fast") as stack:
        yield stack
    emptied = not list((made / ODD).iterdir())
    shutil.rmtree(made)
    assert emptied, "the clean command leaves files"


def test_the_data_folder_may_have_any_name(odd: Stack) -> None:
    odd.ensure()
    assert httpx.get(odd.url("API", "/readyz")).is_success
    rules = httpx.get(odd.url("PROMETHEUS", "/api/v1/rules")).json()["data"]["groups"]
    assert len(rules) > 3
    status = httpx.get(odd.url("ALERTMANAGER", "/api/v2/status")).json()
    assert "page" in status["config"]["original"]
    refused = odd.run_command("clean")
    assert refused.returncode == 1
    assert "already running" in refused.stderr


def test_each_server_can_read_only_own_secrets(odd: Stack) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root starts servers of several users")
    odd.ensure()
    owners = {service: Path("/proc", str(pid)).owner() for service, pid in odd.pids.items()}
    assert (owners["postgres"], owners["redis"]) == ("postgres", "redis")
    assert owners["prometheus"] == owners["alertmanager"] == "prometheus"
    secrets = {path.name: path.read_text() for path in (odd.data / "secrets").iterdir()}
    assert {path.owner() for path in (odd.data / "secrets").iterdir()} == {"root"}
    expected = {
        "postgres": {"postgres-password"},
        "redis": {"redis-password", "redis-monitor-password"},
        "prometheus": {"metrics-token"},
    }
    for owner, own in expected.items():
        readable = "".join(
            path.read_text(errors="ignore")
            for path in odd.data.rglob("*")
            if path.is_file() and (path.owner() == owner or path.stat().st_mode & 0o004)
        )
        assert {name for name, text in secrets.items() if text in readable} == own


def test_status_shows_a_killed_service_before_the_runner_notices(odd: Stack) -> None:
    runner = odd.ensure()
    before = odd.pids
    runner.send_signal(signal.SIGSTOP)
    os.kill(before["prometheus"], signal.SIGKILL)
    status = odd.run_command("status")
    runner.send_signal(signal.SIGCONT)
    assert status.returncode == 3
    assert re.search(r"^  prometheus +ended +- +- +0$", status.stdout, re.MULTILINE)

    odd.wait(lambda: "prometheus is ready again" in odd.output_text)
    assert "prometheus ended with signal SIGKILL after" in odd.output_text
    status = odd.run_command("status")
    assert status.returncode == 0
    after = odd.pids
    row = rf"^  prometheus +ready +{after['prometheus']} +\d.* s +1$"
    assert re.search(row, status.stdout, re.MULTILINE), status.stdout
    assert {name for name in SERVERS if before[name] != after[name]} == {"prometheus"}


def test_what_is_watched_and_what_watches_is_restarted_and_the_ends_are_told(odd: Stack) -> None:
    """The servers all at once, then the monitoring all at once."""
    runner = odd.ensure()
    watched = {"postgres", "redis", "api"}
    # An end is a step of a counter, which Prometheus must have scraped before.
    odd.wait(lambda: watched <= _scraped(odd))
    for names in (watched, SERVERS - watched):
        before, ends = odd.pids, odd.record["ends"]
        for name in names:
            os.kill(before[name], signal.SIGKILL)
        odd.wait(lambda: all(odd.record["ends"][name] > ends[name] for name in names))  # noqa: B023
        odd.wait(lambda: {odd.record["states"][name] for name in SERVERS} == {"ready"})
        after = odd.pids
        assert {name for name in SERVERS if before[name] != after[name]} == names
        if names == watched:
            odd.wait(lambda: _told(odd) >= watched)
    assert runner.poll() is None
    assert httpx.get(odd.url("API", "/readyz")).is_success
    odd.wait(lambda: httpx.get(odd.url("PROMETHEUS", "/api/v1/alerts")).is_success)


def _scraped(stack: Stack) -> set[str]:
    """The services whose ends Prometheus has counted so far, or their absence."""
    query = {"query": "runner_service_ends_total"}
    answer = httpx.get(stack.url("PROMETHEUS", "/api/v1/query"), params=query)
    return {each["metric"]["service"] for each in answer.json()["data"]["result"]}


def _told(stack: Stack) -> set[str]:
    """The services whose end a person was told."""
    notifications = httpx.get(stack.url("INBOX", "/")).json()["notifications"]
    return {
        note["labels"]["service"]
        for note in notifications
        if (note["alert"], note["status"]) == ("ServiceEnded", "firing")
    }
