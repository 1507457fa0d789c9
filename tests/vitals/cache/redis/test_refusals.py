"""Commands that Redis refuses are counted by its code, as many as Redis itself counts."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from redis import Redis as Client
from redis.exceptions import ResponseError

from tests.servers import Redis
from tests.vitals.cache.caches import DEADLINE_SECONDS, Process
from vitals.cache.core.error_types import refusal_of
from vitals.cache.core.store import StoreUnavailableError
from vitals.metrics.catalogue import (
    CACHE_BREAKER_OPEN,
    CACHE_OPERATION_DURATION,
    CACHE_OPERATION_ERRORS,
    CACHE_REQUESTS,
)

pytestmark = [pytest.mark.anyio, pytest.mark.servers]
PASSWORD = "made-up-for-tests"


@pytest.fixture(scope="module")
def redis_of_file() -> Iterator[Redis]:
    started = Redis()
    yield started
    started.close()


@pytest.fixture
def server(redis_of_file: Redis) -> Iterator[Redis]:
    """A Redis of this file's own, started again for each test: tests change its settings."""
    redis_of_file.start()
    yield redis_of_file
    redis_of_file.stop()


def counted(admin: Client, code: str) -> int:
    """The server's own count."""
    found: dict[str, Any] = admin.info("errorstats")
    return int(found.get(f"errorstat_{code}", {}).get("count", 0))


async def _load() -> int:
    return 1


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_full_redis_that_evicts_nothing(server: Redis) -> None:
    process = Process(server.url)
    await process.numbers.get("before", _load)
    with Client(port=server.port) as admin:
        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", "1")
        for number in range(300):
            assert await process.numbers.get(str(number), _load) == 1
        refused = counted(admin, "OOM")
        assert refused >= 300
        ours = process.reads(CACHE_OPERATION_ERRORS, error_type="OOM")
        assert ours == pytest.approx(refused, rel=0.05)
        assert process.reads(CACHE_OPERATION_ERRORS) == ours
        assert process.reads(CACHE_BREAKER_OPEN) == 0, "it still serves what it has"
        assert await process.numbers.get("before", _load) == 1
        admin.config_set("maxmemory", "64mb")
    await process.numbers.get("after", _load)
    assert process.reads(CACHE_OPERATION_ERRORS) == ours
    await process.cache.close()


@pytest.mark.parametrize("code", ["READONLY", "NOAUTH", "WRONGPASS"])
async def test_a_redis_that_refuses_at_the_next_connect(server: Redis, code: str) -> None:
    """Attempts to connect go on, and each is counted by its reason."""
    server.start()
    login = "" if code != "WRONGPASS" else ":other-password@"
    process = Process(server.url.replace("//", f"//{login}"))
    with Client(port=server.port) as admin:
        if code == "READONLY":
            admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        else:
            admin.config_set("requirepass", PASSWORD)
        for number in range(3):
            assert await process.numbers.get(str(number), _load) == 1
        assert process.reads(CACHE_BREAKER_OPEN) == 1
        await until(
            lambda: process.reads(CACHE_OPERATION_ERRORS, operation="connect", error_type=code) > 3
        )
        commands = process.reads(CACHE_OPERATION_DURATION, "_count")
        assert await process.numbers.get("more", _load) == 1
        assert process.reads(CACHE_REQUESTS, result="bypass") > 0
        assert process.reads(CACHE_OPERATION_DURATION, "_count") == commands, "none was sent"
    await process.cache.close()


async def test_an_outage_is_one_line_with_its_address_and_reason(
    server: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vitals.cache.redis")
    process = Process(server.url, timeout=0.2, l1_ttl=5)
    await process.cache.__aenter__()
    address = f"127.0.0.1:{server.port}"

    def lines(of: str) -> list[str]:
        return [text for text in caplog.messages if of in text]

    for stop, start, reason in (
        (server.kill, server.start, r"Connection\w*Error: \S+"),
        (server.pause, server.resume, r"TimeoutError: \S+.* \(limit 0.2 s\)"),
    ):
        await until(lambda: process.reads(CACHE_BREAKER_OPEN) == 0)
        await process.numbers.get("one", _load)
        caplog.clear()
        stop()
        await until(lambda: _used(process) and lines("unavailable") and lines("bus disconnected"))
        failed = process.reads(CACHE_OPERATION_ERRORS, operation="connect")
        await until(partial(_failed_more_often, process, failed + 4))
        start()
        await until(lambda: lines("available, circuit closed") and lines("bus connected"))
        for of in ("unavailable", "bus disconnected"):
            assert len(lines(of)) == 1, caplog.messages
            assert re.search(rf"\({re.escape(address)}: {reason}", lines(of)[0]), lines(of)
        assert len(caplog.messages) == 4, caplog.messages
    await process.cache.__aexit__(None, None, None)


def _failed_more_often(process: Process, often: float) -> bool:
    return process.reads(CACHE_OPERATION_ERRORS, operation="connect") >= often


_TASKS: set[asyncio.Task[int | None]] = set()


def _used(process: Process) -> bool:
    """Keep it in use: an unused client does not notice."""
    task = asyncio.ensure_future(process.numbers.get("one", _load))
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
    return True


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM"),
        ("ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed", "OOM"),
        ("MISCONF Redis is configured to save RDB snapshots", "MISCONF"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", ""),
        ("ERR about LOADING in a key", ""),
    ],
)
def test_codes_are_few(text: str, code: str) -> None:
    error = StoreUnavailableError("error")
    error.__cause__ = ResponseError(text)
    assert refusal_of(error) == code
    assert refusal_of(ValueError(text)) == ""
