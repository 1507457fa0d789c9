"""Faults of the API that runs: of its database, its cache's store and its process."""

import asyncio
import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import asyncpg

from stack import readiness
from stack.drills.fault import API, Fault, Load
from stack.installation import secrets
from stack.servers import postgres

if TYPE_CHECKING:
    from stack.drills.environment import Ground


def _searches() -> Iterator[str]:
    """Few searches, which no cache can answer, among many quick requests.

    Slow requests stay few whatever the fault does to them: a page would hide the ticket.
    """
    for number in itertools.count():
        yield f"/api/products?text=drill-{os.getpid()}-{number}"
        yield from itertools.repeat("/api/categories", 11)


def _products() -> Iterator[str]:
    """The same few products: a cache answers, unless it forgets."""
    return itertools.cycle(f"/api/products/{number}" for number in range(1, 6))


async def _superuser(ground: "Ground") -> asyncpg.Connection:
    here = ground.here
    return await asyncpg.connect(
        host=readiness.LOOPBACK,
        port=here.ports.postgres,
        user=postgres.SUPERUSER,
        password=secrets.read(here.secrets, "postgres-password"),
        database=postgres.DATABASE,
    )


async def _lock_products(ground: "Ground") -> None:
    connection = await _superuser(ground)
    try:
        while True:
            async with connection.transaction():
                await connection.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
                await asyncio.sleep(1)
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def _shut_out(ground: "Ground") -> None:
    connection = await _superuser(ground)
    try:
        await connection.execute(f"ALTER ROLE {postgres.ROLE} NOLOGIN")
        # Those of the API alone; what else logged in as this role before stays.
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE usename = $1 AND application_name = 'service'",
            postgres.ROLE,
        )
        await asyncio.Event().wait()
    finally:
        await connection.execute(f"ALTER ROLE {postgres.ROLE} LOGIN")
        await connection.close()


async def _keep_forgetting(ground: "Ground") -> None:
    here = ground.here
    reader, writer = await asyncio.open_connection(readiness.LOOPBACK, here.ports.redis)
    try:
        writer.write(f"AUTH {secrets.read(here.secrets, 'redis-password')}\r\n".encode())
        await reader.readline()
        while True:
            writer.write(b"FLUSHALL\r\n")
            await reader.readline()
            await asyncio.sleep(0.01)
    finally:
        writer.close()


async def _freeze_redis(ground: "Ground") -> None:
    with ground.frozen("redis"):
        await asyncio.Event().wait()


async def _freeze_api(ground: "Ground") -> None:
    with ground.frozen("api"):
        await asyncio.Event().wait()


_LOCKED = "a lock on the products table makes queries wait for up to a second"
FAULTS = {
    # One after another, those that page last: a page of the API holds its tickets back.
    "LatencyP95High": Fault(
        _LOCKED, _lock_products, load=Load(_searches), lane=API, labels={"scope": "service"}
    ),
    "SlowQueryRatioHigh": Fault(_LOCKED, _lock_products, load=Load(_searches), lane=API),
    "CacheHitRatioCollapsed": Fault(
        "Redis forgets everything, all the time", _keep_forgetting, load=Load(_products), lane=API
    ),
    "CacheStoreDown": Fault(
        "Redis is frozen",
        _freeze_redis,
        load=Load(_products),
        lane=API,
        holds_back=frozenset({"CacheHitRatioCollapsed"}),
    ),
    "TargetDown": Fault(
        "the API is frozen",
        _freeze_api,
        lane=API,
        holds_back=frozenset({"InstanceDown"}),
    ),
    "ErrorRatioHigh": Fault(
        "the database refuses the API's role",
        _shut_out,
        load=Load(_searches),
        lane=API,
        holds_back=frozenset({"BudgetBurn"}),
    ),
}
"""By the alert that must fire."""
