"""The reader of Redis, against a real server: truth, bounds, the slow log, replication."""

import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from stack import readiness
from stack.readings.exposition import registry_of
from stack.redis_reader.reader import Reader
from stack.redis_reader.server import COMMANDS, ERRORS
from stack.redis_reader.slow_log import NEWEST, SlowLog
from stack.servers import redis
from tests import servers
from vitals.metrics.catalogue import OTHER

pytestmark = pytest.mark.servers

Values = dict[str, list[tuple[dict[str, str], float]]]
_PASSWORD = "made-up-for-tests"


class Reading:
    """A reader whose readings a test asks for."""

    def __init__(self, url: str, password: str | None = None) -> None:
        self.lines: list[str] = []
        self.reader = Reader(url, password, self.lines.append)
        self._registry: CollectorRegistry = registry_of(self.reader, {})

    async def read(self) -> Values:
        """Read, and what a scrape then has, by the metric's name."""
        await self.reader.read()
        found: Values = {}
        for family in text_string_to_metric_families(generate_latest(self._registry).decode()):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    async def until(self, condition: Callable[[Values], bool]) -> Values:
        """Read until a condition holds."""
        deadline = time.monotonic() + 30
        while not condition(values := await self.read()):
            assert time.monotonic() < deadline, values
        return values


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Redis]:
    """A server with the reader's user."""
    started = servers.Redis(more=[redis.monitor(_PASSWORD)])
    yield started
    started.close()


@pytest.fixture
async def client(server: servers.Redis) -> AsyncIterator[Redis]:
    """A client of its default user."""
    connected = Redis.from_url(server.url, client_name="shop")
    await connected.flushall()
    await connected.config_resetstat()
    yield connected
    await connected.aclose()


def _reading(server: servers.Redis) -> Reading:
    return Reading(f"redis://{redis.MONITOR}@{readiness.LOOPBACK}:{server.port}", _PASSWORD)


def _value(values: Values, name: str, **labels: str) -> float:
    [found] = [v for own, v in values[name] if labels.items() <= own.items()]
    return found


def _told(server: servers.Redis, *command: str) -> dict[str, str]:
    """What redis-cli says."""
    arguments = ["redis-cli", "-p", str(server.port), *command]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=10)
    return dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)


@pytest.mark.anyio
async def test_figures_are_those_of_redis_cli(server: servers.Redis, client: Redis) -> None:
    reading = _reading(server)
    before, told_before = await reading.read(), _told(server, "info", "everything")
    await client.set("a", "value", px=1)
    for number in range(20):
        await client.set(f"key-{number}", "x" * 1000, ex=600 if number % 2 else None)
    for number in range(30):
        await client.get(f"key-{number}")
    while await client.get("a"):  # until it is expired
        pass
    values = await reading.until(lambda found: _value(found, "redis_server_expired_keys_total") > 0)
    told = _told(server, "info", "everything")
    for name, key in {
        "redis_server_hits_total": "keyspace_hits",
        "redis_server_misses_total": "keyspace_misses",
        "redis_server_expired_keys_total": "expired_keys",
        "redis_server_evicted_keys_total": "evicted_keys",
        "redis_server_rejected_connections_total": "rejected_connections",
    }.items():
        rise = _value(values, name) - _value(before, name)
        assert rise == int(told[key]) - int(told_before[key]), key
    for name, key in {
        "redis_server_memory_limit_bytes": "maxmemory",
        "redis_server_clients_limit": "maxclients",
        "redis_server_blocked_clients": "blocked_clients",
        "redis_server_unsaved_changes": "rdb_changes_since_last_save",
        "redis_server_replicas": "connected_slaves",
    }.items():
        assert _value(values, name) == int(told[key]), key
    assert _value(values, "redis_server_clients") == int(told["connected_clients"]) - 1  # redis-cli
    used = int(told["used_memory"])
    assert _value(values, "redis_server_memory_bytes") == pytest.approx(used, rel=0.05)
    assert "keys=20,expires=10" in told["db0"]
    assert _value(values, "redis_server_keys", db_namespace="0") == 20
    assert _value(values, "redis_server_expiring_keys", db_namespace="0") == 10
    sets = _value(values, "redis_server_command_calls_total", command="set")
    assert sets == 21
    assert f"calls={sets:.0f}," in told["cmdstat_set"]
    assert _value(values, "redis_server_info", version=told["redis_version"], role="primary") == 1
    assert _value(values, "redis_server_save_ok") == 1
    assert "redis_server_save_time_seconds" not in values  # there was none
    assert "redis_server_aof_ok" not in values
    assert 0 < _value(values, "redis_server_ping_seconds") < 30
    assert {value for _, value in values["redis_server_part_read"]} == {1}
    await reading.reader.close()


