import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.cluster import RedisCluster as AsyncCluster
from redis.cluster import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.redis_groups import Cluster
from tests.servers import Redis
from tests.vitals.cache_probes.measured import (
    application,
    errors,
    label_values,
    lookups,
    operations,
)
from vitals import watch

pytestmark = pytest.mark.servers


@pytest.fixture
def client(redis_server: Redis) -> Iterator[Any]:
    with redis.Redis.from_url(redis_server.url) as made:
        yield made


def test_a_reply_of_none_is_a_miss(client: Any) -> None:
    app = application()
    watch(client, cache="shop")
    client.mset({"a": 1, "b": 2})
    client.hset("hash", mapping={"f": 1})
    assert client.get("a") == b"1"
    assert client.get("none") is None
    assert client.mget("a", "none", "b") == [b"1", None, b"2"]
    assert client.hget("hash", "f") == b"1"
    assert client.hget("hash", "g") is None
    assert client.hmget("hash", ["f", "g"]) == [b"1", None]
    assert client.hgetall("none") == {}
    assert client.getdel("b") == b"2"
    assert lookups(app, "shop") == {"hit": 6, "miss": 5}
    assert operations(app, "shop") == {
        "mset": 1,
        "hset": 1,
        "get": 2,
        "mget": 1,
        "hget": 2,
        "hmget": 1,
        "hgetall": 1,
        "getdel": 1,
    }


def test_a_pipeline_is_one_command_whose_lookups_count(client: Any) -> None:
    app = application()
    watch(client, cache="shop")
    with client.pipeline() as pipe:
        assert pipe.set("a", 1).get("a").get("none").execute() == [True, b"1", None]
        assert pipe.get("a").execute() == [b"1"], "used once more"
    assert client.pipeline(transaction=False).mget("a", "none").execute() == [[b"1", None]]
    assert lookups(app, "shop") == {"hit": 3, "miss": 2}
    assert operations(app, "shop") == {"pipeline": 3}


def test_a_transaction_counts_what_it_reads_between_watch_and_multi(client: Any) -> None:
    app = application()
    watch(client, cache="shop")

    def increment(pipe: Any) -> None:
        number = int(pipe.get("number") or 0)
        pipe.multi()
        pipe.set("number", number + 1)

    client.transaction(increment, "number")
    client.transaction(increment, "number")
    assert client.get("number") == b"2"
    assert lookups(app, "shop") == {"hit": 2, "miss": 1}


def test_errors_are_counted_and_raised_as_before(client: Any, redis_server: Redis) -> None:
    app = application()
    watch(client, cache="shop")
    client.lpush("list", 1)
    with pytest.raises(ResponseError):
        client.get("list")
    replies = client.pipeline(transaction=False).get("list").get("none").execute(False)
    assert isinstance(replies[0], ResponseError)
    redis_server.kill()
    for call in (
        lambda: client.get("a"),
        lambda: client.set("a", 1),
        client.pipeline().get("a").execute,
    ):
        with pytest.raises(RedisConnectionError):
            call()
    assert lookups(app, "shop") == {"error": 4, "miss": 1}
    assert errors(app, "shop") == {
        ("get", "ResponseError"): 1,
        ("get", "ConnectionError"): 1,
        ("set", "ConnectionError"): 1,
        ("pipeline", "ConnectionError"): 1,
    }


def test_an_async_client_counts_the_same(redis_server: Redis) -> None:
    app = application()

    async def run() -> None:
        async with redis.asyncio.Redis.from_url(redis_server.url) as opened:
            client: Any = opened
            assert watch(client, cache="shop") is client
            await client.set("a", 1)
            await asyncio.gather(*(client.get("a") for _ in range(50)))
            await client.get("none")
            async with client.pipeline() as pipe:
                assert await pipe.get("a").get("none").execute() == [b"1", None]
            async with client.lock("lock"):
                pass

    asyncio.run(run())
    assert lookups(app, "shop") == {"hit": 51, "miss": 2}
    assert operations(app, "shop")["get"] == 51


def test_a_hanging_server_is_an_error_and_a_cancelled_call_is_none(redis_server: Redis) -> None:
    app = application()

    async def run() -> None:
        client: Any = redis.asyncio.Redis.from_url(redis_server.url, socket_timeout=0.2)
        watch(client, cache="shop")
        await client.ping()
        redis_server.pause()
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get("a"), 0.05)
            with pytest.raises(RedisTimeoutError):
                await client.execute_command("GET", "a")
        finally:
            redis_server.resume()
            await client.aclose()

    asyncio.run(run())
    assert lookups(app, "shop") == {"error": 1}
    assert errors(app, "shop") == {("get", "CancelledError"): 1, ("get", "TimeoutError"): 1}


