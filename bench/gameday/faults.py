"""Faults of the stack's own parts, each with the figures of the boards and of their witness."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from bench.gameday.stack import Stack
from stack.installation import secrets
from stack.readiness import LOOPBACK
from stack.servers import postgres


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
def _disk_filled(stack: Stack) -> Iterator[None]:
    """A megabyte a second, as a log that grows."""
    over = threading.Event()

    def fill() -> None:
        with (stack.here.data / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while not over.wait(1):
                file.write(bytes(1 << 20))

    filler = threading.Thread(target=fill)
    filler.start()
    try:
        yield
    finally:
        over.set()
        filler.join()


def _free_disk(stack: Stack) -> str:
    return f"{shutil.disk_usage(stack.here.data).free >> 20} MiB free"


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
        alerts: Of which one must tell it; messages are collected until then.
        shown: Boards and titles of the panels to compare.
        witness: The outside view, as text.
        disk: Size of the disk of the data, if it has one of its own, which takes the superuser.
        warm: Seconds of traffic before it: five minutes of data, or what it is compared with.
        orders: Number of orders of the sample data, if it takes more than few.
    """

    title: str
    inject: Callable[[Stack], Any]
    alerts: frozenset[str]
    shown: tuple[tuple[str, str], ...] = ()
    witness: Callable[[Stack], str] = field(default=lambda _stack: "")
    disk: str = ""
    warm: int = 420
    orders: int = 0


FAULTS = {
    1: Fault(
        "indexes dropped",
        _indexes_dropped,
        frozenset({"StatementSlower", "RouteSlow"}),
        warm=1500,
        orders=200_000,
    ),
    2: Fault(
        "ALTER TABLE left open in psql",
        lambda stack: _in_psql(stack, "BEGIN; ALTER TABLE products ADD COLUMN gameday int;\n"),
        frozenset({"TransactionForgotten"}),
    ),
    3: Fault(
        "Redis frozen",
        _redis_frozen,
        frozenset({"CacheStoreDown"}),
        (("svc-cache", "Current hit ratio"),),
    ),
    4: Fault(
        "Redis full",
        _redis_full,
        frozenset({"CacheWritesRefused"}),
        (("svc-cache", "Refused commands"),),
        _refused,
    ),
    5: Fault(
        "no slot of PostgreSQL left",
        _slots_taken,
        frozenset({"ErrorRatioHigh", "PostgresConnectionsRunOut"}),
        (("svc-db", "Failed queries"), ("svc-db", "Connections by state")),
        _sessions,
    ),
    11: Fault(
        "disk runs full", _disk_filled, frozenset({"DiskRunsOut"}), witness=_free_disk, disk="900m"
    ),
    12: Fault(
        "API killed",
        _api_killed,
        frozenset({"ServiceEnded"}),
        (("svc-overview", "Availability"), ("svc-overview", "Instances up")),
    ),
}
