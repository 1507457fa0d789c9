"""The cache on a real Redis Cluster, and on a master that Sentinel fails over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from redis import Redis as Client

from service.rate_limit import Policy, RateLimiter
from tests.proxy import Fault, Proxy
from tests.redis_groups import Cluster, SentinelGroup
from tests.servers import Redis
from tests.vitals.cache.caches import (
    DEADLINE_SECONDS,
    LONG_TIMEOUT,
    PRODUCTION_TIMEOUT,
    Numbers,
    Process,
    parity,
)
from vitals.cache import StoreUnavailableError, connect_redis
from vitals.metrics.catalogue import CACHE_REQUESTS

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

KEYS = [str(number) for number in range(30)]
Open = Callable[..., Process]


@pytest.fixture(scope="module")
def cluster_session() -> Iterator[Cluster]:
    started = Cluster()
    yield started
    started.close()


@pytest.fixture
def cluster(cluster_session: Cluster) -> Cluster:
    """Three masters, running and empty."""
    cluster_session.start()
    cluster_session.flush()
    return cluster_session


@pytest.fixture(scope="module")
def watched_session() -> Iterator[SentinelGroup]:
    started = SentinelGroup()
    yield started
    started.close()


@pytest.fixture
def watched(watched_session: SentinelGroup) -> SentinelGroup:
    """A master with its replica and a sentinel, running and empty."""
    watched_session.start()
    watched_session.flush()
    return watched_session


@asynccontextmanager
async def opening(url: str, servers: Iterable[Redis]) -> AsyncIterator[Open]:
    """Opens caches there; resumes the servers and closes the caches at the end."""
    opened: list[Process] = []

    def open_(timeout: float = LONG_TIMEOUT, l1_ttl: float = 0) -> Process:
        opened.append(Process(url, timeout, l1_ttl=l1_ttl))
        return opened[-1]

    yield open_
    for server in servers:
        server.resume()
    for process in opened:
        await process.cache.close()


@pytest.fixture
async def on_cluster(cluster: Cluster, anyio_backend: str) -> AsyncIterator[Open]:
    """Opens caches on the cluster."""
    async with opening(f"redis+cluster://127.0.0.1:{cluster.port}", cluster.nodes) as open_:
        yield open_


@pytest.fixture
async def on_watched(watched: SentinelGroup, anyio_backend: str) -> AsyncIterator[Open]:
    """Opens caches on the master that Sentinel names."""
    url = f"redis+sentinel://127.0.0.1:{watched.port}/vitals"
    async with opening(url, watched.servers) as open_:
        yield open_


async def read_all(numbers: Numbers, *processes: Process) -> None:
    for process in processes:
        await asyncio.gather(*(numbers.read(process, key) for key in KEYS))


async def hit_again(process: Process, numbers: Numbers, keys: list[str] = KEYS) -> None:
    """Read until all keys are hits in Redis; fail as soon as one read is wrong."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            before = process.reads(CACHE_REQUESTS, result="hit")
            await asyncio.gather(*(numbers.read(process, key) for key in keys))
            if process.reads(CACHE_REQUESTS, result="hit") == before + len(keys):
                return
            await asyncio.sleep(0.02)


async def test_all_cache_commands_stay_within_slots(cluster: Cluster, on_cluster: Open) -> None:
    one, other, numbers = on_cluster(), on_cluster(), Numbers()
    await read_all(numbers, one, other)
    loads = numbers.loads
    await read_all(numbers, one, other)
    assert numbers.loads == loads  # hits in both
    for key in KEYS[:10]:
        await numbers.write(one, key)
    await read_all(numbers, one, other)
    assert numbers.loads == loads + 10

    await numbers.write_tagged(one, [key for key in KEYS if parity(key) == "even"])
    await read_all(numbers, other, one)
    for key in KEYS:
        numbers.committed[key] += 1
    await one.numbers.clear()
    numbers.floor.update(numbers.committed)
    await read_all(numbers, other, one)

    for client in cluster.clients:
        assert client.dbsize() > 0
        assert "errorstat_CROSSSLOT" not in client.info("errorstats")