@pytest.mark.anyio
async def test_the_slow_log_names_commands_and_no_key_and_no_value(
    server: servers.Redis, client: Redis
) -> None:
    reading = _reading(server)
    await reading.read()
    await client.config_set("slowlog-log-slower-than", 0)
    await client.hset("user:secret-4711", mapping={"token": "hidden-word", "name": "x"})
    await client.mget([f"secret-key-{number}" for number in range(50)])
    values = await reading.read()
    text = str(values)
    assert "secret" not in text
    assert "hidden-word" not in text
    [mget] = [
        own for own, _ in values["redis_server_slow_command_seconds"] if own["command"] == "mget"
    ]
    assert (mget["arguments"], mget["client"]) == ("10 to 99", "shop")
    assert _value(values, "redis_server_slow_commands_total", command="hset") == 1
    for number in range(NEWEST + 50):  # more than the server keeps
        await client.get(f"key-{number}")
    values = await reading.read()
    counted = sum(value for _, value in values["redis_server_slow_commands_total"])
    [newest] = await client.slowlog_get(1)
    await client.config_set("slowlog-log-slower-than", -1)
    assert counted >= NEWEST + 50
    assert counted <= newest["id"]
    assert _value(values, "redis_server_slow_commands_total", command=OTHER) > 0
    await reading.reader.close()


@pytest.mark.anyio
async def test_series_are_bounded_whatever_clients_send(
    server: servers.Redis, client: Redis
) -> None:
    reading = _reading(server)
    await reading.read()
    for name in await client.acl_cat("hash"):
        for number in range(4):
            with suppress(ResponseError):
                await client.execute_command(name, *["1"] * number)  # type: ignore[no-untyped-call]
    script = "return redis.error_reply(ARGV[1])"
    for number in range(2 * ERRORS):
        with pytest.raises(ResponseError, match="boom"):
            await client.eval(script, 0, f"CUSTOM{number} boom")
    values = await reading.read()
    errors = [own["error"] for own, _ in values["redis_server_errors_total"]]
    assert len(errors) == ERRORS + 1
    assert OTHER in errors
    assert sum(value for _, value in values["redis_server_errors_total"]) >= 2 * ERRORS
    assert len(values["redis_server_command_calls_total"]) <= COMMANDS + 1
    await reading.reader.close()


@pytest.mark.anyio
async def test_the_readers_user_may_read_no_key_and_no_password(server: servers.Redis) -> None:
    async with Redis.from_url(server.url, username=redis.MONITOR, password=_PASSWORD) as monitor:
        for command in ("GET a", "CONFIG GET requirepass", "FLUSHALL", "KEYS *"):
            with pytest.raises(NoPermissionError):
                await monitor.execute_command(*command.split())  # type: ignore[no-untyped-call]


@pytest.mark.anyio
async def test_a_server_that_is_down_is_down_and_one_that_returns_is_read() -> None:
    server = servers.Redis()
    reading = Reading(server.url)
    try:
        assert _value(await reading.read(), "redis_server_up") == 1
        server.kill()
        values = await reading.read()
        assert _value(values, "redis_server_read_failures_total", part="connect") == 1
        assert reading.lines
        server.start()
        values = await reading.read()
        assert _value(values, "redis_server_read_failures_total", part="connect") == 1
        assert "again" in reading.lines[-1]
    finally:
        await reading.reader.close()
        server.close()


