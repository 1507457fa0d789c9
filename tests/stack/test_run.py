"""The real stack, started by its command."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from stack.installation.paths import CHECKOUT
from stack.installation.ports import Ports
from stack.readiness import free_port
from tests import servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]
PORTS = Ports.chosen()


class Stack:
    """`python -m stack` with a data folder and ports of its own."""

    def __init__(self) -> None:
        self.data = servers.temporary_folder()
        self.ports = {name: free_port() for name in PORTS}
        self.environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("ALERT_")},
            "VITALS_DATA": str(self.data),
            **{f"{name}_PORT": str(port) for name, port in self.ports.items()},
        }
        self.running: list[subprocess.Popen[str]] = []

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """Start it and wait until it prints that it is ready."""
        started = subprocess.Popen(
            [sys.executable, "-m", "stack", "up"],
            cwd=CHECKOUT,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.running.append(started)
        assert started.stdout
        output = []
        for line in started.stdout:
            output.append(line)
            if line == "Ready.\n":
                return started
        raise AssertionError("".join(output))

    def run_command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run another command on the same data folder."""
        return subprocess.run(
            [sys.executable, "-m", "stack", *arguments],
            cwd=CHECKOUT,
            env=self.environment | environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def pids(self) -> dict[str, int]:
        content = json.loads((self.data / "running.json").read_text())
        pids: dict[str, int] = content["pids"]
        return pids

    def url(self, service: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    def stop(self) -> None:
        """Stop what a test left running."""
        while self.running:
            process = self.running.pop()
            process.terminate()
            process.communicate(timeout=60)

    def close(self) -> None:
        shutil.rmtree(self.data)


@pytest.fixture(scope="module")
def installed() -> Iterator[Stack]:
    stack = Stack()
    yield stack
    stack.close()


@pytest.fixture
def stack(installed: Stack) -> Iterator[Stack]:
    """A stopped stack with the data of the previous test."""
    yield installed
    installed.stop()


def _all_ended(pids: dict[str, int], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while any(Path("/proc", str(pid)).exists() for pid in pids.values()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _commands_work(stack: Stack, printed: str) -> None:
    """Run the command lines that are printed, as they are, from another folder and shell."""
    lines = [line.strip() for line in printed.splitlines() if f"{stack.data}/bin/vitals " in line]
    said = {}
    for line in lines:
        name = line.removeprefix(f"{stack.data}/bin/vitals ").partition(" ")[0]
        if name not in {"doctor", "bottlenecks"}:  # which need what `make up` does not make
            done = subprocess.run(
                ["/bin/sh", "-c", line],
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
                check=False,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (done.returncode, done.stderr) == (0, ""), line
            said[name] = done.stdout
    assert said.keys() == {"locks", "indexes", "advise"}
    assert said["locks"] == "no lock waits\n"
    assert "estimated cost" in said["advise"]
    assert "HypoPG" not in said["advise"], "the extension is not in the demo's database"


def test_start_crash_restart_and_an_end_that_ends_all_when_asked(stack: Stack) -> None:
    first = stack.start()
    assert httpx.get(stack.url("API", "/readyz")).is_success
    assert httpx.get(stack.url("API", "/metrics")).status_code == 401
    person = {"email": "a@example.com", "name": "A", "password": "made-up-for-tests-1"}
    assert httpx.post(stack.url("API", "/api/users"), json=person).status_code == 201

    refused = stack.run_command("up")
    assert refused.returncode == 1
    assert f"already running in {stack.data}: python -m stack up (pid {first.pid})" in (
        refused.stderr
    )
    assert stack.run_command("status").returncode == 0
    _commands_work(stack, stack.run_command("status").stdout)
    elsewhere = stack.run_command("status", API_PORT="1")
    assert stack.url("API", "/docs") in elsewhere.stdout, "status shows other addresses"

    pids = stack.pids
    # The boards are built while everything else already serves.
    servers = ("api", "inbox", "store", "issues", "alertmanager", "gate", "prometheus")
    expected = {"postgres", "postgres-reader", "redis", "redis-reader", *servers}
    assert pids.keys() - {"boards"} == expected
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert _all_ended(pids)

    second = stack.start(FAIL_FAST="1")  # on the data of the killed one
    assert httpx.post(stack.url("API", "/api/users"), json=person).status_code == 409
    pids = stack.pids
    os.kill(pids["redis"], signal.SIGKILL)
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "redis ended with signal SIGKILL" in output
    assert _all_ended(pids, 0)
    assert stack.run_command("status").returncode == 3


def test_secrets_are_neither_printed_nor_readable_by_other_users(stack: Stack) -> None:
    process = stack.start()
    secrets = {path.name: path.read_text() for path in (stack.data / "secrets").iterdir()}
    assert len(secrets) >= 8
    commands = "".join(
        Path("/proc", str(pid), "cmdline").read_text() for pid in stack.pids.values()
    )
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    logs = "".join(path.read_text() for path in (stack.data / "log").iterdir())
    for name, secret in secrets.items():
        assert secret not in commands + output + logs, name
    for path in stack.data.rglob("*"):
        if path.is_file() and any(
            secret in path.read_text(errors="ignore") for secret in secrets.values()
        ):
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_taken_port_is_reported_before_anything_starts(stack: Stack) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", stack.ports["REDIS"]))
        listener.listen()
        refused = stack.run_command("up")
    assert refused.returncode == 1
    assert f"port {stack.ports['REDIS']} is taken" in refused.stderr
    assert "REDIS_PORT" in refused.stderr


def test_a_drill_needs_a_running_stack(stack: Stack) -> None:
    refused = stack.run_command("drill", "TargetDown")
    assert refused.returncode == 1
    assert "not running" in refused.stderr