def test_namespaces_are_told_apart_by_prefix_and_no_key_is_a_label(client: Any) -> None:
    app = application()
    names = {"session:": "sessions", "session:admin:": "admins"}
    watch(client, cache="rest", namespaces=names)
    client.set("session:k3y", 1)
    client.get("session:k3y")
    client.get(b"session:k3y")
    client.get("session:admin:k3y")
    client.mget("session:k3y", "k3y")
    client.execute_command("GET k3y")
    with pytest.raises(ResponseError):
        client.execute_command("GETk", "k3y")
    with pytest.raises(ResponseError):
        client.execute_command("K3Y")
    assert lookups(app, "sessions") == {"hit": 3}
    assert lookups(app, "admins") == {"miss": 1}
    assert lookups(app, "rest") == {"miss": 1}
    assert operations(app, "rest") == {"get": 1, "__other__": 2}
    assert "k3y" not in label_values(app).lower()
    assert "getk" not in label_values(app)


def test_commands_that_redis_knows_have_names_of_their_own(client: Any) -> None:
    app = application()
    watch(client, cache="shop")
    client.pfadd("visitors", 1)
    client.config_get("maxmemory")
    client.execute_command(b"pfcount", "visitors")
    assert operations(app, "shop") == {"pfadd": 1, "config": 1, "pfcount": 1}


def test_only_the_watched_client_is_measured(client: Any, redis_server: Redis) -> None:
    app = application()
    watch(watch(client, cache="shop"), cache="shop")
    with redis.Redis.from_url(redis_server.url) as other:
        other.get("a")
    assert lookups(app, "shop") == {}
    client.get("a")
    assert lookups(app, "shop") == {"miss": 1}
    assert isinstance(client, redis.Redis)
    assert "watch" not in redis.Redis.execute_command.__qualname__


def test_a_client_that_a_measured_one_makes_is_measured_once_it_is_watched(client: Any) -> None:
    app = application()
    watch(client, cache="shop")
    with client.client() as own:
        own.get("a")
        assert lookups(app, "shop") == {}
        watch(own, cache="own")
        own.get("a")
    assert lookups(app, "own") == {"miss": 1}


def test_a_client_and_its_pipelines_are_freed_at_once(redis_server: Redis) -> None:
    application()
    client: Any = watch(redis.Redis.from_url(redis_server.url), cache="shop")
    pipe = client.pipeline()
    pipe.get("a").execute()
    freed: list[weakref.ref[Any]] = [weakref.ref(pipe), weakref.ref(client)]
    gc.disable()
    try:
        del pipe, client
        assert [each() for each in freed] == [None, None]
    finally:
        gc.enable()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    started = Cluster()
    yield started
    started.close()


def test_a_cluster_is_measured(cluster: Cluster) -> None:
    cluster.flush()
    app = application()
    client: Any = RedisCluster.from_url(f"redis://127.0.0.1:{cluster.port}")
    watch(client, cache="shop", namespaces={"user:": "users"})
    for number in range(20):
        client.set(f"user:{number}", number)
    assert client.mget_nonatomic([f"user:{number}" for number in range(25)])
    pipe = client.pipeline()
    assert pipe.get("user:1").get("none").execute() == [b"1", None]
    client.close()
    assert lookups(app, "users") == {"hit": 21, "miss": 5}
    assert lookups(app, "shop") == {"miss": 1}
    assert operations(app, "users")["set"] == 20


def test_an_async_cluster_is_measured(cluster: Cluster) -> None:
    cluster.flush()
    app = application()

    async def run() -> None:
        client: Any = AsyncCluster(host="127.0.0.1", port=cluster.port)
        watch(client, cache="shop")
        await client.set("a", 1)
        await client.get("a")
        async with client.pipeline() as pipe:
            assert await pipe.get("a").get("none").execute() == [b"1", None]
        await client.aclose()

    asyncio.run(run())
    assert lookups(app, "shop") == {"hit": 2, "miss": 1}
    assert operations(app, "shop") == {"set": 1, "get": 1, "pipeline": 1}