@pytest.mark.anyio
async def test_nothing_is_known_of_a_server_that_never_answered() -> None:
    reading = Reading("redis://nobody:hidden-word@127.0.0.1:1")
    values = await reading.read()
    await reading.reader.close()
    known = {name for name in values if name.startswith("redis_server_")}
    assert known == {"redis_server_up", "redis_server_read_failures_total"}
    assert _value(values, "redis_server_up") == 0
    assert "hidden-word" not in "".join(reading.lines)


@pytest.mark.anyio
async def test_a_replica_is_seen_from_both_sides(server: servers.Redis, client: Redis) -> None:
    replica = servers.Redis(more=[f"replicaof {readiness.LOOPBACK} {server.port}"])
    primary, second = _reading(server), Reading(replica.url)
    name = f"{readiness.LOOPBACK}:{replica.port}"
    try:
        values = await primary.until(lambda found: "redis_server_replica_lag_seconds" in found)
        assert _value(values, "redis_server_replicas") == 1
        assert _value(values, "redis_server_replica_lag_bytes", replica=name) >= 0
        values = await second.until(lambda found: bool(_value(found, "redis_server_link_up")))
        assert _value(values, "redis_server_info", role="replica") == 1
        replica.pause()
        await client.set("big", "x" * 100_000)
        values = await primary.read()
        assert _value(values, "redis_server_replica_lag_bytes", replica=name) >= 100_000
        replica.resume()
        values = await primary.until(
            lambda found: _value(found, "redis_server_replica_lag_bytes", replica=name) < 100_000
        )
    finally:
        await primary.reader.close()
        await second.reader.close()
        replica.close()


@pytest.mark.anyio
async def test_a_save_that_fails_is_told() -> None:
    server = servers.Redis(more=["appendonly yes", "rdbcompression no"])
    reading = Reading(server.url)
    async with Redis.from_url(server.url) as client:
        await client.bgsave()
        values = await reading.until(lambda found: "redis_server_save_time_seconds" in found)
        saved = _value(values, "redis_server_save_time_seconds")
        assert saved == int(_told(server, "info", "persistence")["rdb_last_save_time"])
        assert _value(values, "redis_server_aof_ok") == 1
        assert _value(values, "redis_server_aof_bytes") >= 0
        (server.folder / "dump.rdb").unlink()
        (server.folder / "dump.rdb").mkdir()  # where the file should be
        await client.bgsave()
        values = await reading.until(lambda found: not _value(found, "redis_server_save_ok"))
        assert _value(values, "redis_server_save_time_seconds") == saved
    await reading.reader.close()
    server.close()


def test_entries_are_numbered_anew_after_a_restart() -> None:
    log = SlowLog()

    def read(*numbers: int) -> float:
        entries = [[number, 1000, 50, [b"GET", b"k"], b"", b""] for number in numbers]
        samples = log.read(entries, 1000.0)
        return sum(each.value for each in samples if each.metric.name.endswith("_total"))

    log.restarted("first")
    assert read(7, 6, 5) == 0  # what was before is no rise
    assert read(8) == 1
    assert log.missing([[8]]) == 0
    log.restarted("second")
    assert log.missing([[1]]) == 2
    assert read(1, 0) == 3


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "redis://", "127.0.0.1:6379"])
def test_a_url_that_is_none_of_redis_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="write redis://"):
        redis.check_url(url)


def test_a_url_with_a_password_is_refused_without_saying_it() -> None:
    with pytest.raises(ValueError, match="leave the password out") as refusal:
        redis.check_url("redis://shop:hidden-word@127.0.0.1:6379")
    assert "hidden-word" not in str(refusal.value)