async def test_several_rate_limits_are_one_round_trip(cluster: Cluster) -> None:
    url = f"redis+cluster://127.0.0.1:{cluster.port}"
    one, two = RateLimiter.connect(url), RateLimiter.connect(url)
    kinds = Policy("one", 9, window=600), Policy("two", 9, window=600)
    for name in KEYS:
        assert (await one.take(*((kind, name) for kind in kinds))).remaining == 8
        assert (await two.take(*((kind, name) for kind in kinds))).remaining == 7, "counted alone"
    await one.close()
    await two.close()


async def test_moved_slots_are_followed(cluster: Cluster, on_cluster: Open) -> None:
    process, other, numbers = on_cluster(), on_cluster(), Numbers()
    await read_all(numbers, process)
    for turn, key in enumerate(KEYS):
        name = f"v2:{{number:{key}}}"
        cluster.move(name, (cluster.owner(name) + 1 + turn % 2) % 3)
        await numbers.write(process, KEYS[turn - 1])
        await read_all(numbers, other)
    await hit_again(process, numbers)


@pytest.mark.parametrize("trouble", ["kill", "pause"])
async def test_failed_node_affects_only_its_own_keys(
    cluster: Cluster, on_cluster: Open, trouble: str
) -> None:
    process, numbers = on_cluster(PRODUCTION_TIMEOUT), Numbers()
    await hit_again(process, numbers)
    # The generations of the namespace and its tags lie on the two others.
    assert cluster.owner("v2:{number}") != 0
    healthy = [key for key in KEYS if cluster.owner(f"v2:{{number:{key}}}") != 0]
    getattr(cluster.nodes[0], trouble)()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await read_all(numbers, process)
        await hit_again(process, numbers, healthy)
        for key in KEYS:
            await numbers.write(process, key)
        await read_all(numbers, process)
    cluster.start()
    await hit_again(process, numbers)


async def test_restored_generation_is_not_valid(cluster: Cluster, on_cluster: Open) -> None:
    name, numbers = "v2:{number}", Numbers()
    owner, writer = cluster.owner(name), on_cluster()
    await hit_again(writer, numbers)
    before = cluster.clients[owner].get(name)
    for key in KEYS:
        numbers.committed[key] += 1
    await writer.numbers.clear()
    numbers.floor.update(numbers.committed)

    cluster.nodes[owner].kill()
    cluster.start()
    cluster.clients[owner].set(name, before)  # as on a replica that missed the last one
    await read_all(numbers, on_cluster())


async def test_invalidations_of_every_node_are_received(cluster: Cluster, on_cluster: Open) -> None:
    writer, reader, numbers = on_cluster(), on_cluster(l1_ttl=60), Numbers()
    await reader.cache.start()
    await read_all(numbers, reader, reader)
    assert reader.reads(CACHE_REQUESTS, layer="l1", result="hit") > 0
    for key in KEYS:
        await numbers.write(writer, key)
    async with asyncio.timeout(DEADLINE_SECONDS):
        for key in KEYS:
            while await numbers.read_any(reader, key) != numbers.committed[key]:
                await asyncio.sleep(0.01)


async def test_a_master_that_dies_is_replaced(watched: SentinelGroup, on_watched: Open) -> None:
    process, other, numbers = (
        on_watched(PRODUCTION_TIMEOUT),
        on_watched(PRODUCTION_TIMEOUT),
        Numbers(),
    )
    await hit_again(process, numbers)
    before = watched.master
    before.kill()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while watched.master is before:
            await read_all(numbers, process)
            await numbers.write(process, KEYS[0])
            await asyncio.sleep(0.01)
    await hit_again(process, numbers)
    await hit_again(other, numbers)


