"""Faults on purpose: each makes one alert fire on a stack that is well, and ends without a trace.

A fault is a coroutine that runs until it is cancelled and then puts everything back. The load
beside it asks the API for what the fault concerns, so that a drill needs no other traffic.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass

import asyncpg

from stack import postgres, probes, secrets
from stack.installation import Installation


def _searches() -> Iterator[str]:
    """Few searches, which no cache can answer, among many quick requests.

    Slow requests stay few whatever the fault does to them: a page would hide the ticket.
    """
    for number in itertools.count():
        yield f"/api/products?text=drill-{os.getpid()}-{number}"
        yield from itertools.repeat("/api/categories", 6)


def _products() -> Iterator[str]:
    """The same few products: a cache answers, unless it forgets."""
    return itertools.cycle(f"/api/products/{number}" for number in range(1, 6))


@dataclass(frozen=True)
class Fault:
    """What breaks, and what is asked of the API meanwhile.

    Attributes:
        what: Told to the person.
        inject: Breaks it until cancelled.
        load: Paths to ask for.
    """

    what: str
    inject: Callable[[Installation], Coroutine[None, None, None]]
    load: Callable[[], Iterator[str]] = _searches


async def _superuser(here: Installation) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=probes.LOOPBACK,
        port=here.ports.postgres,
        user=postgres.SUPERUSER,
        password=secrets.read(here.secrets, "postgres-password"),
        database=postgres.DATABASE,
    )


async def _lock_products(here: Installation) -> None:
    connection = await _superuser(here)
    try:
        while True:
            async with connection.transaction():
                await connection.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
                await asyncio.sleep(1)
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def _shut_out(here: Installation) -> None:
    connection = await _superuser(here)
    try:
        await connection.execute(f"ALTER ROLE {postgres.ROLE} NOLOGIN")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1",
            postgres.ROLE,
        )
        await asyncio.Event().wait()
    finally:
        await connection.execute(f"ALTER ROLE {postgres.ROLE} LOGIN")
        await connection.close()


async def _keep_forgetting(here: Installation) -> None:
    reader, writer = await asyncio.open_connection(probes.LOOPBACK, here.ports.redis)
    try:
        writer.write(f"AUTH {secrets.read(here.secrets, 'redis-password')}\r\n".encode())
        await reader.readline()
        while True:
            writer.write(b"FLUSHALL\r\n")
            await reader.readline()
            await asyncio.sleep(0.01)
    finally:
        writer.close()


async def _freeze_api(here: Installation) -> None:
    group = here.read_pids()["api"]
    os.killpg(group, signal.SIGSTOP)
    try:
        await asyncio.Event().wait()
    finally:
        os.killpg(group, signal.SIGCONT)


_LOCKED = "a lock on the products table makes queries wait for up to a second"
FAULTS = {
    "LatencyP95High": Fault(_LOCKED, _lock_products),
    "SlowQueryRatioHigh": Fault(_LOCKED, _lock_products),
    "ErrorRatioHigh": Fault("the database refuses the API's role", _shut_out),
    "CacheHitRatioCollapsed": Fault(
        "Redis forgets everything, all the time", _keep_forgetting, _products
    ),
    "TargetDown": Fault("the API is frozen", _freeze_api),
}
"""By the alert that must fire."""
