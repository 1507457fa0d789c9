"""Game day: injects faults as production breaks into a stack of its own, and times its alerts.

``python -m bench.gameday --fault 3``, or without an option all that are here. Each fault gets the
intervals of production and a table of what was told, when, and which figures of the boards differed
from their witness (psql, redis-cli). Faults that need a release of the API with a defect (N+1, a
blocked event loop, an error for administrators, a slow payment) are injected by ``make drill``.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from dashboards.panels.data_states import STATES
from dashboards.rendered_queries import CHOICES, fill_in, panels
from stack.installation import secrets
from stack.installation.paths import Installation
from stack.readiness import LOOPBACK, free_port
from stack.servers import postgres
from stack.text_table import text_table

START_SECONDS, WARM_SECONDS = 300, 420
"""To become ready, and to have five minutes of data before the fault."""
LIMITS = {"page": 180, "ticket": 720}
"""Seconds within which a fault must be told, by severity."""


class Stack:
    """A stack of its own, with sample data and traffic, on free ports."""

    def __init__(self, folder: Path, orders: int) -> None:
        names = (
            "API",
            "POSTGRES",
            "REDIS",
            "PROMETHEUS",
            "ALERTMANAGER",
            "INBOX",
            "STORE",
            "ISSUES",
        )
        env = {f"{name}_PORT": str(free_port()) for name in names} | {"VITALS_DATA": str(folder)}
        self.here = Installation.here({**os.environ, **env})
        command = [sys.executable, "-m", "stack", "demo", "--orders", str(orders)]
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


@contextmanager
def _indexes_dropped(stack: Stack) -> Iterator[None]:
    """Repaired by the stack's end: its data are its own."""
    stack.sql(
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT indexrelid::regclass FROM pg_index "
        "JOIN pg_class ON pg_class.oid = indrelid WHERE relnamespace = 'public'::regnamespace "
        "AND NOT indisprimary AND NOT indisunique LOOP EXECUTE 'DROP INDEX ' || name; END LOOP; "
        "END $$"
    )
    yield


@contextmanager
def _in_psql(stack: Stack, script: str, copies: int = 1) -> Iterator[None]:
    """Sessions that are left open."""
    password = secrets.read(stack.here.secrets, "postgres-password")
    ports = stack.here.ports
    command = ["psql", "-qh", LOOPBACK, "-p", str(ports.postgres), "-U", postgres.SUPERUSER]
    opened = [
        subprocess.Popen(  # noqa: S603
            [*command, postgres.DATABASE],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PGPASSWORD": password},
            text=True,
        )
        for _ in range(copies)
    ]
    try:
        for each in opened:
            if each.stdin is not None:
                each.stdin.write(script)
                each.stdin.flush()
        yield
    finally:
        for each in opened:
            each.kill()
            each.wait()


@contextmanager
def _redis_frozen(stack: Stack) -> Iterator[None]:
    os.kill(stack.pid("redis"), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stack.pid("redis"), signal.SIGCONT)


@contextmanager
def _redis_full(stack: Stack) -> Iterator[None]:
    with stack.redis() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        yield


@contextmanager
def _slots_taken(stack: Stack) -> Iterator[None]:
    """The role's limit, as another client's hundred sessions would need as many processes."""
    stack.sql(f"ALTER ROLE {postgres.ROLE} CONNECTION LIMIT 0")
    stack.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'service'"
    )
    try:
        yield
    finally:
        stack.sql(f"ALTER ROLE {postgres.ROLE} CONNECTION LIMIT -1")


@contextmanager
def _api_killed(stack: Stack) -> Iterator[None]:
    os.kill(stack.pid("api"), signal.SIGKILL)
    yield


def _sessions(stack: Stack) -> str:
    return stack.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'service'")


def _refused(stack: Stack) -> str:
    with stack.redis() as client:
        return str(client.info("errorstats").get("errorstat_OOM", "none"))


@dataclass(frozen=True)
class Fault:
    """A fault, and the figures to compare.

    Attributes:
        title: What breaks.
        inject: Breaks it until the block ends.
        shown: Boards and titles of the panels to compare.
        witness: The outside view, as text.
    """

    title: str
    inject: Callable[[Stack], Any]
    shown: tuple[tuple[str, str], ...] = ()
    witness: Callable[[Stack], str] = field(default=lambda _stack: "")


FAULTS = {
    1: Fault("indexes dropped", _indexes_dropped),
    2: Fault(
        "ALTER TABLE left open in psql",
        lambda stack: _in_psql(stack, "BEGIN; ALTER TABLE products ADD COLUMN gameday int;\n"),
    ),
    3: Fault("Redis frozen", _redis_frozen, (("svc-cache", "Current hit ratio"),)),
    4: Fault("Redis full", _redis_full, (("svc-cache", "Refused commands"),), _refused),
    5: Fault(
        "no slot of PostgreSQL left",
        _slots_taken,
        (("svc-db", "Failed queries"), ("svc-db", "Connections by state")),
        _sessions,
    ),
    12: Fault(
        "API killed",
        _api_killed,
        (("svc-overview", "Availability"), ("svc-overview", "Instances up")),
    ),
}


def run(number: int, *, orders: int, seconds: int) -> tuple[str, ...]:
    """Inject one fault; returns a row: number, fault, told after, message, figures, witness."""
    fault = FAULTS[number]
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="vitals-gameday-")))
        folder.chmod(0o755)
        stack = Stack(folder / "data", orders)
        opened.callback(stack.close)
        stack.wait_ready()
        print(f"{number} {fault.title}: {WARM_SECONDS} s of traffic before it", flush=True)
        time.sleep(WARM_SECONDS)
        before = {each["starts"] + each["alert"] for each in stack.told()}
        opened.enter_context(fault.inject(stack))
        began, first = time.monotonic(), None
        while time.monotonic() < began + seconds and first is None:
            time.sleep(1)
            new = [each for each in stack.told() if each["starts"] + each["alert"] not in before]
            first = new[-1] if new else None
        after = time.monotonic() - began
        told = f"{first['severity']} {first['alert']}: {first['summary']}" if first else "nothing"
        late = " (late)" if not first or after > LIMITS.get(first["severity"], 0) else ""
        shown = "; ".join(f"{title}: {stack.figure(board, title)}" for board, title in fault.shown)
        return str(number), fault.title, f"{after:.0f} s{late}", told, shown, fault.witness(stack)


def main() -> None:
    """Run faults one after the other, each in a new stack, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.gameday", description=__doc__)
    parser.add_argument("--fault", type=int, choices=FAULTS, action="append", help="this one")
    parser.add_argument("--orders", type=int, default=20000, help="of the sample data")
    parser.add_argument("--seconds", type=int, default=900, help="longest wait for a message")
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = [
        ("fault", "", "told after", "first message", "boards", "witness")
    ]
    for number in options.fault or FAULTS:
        rows.append(run(number, orders=options.orders, seconds=options.seconds))
        print(text_table([rows[-1]]), flush=True)
    print(text_table(rows))


if __name__ == "__main__":
    main()
