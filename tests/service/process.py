"""The service in a process of its own: ``python -m service``."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import httpx

from service.settings import Settings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """A process that serves on ``url``."""

    url: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]

    def end(self) -> str:
        """Stop it; return its whole output."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return self.said()

    def said(self) -> str:
        """Return its output so far."""
        self.output.seek(0)
        return self.output.read().decode()


def environment(settings: Settings, **others: str) -> dict[str, str]:
    """Return this process's environment with these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SERVICE_")}
    given = {
        f"SERVICE_{name.upper()}": str(value)
        for name, value in settings.model_dump(exclude_unset=True).items()
    }
    return kept | given | others


@contextmanager
def serving(
    settings: Settings, context: ssl.SSLContext | None = None, **variables: str
) -> Iterator[Running]:
    """Serve on a free port until the block ends; over TLS if a client's context is given."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # A file, because an unread pipe fills up, and then logging blocks for ever.
    with TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"],
            cwd=ROOT,
            env=environment(settings, SERVICE_PORT=str(port), **variables),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        scheme = "https" if context else "http"
        running = Running(f"{scheme}://127.0.0.1:{port}", process, output)
        try:
            _wait(running, context)
            yield running
        finally:
            process.kill()
            process.wait()


def _wait(running: Running, context: ssl.SSLContext | None, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            if httpx.get(f"{running.url}/readyz", verify=context or True).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError(f"the service does not serve: {running.said()}")