async def test_promoted_replica_serves_no_stale_values(
    watched: SentinelGroup, on_watched: Open
) -> None:
    process, numbers = on_watched(PRODUCTION_TIMEOUT), Numbers()
    await hit_again(process, numbers)
    before = watched.master
    replica = next(server for server in watched.servers if server is not before)
    master, copy = (watched.clients[watched.servers.index(each)] for each in (before, replica))
    async with asyncio.timeout(DEADLINE_SECONDS):
        while copy.dbsize() < master.dbsize():
            await asyncio.sleep(0.01)
    replica.pause()
    master.client_kill_filter(_type="replica")  # else it would still receive the buffered data
    for key in KEYS:
        await numbers.write(process, key)  # the master applies it, the replica misses it
    before.kill()
    replica.resume()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while watched.master is before:
            await read_all(numbers, process)
            await asyncio.sleep(0.01)
    await hit_again(process, numbers)


async def test_frozen_sentinel_does_not_delay(watched: SentinelGroup) -> None:
    async with Proxy.before(watched.port) as proxy:
        proxy.inject(Fault.HALF_OPEN)
        hosts = f"127.0.0.1:{proxy.port},127.0.0.1:1,127.0.0.1:{watched.port}"
        process, numbers = (
            Process(f"redis+sentinel://{hosts}/vitals", PRODUCTION_TIMEOUT),
            Numbers(),
        )
        await hit_again(process, numbers)
        await process.cache.close()


PASSWORD, OTHER = "made-up-for-redis", "made-up-for-sentinels"


@contextmanager
def passwords(watched: SentinelGroup, servers: str, sentinel: str) -> Iterator[list[Any]]:
    """Set the passwords of Redis and of the Sentinel; gives clients of all three, logged in."""
    with Client(port=watched.port, decode_responses=True) as asked:
        for client, password in (*((each, servers) for each in watched.clients), (asked, sentinel)):
            if password:
                client.execute_command("ACL", "SETUSER", "default", "resetpass", f">{password}")
        try:
            yield [*watched.clients, asked]
        finally:
            for client in (*watched.clients, asked):
                client.execute_command("ACL", "SETUSER", "default", "nopass")
                client.execute_command("ACL", "LOG", "RESET")


@pytest.mark.parametrize(
    ("servers", "sentinel", "url"),
    [
        (PASSWORD, "", f"redis+sentinel://:{PASSWORD}@{{}}/vitals"),
        (PASSWORD, PASSWORD, f"redis+sentinel://:{PASSWORD}@{{}}/vitals"),
        (PASSWORD, OTHER, f"redis+sentinel://:{PASSWORD}@{{}}/vitals?sentinel_password={OTHER}"),
        ("", OTHER, f"redis+sentinel://{{}}/vitals?sentinel_password={OTHER}"),
    ],
    ids=["redis only", "both", "both, different", "sentinel only"],
)
async def test_passwords_of_redis_and_its_sentinels(
    watched: SentinelGroup, servers: str, sentinel: str, url: str
) -> None:
    with passwords(watched, servers, sentinel) as clients:
        process, numbers = Process(url.format(f"127.0.0.1:{watched.port}")), Numbers()
        await hit_again(process, numbers)
        await process.cache.close()
        refused = [client.acl_log() for client in clients]
    assert refused == [[], [], []], "a password was sent to who has another one, or none"


async def test_refused_login_at_the_sentinels_is_told(watched: SentinelGroup) -> None:
    reasons: list[str] = []
    url = f"redis+sentinel://:{PASSWORD}@127.0.0.1:{watched.port}/vitals"
    with passwords(watched, PASSWORD, OTHER):
        client = connect_redis(url, None, 0.5, failed=lambda reason: reasons.append(str(reason)))
        with pytest.raises(StoreUnavailableError):
            await client.send("PING")
        await client.close()
    assert "Sentinels of 'vitals' want another login" in reasons[0]
    assert "sentinel_password" in reasons[0]
    assert PASSWORD not in reasons[0]


async def test_unknown_sentinel_master_costs_only_loads(watched: SentinelGroup) -> None:
    url = f"redis+sentinel://127.0.0.1:{watched.port}/another"
    process, numbers = Process(url, PRODUCTION_TIMEOUT), Numbers()
    await read_all(numbers, process)
    assert not await process.cache.ping()
    await process.cache.close()
