"""Four processes of the API behind haproxy, which does not retry."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.load.server import ROOT
from service.settings import Settings
from stack import readiness

HOSTS = 4
CHECK_MILLISECONDS = 500
"""Between two health checks; one that fails takes a host out."""
DELAY_SECONDS = 2.0
"""`SERVICE_SHUTDOWN_DELAY`: several health checks."""
KEEP_ALIVE_SECONDS = 75
"""Longer than haproxy keeps an idle connection: else it may use one that the API just closes."""
_START_SECONDS = 120

_HAPROXY = """
global
    maxconn 500
defaults
    mode http
    retries 0
    timeout connect 2s
    timeout client 30s
    timeout server 30s
    timeout check 2s
frontend api
    bind 127.0.0.1:{port}
    default_backend hosts
backend hosts
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter {inter}ms fall 1 rise 1
"""


@dataclass
class Fleet:
    """Running processes of the API.

    Attributes:
        url: Of the load balancer.
        settings: Of each process.
        ports: Of the processes.
    """

    url: str
    settings: Settings
    ports: list[int]
    _processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, port: int) -> None:
        """Start one process, and wait until it is ready.

        Raises:
            RuntimeError: It ended, or was not ready in time.
        """
        given = {
            f"SERVICE_{name.upper()}": str(value)
            for name, value in self.settings.model_dump(exclude_unset=True).items()
        }
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SERVICE_")}
        process = self._processes[port] = subprocess.Popen(
            [sys.executable, "-m", "service"],
            cwd=ROOT,
            env=kept | given | {"SERVICE_PORT": str(port)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the API on port {port} did not start ({process.returncode})")
            time.sleep(0.05)

    def restart(self, port: int) -> float:
        """Stop one process as an orchestrator does, start it again; returns the stop's seconds."""
        process = self._processes[port]
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        took = time.monotonic() - started
        self.start(port)
        time.sleep(2 * CHECK_MILLISECONDS / 1000)  # haproxy sees it
        return took

    def close(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            process.kill()
            process.wait()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://{readiness.LOOPBACK}:{port}/readyz", timeout=2).is_success
    except httpx.TransportError:
        return False


@contextmanager
def fleet(settings: Settings) -> Iterator[Fleet]:
    """Start the processes, one after the other, and haproxy in front of them.

    Raises:
        FileNotFoundError: There is no haproxy: ``apt-get install haproxy``.
    """
    port, ports = readiness.free_port(), [readiness.free_port() for _ in range(HOSTS)]
    url = f"http://{readiness.LOOPBACK}:{port}"
    running = Fleet(url, settings.model_copy(update={"instances": HOSTS}), ports)
    with ExitStack() as stack:
        stack.callback(running.close)
        for each in ports:
            running.start(each)
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        config = Path(folder, "haproxy.cfg")
        servers = "".join(
            f"    server host{number} {readiness.LOOPBACK}:{each}\n"
            for number, each in enumerate(ports)
        )
        config.write_text(_HAPROXY.format(port=port, inter=CHECK_MILLISECONDS) + servers)
        balancer = subprocess.Popen(["haproxy", "-db", "-q", "-f", str(config)])  # noqa: S603, S607
        stack.callback(balancer.wait)
        stack.callback(balancer.kill)
        deadline = time.monotonic() + 30
        while not _is_ready(port):
            if time.monotonic() > deadline:
                raise RuntimeError("haproxy found no host that is ready")
            time.sleep(0.05)
        yield running
