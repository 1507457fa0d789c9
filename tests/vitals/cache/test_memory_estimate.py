"""Memory estimate of one Redis, and of each master of a cluster."""

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from redis import Redis as Client

from tests.redis_groups import Cluster
from tests.servers import Redis
from tests.vitals.cache.caches import Process, Source
from vitals.cache import __main__ as command
from vitals.cache import memory_estimate

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

KEYS = 300
Run = Callable[..., int]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    started = Cluster()
    yield started
    started.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["cache", "estimate", *arguments])
        return command.main()

    return run


async def fill(url: str, count: int = KEYS) -> None:
    process, source = Process(url), Source()
    for key in range(count):
        await process.numbers.get(str(key), source.load)
    await process.cache.close()


@pytest.fixture
async def filled(redis_server: Redis, anyio_backend: str) -> AsyncIterator[Any]:
    await fill(redis_server.url)
    with Client.from_url(redis_server.url) as client:
        yield client


async def test_memory_is_estimated_from_stored_values(
    filled: Any, redis_server: Redis, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    found = memory_estimate.measure(filled, {"number": 1_000_000})
    assert 150 < found.shares["number"].bytes_each < 500
    assert 150e6 < found.total < 650e6

    assert run("--redis-url", redis_server.url) == 0
    assert f" {KEYS} " in capsys.readouterr().out
    assert run("--redis-url", redis_server.url, "--keys", "number=10000000") == 1
    assert "volatile-lfu" in capsys.readouterr().out
    assert run("--redis-url", redis_server.url, "--keys", "unheard=1") == 1
    assert "unheard" in capsys.readouterr().out


async def test_keys_beyond_the_sample_are_extrapolated(
    filled: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_estimate, "MAX_SCANNED_KEYS", 50)
    # SCAN may return a key twice, and Redis also holds keys that are no values.
    assert KEYS * 0.85 < memory_estimate.measure(filled, {}).shares["number"].keys < KEYS * 1.15


async def test_planned_cluster_is_estimated_by_slots(
    filled: Any, cluster: Cluster, redis_server: Redis, run: Run, capsys: Any
) -> None:
    each = memory_estimate.spread(filled, {}, 3)
    counts = [one.shares["number"].keys for one in each]
    by_slot = [0, 0, 0]
    for key in range(KEYS):
        slot = cluster.clients[0].execute_command("CLUSTER KEYSLOT", f"v2:{{number:{key}}}")
        by_slot[slot * 3 // 16384] += 1
    assert counts == by_slot

    assert run("--redis-url", redis_server.url, "--masters", "3", "--keys", "number=3000000") == 0
    said = capsys.readouterr().out
    assert said.count(" 1,000,000 ") == 3
    whole = memory_estimate.measure(filled, {"number": 3_000_000}).total / 2**20
    needs = [int(mib) for mib in re.findall(r"needed: maxmemory (\d+)mb", said)]
    assert len(needs) == 3
    assert all(whole / 3 <= need <= whole / 3 + 1 for need in needs)


async def test_cluster_is_estimated_by_master(
    cluster: Cluster, run: Run, capsys: pytest.CaptureFixture[str], anyio_backend: str
) -> None:
    cluster.flush()
    url = f"redis+cluster://127.0.0.1:{cluster.port},127.0.0.1:{cluster.nodes[1].port}"
    assert run("--redis-url", url) == 1
    assert "no cached values" in capsys.readouterr().out
    await fill(url)

    assert run("--redis-url", url) == 0
    said = capsys.readouterr().out
    held = [len(client.keys("v2:{number:*}")) for client in cluster.clients]
    for node, count in zip(cluster.nodes, held, strict=True):
        assert re.search(rf"127\.0\.0\.1:{node.port}\nnamespace .*\nnumber +{count} ", said), said
    assert sum(held) == KEYS

    assert run("--redis-url", url, "--keys", "number=3000000") == 1  # 64 MB each hold less
    said = capsys.readouterr().out
    counts = [int(n.replace(",", "")) for n in re.findall(r"number +([\d,]+)", said)]
    assert sum(counts) in range(3_000_000, 3_000_003)
    assert max(counts) - min(counts) < 300


@pytest.mark.parametrize(
    "url", ["", "http://localhost", "redis+sentinel://localhost/name", "redis://127.0.0.1:1/0"]
)
async def test_estimate_reports_unavailable_redis(
    url: str, run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    assert run("--redis-url", url) == 1
    assert "edis" in capsys.readouterr().err
