"""Faults of the stack's PostgreSQL, as its reader sees them."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg

from stack import readiness
from stack.drills.api_faults import superuser
from stack.drills.fault import API, POSTGRES, Fault, PostgresTarget
from stack.installation import secrets
from stack.servers import postgres

if TYPE_CHECKING:
    from stack.drills.environment import Environment

DOUBLE, AGED = PostgresTarget("double-postgres", standby=True), PostgresTarget("aged-postgres")
_SHARE = 0.9
"""The share of connections that a drill takes; the API's pool is open already."""
_XID = 0x5F500000
"""The next transaction after a drill's, of the 2^31 that may be in use."""
_START_SECONDS = 180


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


async def _pause_replay(environment: "Environment") -> None:
    primary = await _connect(environment, DOUBLE.server)
    standby = await _connect(environment, DOUBLE.second)
    try:
        await primary.execute("CREATE TABLE IF NOT EXISTS things (at timestamptz)")
        await standby.execute("SELECT pg_wal_replay_pause()")
        while True:
            await primary.execute("INSERT INTO things VALUES (now())")
            await asyncio.sleep(0.5)
    finally:
        await standby.execute("SELECT pg_wal_replay_resume()")
        await primary.close()
        await standby.close()


async def _age(environment: "Environment") -> None:
    """Spend transactions, while a prepared one that was forgotten lets no row be frozen."""
    connection = await _connect(environment, AGED.server)
    await connection.execute("CREATE TABLE things (id int)")
    await connection.execute("BEGIN; INSERT INTO things VALUES (1); PREPARE TRANSACTION 'drill'")
    await connection.close()
    with environment.stopped(AGED.server):
        data, user = environment.drill.data / AGED.server, environment.drill.user
        await asyncio.to_thread(postgres.advance_transactions, data, user, _XID)
    await _until_answers(environment, AGED.server)
    try:
        await asyncio.Event().wait()
    finally:
        for database in (postgres.SUPERUSER, "template1"):
            connection = await _connect(environment, AGED.server, database)
            if database == postgres.SUPERUSER:
                await connection.execute("ROLLBACK PREPARED 'drill'")
            await connection.execute("VACUUM (FREEZE)")
            await connection.close()


async def _connect(
    environment: "Environment", server: str, database: str = postgres.SUPERUSER
) -> asyncpg.Connection:
    """Connect to a deployed server as the superuser."""
    return await asyncpg.connect(
        host=readiness.LOOPBACK,
        port=environment.port(server),
        user=postgres.SUPERUSER,
        password=secrets.read(environment.here.secrets, "postgres-password"),
        database=database,
    )


async def _until_answers(environment: "Environment", server: str) -> None:
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while not await asyncio.to_thread(postgres.answers, environment.port(server)):
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"{server} did not start within {_START_SECONDS} s")
        await asyncio.sleep(0.2)


FAULTS = {
    "ReplicationLag": Fault(
        "a standby of a PostgreSQL replays nothing",
        _pause_replay,
        job=DOUBLE.job,
        targets=(DOUBLE,),
        lane=DOUBLE.job,
        seconds=150.0,
    ),
    "WraparoundNear": Fault(
        "a PostgreSQL spends its transactions, and a forgotten one lets no row be frozen",
        _age,
        job=AGED.job,
        targets=(AGED,),
        lane=AGED.job,
        seconds=120.0,
    ),
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
