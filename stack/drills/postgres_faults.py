"""Faults of the stack's PostgreSQL, as its reader sees them."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg

from stack.drills.api_faults import superuser
from stack.drills.fault import API, POSTGRES, Fault
from stack.servers import postgres

if TYPE_CHECKING:
    from stack.drills.environment import Environment

_SHARE = 0.9
"""The share of connections that a drill takes; the API's pool is open already."""


async def _refuse_reader(environment: "Environment") -> None:
    connection = await superuser(environment)
    try:
        await connection.execute(f"ALTER ROLE {postgres.MONITOR} NOLOGIN")
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1",
            postgres.MONITOR,
        )
        await asyncio.Event().wait()
    finally:
        await connection.execute(f"ALTER ROLE {postgres.MONITOR} LOGIN")
        await connection.close()


async def _take_connections(environment: "Environment") -> None:
    held = [await superuser(environment)]
    try:
        limit = int(await held[0].fetchval("SHOW max_connections"))
        used = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        while await held[0].fetchval(used) < _SHARE * limit:
            held.append(await superuser(environment))
        await asyncio.Event().wait()
    finally:
        for connection in reversed(held):
            await connection.close()


async def _leave_open(environment: "Environment") -> None:
    connection = await superuser(environment, application="report")
    try:
        async with connection.transaction():
            await connection.execute("SELECT count(*) FROM products")
            await asyncio.Event().wait()
    finally:
        await connection.close()


async def _deadlock(environment: "Environment") -> None:
    one, other = [await superuser(environment, application="batch") for _ in range(2)]
    both = (one, other)
    try:
        for connection in both:
            await connection.execute("SET deadlock_timeout = '50ms'")
        while True:
            for number, connection in enumerate(both):
                await connection.execute("BEGIN")
                await connection.execute("SELECT pg_advisory_xact_lock($1)", number)
            crossed = (
                connection.execute("SELECT pg_advisory_xact_lock($1)", 1 - number)
                for number, connection in enumerate(both)
            )
            await asyncio.gather(*crossed, return_exceptions=True)
            for connection in both:
                with suppress(asyncpg.PostgresError):
                    await connection.execute("ROLLBACK")
            await asyncio.sleep(1)
    finally:
        for connection in both:
            await connection.close()


async def _abandon_slot(environment: "Environment") -> None:
    connection = await superuser(environment)
    try:
        await connection.execute("SELECT pg_create_physical_replication_slot('drill', true)")
        await asyncio.Event().wait()
    finally:
        await connection.execute("SELECT pg_drop_replication_slot('drill')")
        await connection.close()


FAULTS = {
    "PostgresConnectionsRunOut": Fault(
        "nine tenths of the connections of PostgreSQL are taken",
        _take_connections,
        job=POSTGRES,
        lane=API,
    ),
    "TransactionLong": Fault(
        "a transaction that holds no lock is left open",
        _leave_open,
        job=POSTGRES,
        lane=API,
        seconds=120.0,
    ),
    "DeadlocksRepeated": Fault(
        "two sessions deadlock once a second", _deadlock, job=POSTGRES, lane=API
    ),
    "ReplicationBroken": Fault(
        "a replication slot is left behind that no one reads",
        _abandon_slot,
        job=POSTGRES,
        lane=API,
    ),
    "PostgresUnreachable": Fault(
        "PostgreSQL refuses the reader's role", _refuse_reader, job=POSTGRES, lane=API
    ),
}
"""By the alert that must fire."""
