"""Faults of Redis and of its connection: callers get right values in time, and nothing leaks."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Generator
from secrets import token_hex
from typing import Any

import pytest
from redis import Redis as Client

from tests.proxy import Fault, Proxy
from tests.servers import Redis
from tests.vitals.cache.caches import (
    CONNECTIONS,
    DEADLINE_SECONDS,
    LONG_TIMEOUT,
    PRODUCTION_TIMEOUT,
    Numbers,
    Process,
    clients_of,
)
from vitals.metrics.catalogue import CACHE_REQUESTS

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

KEYS = [str(number) for number in range(30)]
FAULTS: list[tuple[Fault, dict[str, Any]]] = [
    (Fault.DELAY, {"seconds": PRODUCTION_TIMEOUT / 3}),
    (Fault.DELAY, {"seconds": 2.0}),
    (Fault.DROP, {}),
    (Fault.HALF_OPEN, {}),
    (Fault.TRUNCATE, {"size": 0}),
    (Fault.TRUNCATE, {"size": 3}),
    (Fault.RESPONSE_LOST, {}),
]


@pytest.fixture
async def proxy(redis_server: Redis, anyio_backend: str) -> AsyncIterator[Proxy]:
    async with Proxy.before(redis_server.port) as standing:
        yield standing


@pytest.fixture
async def hasty(proxy: Proxy) -> AsyncIterator[Process]:
    """A process that reaches Redis through the proxy."""
    process = Process(f"redis://127.0.0.1:{proxy.port}", PRODUCTION_TIMEOUT)
    yield process
    proxy.clear()
    await process.cache.close()


@pytest.fixture
async def direct(redis_server: Redis, anyio_backend: str) -> AsyncIterator[Process]:
    """Another process, with a direct connection to Redis."""
    process = Process(redis_server.url, LONG_TIMEOUT)
    yield process
    await process.cache.close()


async def traffic(process: Process, numbers: Numbers, *, callers: int = 8, turns: int = 60) -> None:
    """Run many callers that read and sometimes write; none may fail or read a stale value."""

    async def call() -> None:
        for _ in range(turns):
            key = numbers.chance.choice(KEYS)
            if numbers.chance.random() < 0.05:
                await numbers.write(process, key)
            else:
                await numbers.read(process, key)
            await asyncio.sleep(0)

    async with asyncio.timeout(DEADLINE_SECONDS * 2):
        await asyncio.gather(*(call() for _ in range(callers)))


async def all_agree(numbers: Numbers, *processes: Process) -> None:
    """Check that every process reads the newest number of every key."""
    for process in processes:
        for key in KEYS:
            assert await numbers.read(process, key) == numbers.committed[key]


async def used_again(process: Process, numbers: Numbers) -> None:
    """Wait until lookups are hits in Redis."""
    before = process.reads(CACHE_REQUESTS, result="hit")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while process.reads(CACHE_REQUESTS, result="hit") < before + len(KEYS):
            for key in KEYS:
                await numbers.read(process, key)
            await asyncio.sleep(0.05)


async def test_connection_faults_never_corrupt_values(
    redis_server: Redis, anyio_backend: str
) -> None:
    async def suffer(number: int, fault: Fault, measure: dict[str, Any]) -> None:
        name = f"{fault.name.lower()}-{number}"
        numbers, healthy = Numbers(), Process(redis_server.url, LONG_TIMEOUT, name)
        async with Proxy.before(redis_server.port) as proxy:
            process = Process(f"redis://127.0.0.1:{proxy.port}", PRODUCTION_TIMEOUT, name)
            await traffic(process, numbers)
            proxy.inject(fault, **measure)
            await traffic(process, numbers)
            proxy.clear()
            await process.recovered()
            await all_agree(numbers, process, healthy)
            await used_again(process, numbers)
            assert proxy.open <= CONNECTIONS, name
            await process.cache.close()
        await healthy.cache.close()

    async with asyncio.TaskGroup() as together:  # each waits for its breaker most of the time
        for number, (fault, measure) in enumerate(FAULTS):
            together.create_task(suffer(number, fault, measure), name=fault.name)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while clients_of(redis_server.port):
            await asyncio.sleep(0.02)


async def test_few_reads_time_out_on_a_half_open_connection(hasty: Process, proxy: Proxy) -> None:
    numbers = Numbers()
    for key in KEYS:
        await numbers.read(hasty, key)
    proxy.inject(Fault.HALF_OPEN)
    started = time.monotonic()
    for _ in range(500):
        await numbers.read(hasty, numbers.chance.choice(KEYS))
    seconds = time.monotonic() - started

    late = hasty.reads(CACHE_REQUESTS, result="error")
    assert 1 <= late <= 3 + seconds  # until the breaker opens, and one probe a second
    assert hasty.reads(CACHE_REQUESTS, result="bypass") >= 490 - seconds


async def test_each_caller_times_out_once_on_a_half_open_connection(
    hasty: Process, proxy: Proxy
) -> None:
    numbers, callers, turns = Numbers(), 8, 10
    await numbers.read(hasty, "1")
    proxy.inject(Fault.HALF_OPEN)

    async def call() -> None:
        for _ in range(turns):
            await numbers.read(hasty, "1")

    await asyncio.gather(*(call() for _ in range(callers)))
    assert hasty.reads(CACHE_REQUESTS, result="error") == callers
    assert hasty.reads(CACHE_REQUESTS, result="bypass") == callers * (turns - 1)


async def test_random_faults_leave_a_consistent_cache(
    hasty: Process, direct: Process, proxy: Proxy
) -> None:
    numbers = Numbers(seed=5)
    running = asyncio.ensure_future(traffic(hasty, numbers, turns=500))
    while not running.done():
        fault, measure = numbers.chance.choice(FAULTS)
        proxy.inject(fault, **measure)
        await asyncio.sleep(numbers.chance.uniform(0, 0.05))
        proxy.clear()
        await asyncio.sleep(numbers.chance.uniform(0, 0.3))
    await running
    await hasty.recovered()
    await all_agree(numbers, hasty, direct)
    assert proxy.open <= CONNECTIONS


async def test_evicted_values_cost_only_loads(direct: Process, redis_server: Redis) -> None:
    numbers = Numbers(seed=3)
    texts = direct.cache.namespace("text", schema=str, ttl=60)

    async def text() -> str:
        return token_hex(10_000)  # not compressible

    with Client.from_url(redis_server.url) as client:
        before: Any = client.config_get("maxmemory")
        used: Any = client.info("memory")
        client.config_set("maxmemory", used["used_memory"] + 1_500_000)
        try:
            for turn in range(10):
                ballast = (texts.get(f"{turn} {number}", text) for number in range(25))
                await asyncio.gather(*ballast)
                await traffic(direct, numbers, turns=10)
            evicted: Any = client.info("stats")
        finally:
            client.config_set("maxmemory", before["maxmemory"])
    assert evicted["evicted_keys"] > 0
    await all_agree(numbers, direct)


class Interrupted:
    """Awaits a coroutine, and cancels the task at its n-th suspension, as a disconnect does."""

    def __init__(self, work: Coroutine[Any, Any, Any], at: int) -> None:
        self._work = work
        self._at = at
        self.suspended = 0

    def __await__(self) -> Generator[Any, None, Any]:
        waiting = self._work.__await__()
        while True:
            try:
                future = next(waiting)
            except StopIteration as done:
                return done.value
            self.suspended += 1
            task = asyncio.current_task()
            if self.suspended == self._at and task is not None:
                task.cancel()
            try:
                yield future
            except BaseException as error:  # noqa: BLE001 - passed into the coroutine
                future = waiting.throw(error)
                yield future


def do(work: str, process: Process, numbers: Numbers, key: str) -> Coroutine[Any, Any, object]:
    """Return the operation that is cancelled."""
    if work == "write":
        return numbers.write(process, key)
    if work == "clear":
        return process.numbers.clear()
    return numbers.read(process, key)


@pytest.mark.parametrize("work", ["hit", "miss", "write", "clear"])
async def test_cancellation_at_any_await_keeps_connection_usable(
    direct: Process, redis_server: Redis, work: str
) -> None:
    numbers = Numbers()
    cancelled = 0
    for at in range(1, 1000):
        key = KEYS[0] if work == "hit" else f"{work} {at}"
        await numbers.read(direct, KEYS[0])
        interrupted = Interrupted(do(work, direct, numbers, key), at)

        async def run(interrupted: Interrupted = interrupted) -> None:
            await interrupted

        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.create_task(run())
        reads = await asyncio.gather(*(numbers.read(direct, key) for key in KEYS))
        assert reads == [numbers.committed[key] for key in KEYS]
        if interrupted.suspended < at:
            break
        cancelled += 1
    assert cancelled >= 1
    assert clients_of(redis_server.port) <= CONNECTIONS
