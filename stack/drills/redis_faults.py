"""Faults of a Redis beside the stack's own, as its reader sees them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from stack import readiness
from stack.drills.fault import Fault, Inject, RedisTarget

if TYPE_CHECKING:
    from stack.drills.environment import Environment

KEPT = RedisTarget("kept-redis", lines=("maxclients 64",))
SMALL = RedisTarget("small-redis", memory="8mb")
DOUBLE = RedisTarget("double-redis", replica=True)
_FULL, _CROWDED = 0.95, 58
_DUMP = "dump.rdb"


@asynccontextmanager
async def _client(environment: "Environment", target: RedisTarget) -> AsyncIterator[Redis]:
    port = environment.port(target.server)
    async with Redis(host=readiness.LOOPBACK, port=port, socket_timeout=5) as client:
        yield client


async def _fill(environment: "Environment") -> None:
    async with _client(environment, SMALL) as client:
        await client.config_set("maxmemory-policy", "noeviction")
        try:
            number = 0
            while True:
                memory = await client.info("memory")
                if memory["used_memory"] > _FULL * memory["maxmemory"]:
                    break
                with suppress(OutOfMemoryError):
                    await client.set(f"value-{number}", b"x" * 50_000)
                number += 1
            await asyncio.Event().wait()
        finally:
            await client.flushall()
            await client.config_set("maxmemory-policy", "volatile-lfu")


async def _overflow(environment: "Environment") -> None:
    async with _client(environment, SMALL) as client:
        try:
            number = 0
            while True:
                async with client.pipeline(transaction=False) as pipeline:
                    for each in range(number, number + 500):
                        pipeline.set(f"key-{each}", b"x" * 1000, ex=3600)
                    await pipeline.execute()
                number += 500
                await asyncio.sleep(0.2)
        finally:
            await client.flushall()


async def _refuse_saves(environment: "Environment") -> None:
    # Another user than root would do for a full or read-only disk; this fails for root too.
    file = environment.drill.data / KEPT.server / _DUMP
    async with _client(environment, KEPT) as client:
        file.unlink(missing_ok=True)
        file.mkdir()
        try:
            await client.set("changed", "1")
            await client.bgsave()
            await asyncio.Event().wait()
        finally:
            file.rmdir()
            await client.bgsave()


async def _crowd(environment: "Environment") -> None:
    async with AsyncExitStack() as held:
        for _ in range(_CROWDED):
            client = await held.enter_async_context(_client(environment, KEPT))
            await client.ping()
        await asyncio.Event().wait()


def _frozen(name: str) -> Inject:
    async def inject(environment: "Environment") -> None:
        with environment.frozen(name):
            await asyncio.Event().wait()

    return inject


async def _lose_replica(environment: "Environment") -> None:
    with environment.stopped(DOUBLE.second):
        await asyncio.Event().wait()


def _of(target: RedisTarget, description: str, inject: Inject, seconds: float = 90.0) -> Fault:
    return Fault(
        description, inject, target.job, targets=(target,), lane=target.job, seconds=seconds
    )


FAULTS = {
    "RedisPersistenceFails": _of(KEPT, "a Redis cannot write its file", _refuse_saves),
    "RedisConnectionsRunOut": _of(
        KEPT, "nine tenths of the connections of a Redis are taken", _crowd
    ),
    "RedisUnreachable": _of(KEPT, "a Redis is frozen", _frozen(KEPT.server)),
    "RedisMemoryNearLimit": _of(SMALL, "a Redis that may not evict is filled", _fill),
    "RedisEvicts": _of(SMALL, "more is stored than fits into a Redis", _overflow),
    "RedisReplicaLags": _of(DOUBLE, "a replica of a Redis is frozen", _frozen(DOUBLE.second)),
    "RedisReplicaGone": _of(DOUBLE, "a replica of a Redis ends", _lose_replica),
}
"""By the alert that must fire."""
