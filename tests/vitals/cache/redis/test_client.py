"""Redis connections: refusals, protocol errors, commands that cannot be encoded."""

import asyncio
from collections.abc import Iterator

import pytest
from redis import Redis as Client

from tests.servers import Redis
from tests.vitals.cache.caches import DEADLINE_SECONDS, LONG_TIMEOUT, PRODUCTION_TIMEOUT, Process
from vitals.cache.core.store import StoreUnavailableError
from vitals.cache.redis.client import connect_redis
from vitals.metrics.catalogue import CACHE_BUS_CONNECTED

pytestmark = pytest.mark.anyio


@pytest.fixture
def restricted(redis_server: Redis) -> Iterator[str]:
    """The URL of a user without permission for INFO."""
    rules = {"categories": ["+@all"], "commands": ["-info"], "keys": ["*"], "channels": ["*"]}
    with Client.from_url(redis_server.url) as client:
        client.acl_setuser("shop", enabled=True, passwords=["+made-up"], **rules)
        yield redis_server.url.replace("//", "//shop:made-up@")
        client.acl_deluser("shop")


@pytest.mark.servers
async def test_subscription_works_without_info_permission(restricted: str) -> None:
    process = Process(restricted, LONG_TIMEOUT, l1_ttl=10)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await process.cache.start()
    assert process.reads(CACHE_BUS_CONNECTED) == 1
    await process.cache.close()


async def test_unavailable_cluster_does_not_block_startup() -> None:
    process = Process("redis+cluster://127.0.0.1:1", PRODUCTION_TIMEOUT, l1_ttl=10)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await process.cache.start()
    assert process.reads(CACHE_BUS_CONNECTED) == 0
    await process.cache.close()


@pytest.mark.servers
async def test_unencodable_command_raises_and_keeps_connection(redis_server: Redis) -> None:
    client = connect_redis(redis_server.url, None, LONG_TIMEOUT)
    with pytest.raises(UnicodeEncodeError):
        await client.send("GET", "\ud800")
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await client.send("ECHO", "mine") == b"mine"
    await client.close()


async def test_protocol_error_opens_the_circuit() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"$14\r\nrun_id:strange\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    client = connect_redis(f"redis://{host}:{port}", None, LONG_TIMEOUT)
    async with asyncio.timeout(LONG_TIMEOUT / 2):
        for result in ("error", "bypass"):
            with pytest.raises(StoreUnavailableError) as raised:
                await client.send("PING")
            assert raised.value.result == result
    await client.close()
    server.close()


async def test_server_that_accepts_and_closes_is_retried_with_backoff() -> None:
    """Accept and close, as a Redis at maxclients or a proxy without a server does."""
    opened = 0

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        for answer in (b"+PONG\r\n", b"-NOPERM no\r\n-NOPERM no\r\n"):
            await reader.read(1000)
            writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    changes: list[bool] = []
    client = connect_redis(f"redis://127.0.0.1:{port}", None, PRODUCTION_TIMEOUT, changes.append)
    loop = asyncio.get_running_loop()
    turned_away, started = 0, loop.time()
    while loop.time() < started + 1.5:
        with pytest.raises(StoreUnavailableError) as raised:
            await client.send("PING")
        turned_away += raised.value.result == "bypass"
        await asyncio.sleep(0.01)
    await client.close()
    server.close()
    assert opened <= 12  # backoff from 0.05 to 1 s, doubling
    assert turned_away > opened
    assert changes[0] is False


@pytest.mark.servers
async def test_requests_end_when_the_client_closes(redis_server: Redis) -> None:
    client = connect_redis(redis_server.url, None, LONG_TIMEOUT)
    asked = asyncio.ensure_future(client.send("PING"))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(StoreUnavailableError):
        await asked
    with pytest.raises(StoreUnavailableError):
        await client.send("PING")
