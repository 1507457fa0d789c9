"""Faults of the running API: of its database, its Redis and its process."""

import asyncio
import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import asyncpg

from stack import readiness
from stack.drills import proofs
from stack.drills.fault import API, POSTGRES, Fault, Load
from stack.installation import secrets
from stack.servers import postgres

if TYPE_CHECKING:
    from stack.drills.environment import Environment


def _searches() -> Iterator[str]:
    """A few searches, which no cache can answer, among many fast requests.

    Slow requests stay rare during the fault: a page would inhibit the ticket.
    """
    for number in itertools.count():
        yield f"/api/products?text=drill-{os.getpid()}-{number}"
        yield from itertools.repeat("/api/categories", 11)


def _products() -> Iterator[str]:
    """The same few products, which are cached."""
    return itertools.cycle(f"/api/products/{number}" for number in range(1, 6))


def _many_products() -> Iterator[str]:
    """Products that are rarely asked for: most are not cached, whether they exist or not."""
    return itertools.cycle(f"/api/products/{number}" for number in range(1, 5001))


async def superuser(
    environment: "Environment", *, application: str = "drill"
) -> asyncpg.Connection:
    """Connect to the stack's database as the superuser."""
    here = environment.here
    return await asyncpg.connect(
        host=readiness.LOOPBACK,
        port=here.ports.postgres,
        user=postgres.SUPERUSER,
        password=secrets.read(here.secrets, "postgres-password"),
        database=postgres.DATABASE,
        server_settings={"application_name": application},
    )


async def _lock_products(environment: "Environment") -> None:
    connection = await superuser(environment)
    try:
        while True:
            async with connection.transaction():
                await connection.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
                await asyncio.sleep(1)
            await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def _forget_transaction(environment: "Environment") -> None:
    connection = await superuser(environment, application="psql")
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE products IN ACCESS EXCLUSIVE MODE")
            await asyncio.Event().wait()
    finally:
        await connection.close()


async def _revoke_login(environment: "Environment") -> None:
    connection = await superuser(environment)
    try:
        await connection.execute(f"ALTER ROLE {postgres.ROLE} NOLOGIN")
        while True:
            # Only the API's connections, not others of this role. Again and again: one that was
            # being opened is not listed yet, and alone would answer everything.
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename = $1 AND application_name = 'service'",
                postgres.ROLE,
            )
            await asyncio.sleep(0.5)
    finally:
        await connection.execute(f"ALTER ROLE {postgres.ROLE} LOGIN")
        await connection.close()


async def _flush_redis(environment: "Environment") -> None:
    here = environment.here
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


async def _fill_redis(environment: "Environment") -> None:
    """Leave Redis no memory, and forbid it to evict: it refuses each write and answers reads."""
    here = environment.here
    reader, writer = await asyncio.open_connection(readiness.LOOPBACK, here.ports.redis)

    async def send(command: str) -> list[bytes]:
        writer.write(f"{command}\r\n".encode())
        lines = [await reader.readline()]
        if lines[0].startswith(b"*"):
            lines += [await reader.readline() for _ in range(2 * int(lines[0][1:]))]
        return lines

    try:
        await send(f"AUTH {secrets.read(here.secrets, 'redis-password')}")
        before = [
            (await send(f"CONFIG GET {name}"))[-1].decode().strip()
            for name in ("maxmemory", "maxmemory-policy")
        ]
        try:
            await send("CONFIG SET maxmemory-policy noeviction")
            await send("CONFIG SET maxmemory 1")
            await asyncio.Event().wait()
        finally:
            await send(f"CONFIG SET maxmemory {before[0]}")
            await send(f"CONFIG SET maxmemory-policy {before[1]}")
    finally:
        writer.close()


async def _freeze_redis(environment: "Environment") -> None:
    with environment.frozen("redis"):
        await asyncio.Event().wait()


async def _freeze_api(environment: "Environment") -> None:
    with environment.frozen("api"):
        await asyncio.Event().wait()


_LOCKED = "a lock on the products table makes queries wait for up to a second"
FAULTS = {
    # One after another, pages last: a page of the API inhibits tickets that it explains.
    "LatencyP95High": Fault(
        _LOCKED,
        _lock_products,
        load=Load(_searches),
        lane=API,
        labels={"scope": "service"},
        proof=proofs.slow_statement(0.2),
    ),
    "SlowQueryRatioHigh": Fault(
        _LOCKED,
        _lock_products,
        load=Load(_searches),
        lane=API,
        proof=proofs.slow_statement(0.2),
    ),
    "CacheHitRatioCollapsed": Fault(
        "Redis is flushed continuously", _flush_redis, load=Load(_products), lane=API
    ),
    "CacheWritesRefused": Fault(
        "Redis is full and may not evict",
        _fill_redis,
        load=Load(_many_products, _products),
        lane=API,
        labels={"error_type": "OOM"},
    ),
    "CacheStoreDown": Fault(
        "Redis is frozen",
        _freeze_redis,
        load=Load(_products),
        lane=API,
        inhibits=frozenset({"CacheHitRatioCollapsed"}),
    ),
    "TargetDown": Fault(
        "the API is frozen",
        _freeze_api,
        lane=API,
        inhibits=frozenset({"InstanceDown"}),
    ),
    "LockWaitLong": Fault(
        "a transaction that holds a lock on the products table is left open",
        _forget_transaction,
        load=Load(_searches, rate=5),
        lane=API,
        seconds=180.0,
        proof=proofs.slow_statement(0.5),
    ),
    "TransactionForgotten": Fault(
        "a transaction that holds a lock on the products table is left open",
        _forget_transaction,
        job=POSTGRES,
        load=Load(_searches, rate=5),
        lane=API,
        seconds=60.0,
    ),
    "ErrorRatioHigh": Fault(
        "the database refuses the API's role",
        _revoke_login,
        load=Load(_searches),
        lane=API,
        inhibits=frozenset({"BudgetBurn"}),
        proof=proofs.exception("", "products/repository.py"),
    ),
}
"""By the alert that must fire."""
