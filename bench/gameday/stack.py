"""A stack of its own for a game day: on free ports, with data in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from dashboards.panels.data_states import STATES
from dashboards.rendered_queries import CHOICES, fill_in, panels
from stack.installation import secrets
from stack.installation.paths import Installation
from stack.installation.ports import Ports
from stack.readiness import LOOPBACK, free_port
from stack.servers import postgres

START_SECONDS = 300
"""Within which it must be ready."""


class Stack:
    """A running stack.

    Args:
        folder: Of its data.
        orders: Number of orders of the sample data, with traffic; None for neither.
    """

    def __init__(self, folder: Path, orders: int | None) -> None:
        env = {f"{name}_PORT": str(free_port()) for name in Ports.chosen()}
        env["VITALS_DATA"] = str(folder)
        self.here = Installation.here({**os.environ, **env})
        what = ["up"] if orders is None else ["demo", "--orders", str(orders)]
        command = [sys.executable, "-m", "stack", *what]
        self._log = (folder.parent / "stack.log").open("w")
        self._process = subprocess.Popen(  # noqa: S603
            command, env={**os.environ, **env}, stdout=self._log, stderr=self._log
        )

    def wait_ready(self) -> None:
        """Wait until it serves; SystemExit if it ended or does not."""
        deadline = time.monotonic() + START_SECONDS
        while not ((record := self.here.read_record()) and record.ready):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the stack did not start: see {self._log.name}")
            time.sleep(1)

    def close(self) -> None:
        """Stop it."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        self._log.close()

    def pid(self, name: str) -> int:
        """The process of a service."""
        return self.here.read_pids()[name]

    def sql(self, statement: str) -> str:
        """Run a statement as the superuser."""
        password = secrets.read(self.here.secrets, "postgres-password")
        return postgres.run_sql(
            self.here.ports.postgres, password, statement, database=postgres.DATABASE
        )

    def redis(self) -> Redis:
        """A client of its Redis."""
        password = secrets.read(self.here.secrets, "redis-password")
        return Redis(host=LOOPBACK, port=self.here.ports.redis, password=password)

    def told(self) -> list[dict[str, Any]]:
        """Notifications that fire, the newest first."""
        page = httpx.get(f"http://{LOOPBACK}:{self.here.ports.inbox}/", timeout=10).json()
        return [each for each in page["notifications"] if each["status"] == "firing"]

    def figure(self, board: str, title: str) -> str:
        """What a panel's first query shows now: figures, or the words of its state."""
        drawn = json.loads(Path("grafana/dashboards", f"{board}.json").read_text())
        [panel] = [each for each in panels(drawn) if each["title"] == title]
        expr = fill_in(panel["targets"][0]["expr"], CHOICES)
        address = f"http://{LOOPBACK}:{self.here.ports.prometheus}/api/v1/query"
        found = httpx.get(address, params={"query": expr}, timeout=10).json()["data"]["result"]
        values = [float(each["value"][1]) for each in found]
        return ", ".join(STATES.get(int(value), f"{value:.4g}") for value in values) or "none"
