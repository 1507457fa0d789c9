"""Redis over TLS: the cache works with a trusted server, and bypasses an untrusted one."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from stack import readiness
from tests.certificates import Authority
from tests.proxy import Fault, Proxy
from tests.redis_groups import Cluster
from tests.servers import Redis, temporary_folder
from tests.vitals.cache.caches import (
    CONNECTIONS,
    DEADLINE_SECONDS,
    PRODUCTION_TIMEOUT,
    Process,
    Source,
)
from vitals.cache import __main__ as command
from vitals.cache.cache import Cache
from vitals.cache.redis.url import RedisUrl
from vitals.metrics.catalogue import CACHE_BREAKER_OPEN, CACHE_BUS_CONNECTED, CACHE_REQUESTS

pytestmark = [pytest.mark.anyio, pytest.mark.servers]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = temporary_folder()
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


def spoken(
    authority: Authority, certificate: tuple[Path, Path], *, asks: bool = False
) -> tuple[str, ...]:
    """TLS files of a server, and whether it requires a client certificate."""
    return (
        f"tls-cert-file {certificate[0]}",
        f"tls-key-file {certificate[1]}",
        f"tls-ca-cert-file {authority.file}",
        f"tls-auth-clients {'yes' if asks else 'no'}",
    )


class Tls:
    """A Redis with TLS on a port of its own."""

    def __init__(
        self, authority: Authority, certificate: tuple[Path, Path], *, asks: bool = False
    ) -> None:
        self.port = readiness.free_port()
        self.authority = authority
        self.server = Redis(
            more=(f"tls-port {self.port}", *spoken(authority, certificate, asks=asks))
        )

    def url(self, port: int = 0, **more: object) -> str:
        query = {"ssl_ca_certs": self.authority.file} | more
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return f"rediss://127.0.0.1:{port or self.port}/0?{text}"


@pytest.fixture(scope="module")
def tls(authority: Authority) -> Iterator[Tls]:
    standing = Tls(authority, authority.sign("redis"))
    yield standing
    standing.server.close()


@pytest.fixture
async def open_(anyio_backend: str) -> AsyncIterator[list[Process]]:
    """Processes that are closed after the test."""
    opened: list[Process] = []
    yield opened
    for process in opened:
        await process.cache.close()


async def does_without(process: Process, source: Source) -> None:
    """Check that values are still returned, all of them loaded."""
    for number in range(1, 6):
        assert await process.numbers.get("k", source.load) == 1
        assert source.loads == number
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not process.reads(CACHE_BREAKER_OPEN):
            await asyncio.sleep(0.01)
    assert not await process.cache.ping()


async def test_everything_works_over_tls(tls: Tls, source: Source, open_: list[Process]) -> None:
    tls.server.flush()
    open_ += [Process(tls.url(), l1_ttl=30) for _ in range(2)]
    one, other = open_
    for process in open_:
        await process.cache.start()
        assert process.reads(CACHE_BUS_CONNECTED) == 1
        for _ in range(2):
            assert await process.numbers.get("k", source.load) == 1
    assert source.loads == 1

    source.value = 2
    await one.numbers.invalidate("k")
    async with asyncio.timeout(DEADLINE_SECONDS):  # an L1 hit until the message arrives
        while await other.numbers.get("k", source.load) != 2:
            await asyncio.sleep(0.005)
    assert source.loads == 2
    assert one.reads(CACHE_REQUESTS, result="error") == 0


async def test_cluster_over_tls(
    authority: Authority,
    source: Source,
    open_: list[Process],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster = Cluster(tls=spoken(authority, authority.sign("node")))
    url = f"rediss+cluster://127.0.0.1:{cluster.port}?ssl_ca_certs={authority.file}"
    try:
        open_ += [Process(url, l1_ttl=30) for _ in range(2)]
        for process in open_:
            await process.cache.start()
            assert process.reads(CACHE_BUS_CONNECTED) == 1
            for key in range(30):
                assert await process.numbers.get(str(key), source.load) == 1
        assert source.loads == 30
        assert all(client.keys("v2:{number:*}") for client in cluster.clients)

        source.value = 2
        await open_[0].numbers.clear()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await open_[1].numbers.get("7", source.load) != 2:
                await asyncio.sleep(0.005)

        monkeypatch.setattr("sys.argv", ["cache", "estimate", "--redis-url", url])
        assert command.main() == 0
        said = capsys.readouterr().out
        assert all(f"127.0.0.1:{port}\n" in said for port in cluster.ports)
    finally:
        cluster.close()


async def test_large_reply_is_read_in_many_chunks(
    tls: Tls, open_: list[Process], anyio_backend: str
) -> None:
    tls.server.flush()
    open_ += [Process(tls.url()) for _ in range(2)]
    words = " ".join(str(number * 7919 % 1_000_003) for number in range(100_000))

    async def load() -> str:
        return words

    for process in open_:
        texts = process.cache.namespace("text", schema=str, ttl=60)
        found = await asyncio.gather(*(texts.get("k", load) for _ in range(10)))
        assert set(found) == {words}


WRONG = ["stranger", "other name", "expired", "no TLS there", "TLS there"]


@pytest.mark.parametrize("wrong", WRONG)
async def test_untrusted_redis_certificate_is_an_outage(
    *,
    wrong: str,
    tls: Tls,
    folder: Path,
    source: Source,
    open_: list[Process],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    servers: list[Tls] = []
    said = "certificate verify failed"
    if wrong == "stranger":
        url = tls.url(ssl_ca_certs=Authority(folder, "stranger").file)
    elif wrong in {"other name", "expired"}:
        name, subject, days = {
            "other name": ("elsewhere", "DNS:redis.example.com", 1),
            "expired": ("old", "IP:127.0.0.1", -1),
        }[wrong]
        servers = [Tls(tls.authority, tls.authority.sign(name, subject, days))]
        url = servers[0].url()
    elif wrong == "no TLS there":
        url, said = tls.url(port=tls.server.port), "Error"
    else:
        url, said = f"redis://127.0.0.1:{tls.port}/0", "Error"
    try:
        open_.append(Process(url, PRODUCTION_TIMEOUT))
        await open_[0].cache.start()
        await does_without(open_[0], source)
        assert said in caplog.text
    finally:
        for each in servers:
            each.server.close()


async def test_client_certificate_is_sent(
    authority: Authority, source: Source, open_: list[Process]
) -> None:
    asking = Tls(authority, authority.sign("asking"), asks=True)
    try:
        certificate, key = authority.sign("client", "DNS:api")
        open_ += [
            Process(asking.url(ssl_certfile=certificate, ssl_keyfile=key)),
            Process(asking.url(), PRODUCTION_TIMEOUT),
        ]
        for _ in range(2):
            assert await open_[0].numbers.get("k", source.load) == 1
        assert source.loads == 1
        source.loads = 0
        await does_without(open_[1], source)
    finally:
        asking.server.close()


async def test_redis_is_used_again_after_a_restart(
    tls: Tls, source: Source, open_: list[Process]
) -> None:
    tls.server.flush()
    open_.append(Process(tls.url(), PRODUCTION_TIMEOUT))
    assert await open_[0].numbers.get("k", source.load) == 1
    tls.server.kill()
    assert await open_[0].numbers.get("k", source.load) == 1
    tls.server.start()
    await open_[0].recovered()
    loads = source.loads
    for _ in range(3):
        assert await open_[0].numbers.get("k", source.load) == 1
    assert source.loads == loads + 1


async def test_certificate_verification_can_be_disabled(
    tls: Tls, folder: Path, source: Source, open_: list[Process]
) -> None:
    stranger = Authority(folder, "another stranger").file
    open_.append(Process(tls.url(ssl_ca_certs=stranger, ssl_cert_reqs="none")))
    for _ in range(2):
        await open_[0].numbers.get("k", source.load)
    assert await open_[0].cache.ping()


async def test_hostname_check_can_be_disabled_alone(
    authority: Authority, source: Source, open_: list[Process]
) -> None:
    server = Tls(authority, authority.sign("another", "DNS:redis.example.com"))
    try:
        open_.append(Process(server.url(ssl_check_hostname="false")))
        await open_[0].numbers.get("k", source.load)
        assert await open_[0].cache.ping()
    finally:
        server.server.close()


@pytest.mark.parametrize(
    ("fault", "measure"),
    [
        (Fault.DROP, {}),
        (Fault.HALF_OPEN, {}),
        (Fault.DELAY, {"seconds": 2.0}),
        (Fault.TRUNCATE, {"size": 3}),
        (Fault.RESPONSE_LOST, {}),
    ],
)
async def test_connection_faults_never_corrupt_values(
    *, tls: Tls, source: Source, open_: list[Process], fault: Fault, measure: dict[str, Any]
) -> None:
    tls.server.flush()
    async with Proxy.before(tls.port) as proxy:
        open_.append(Process(tls.url(port=proxy.port), PRODUCTION_TIMEOUT, l1_ttl=30))
        process = open_[0]
        await process.cache.start()
        assert await process.numbers.get("k", source.load) == 1
        proxy.inject(fault, **measure)
        for number in range(50):
            assert await process.numbers.get(f"{number}", source.load) == 1
        source.value = 2
        await process.numbers.invalidate("k")
        proxy.clear()
        await process.recovered()
        assert await process.numbers.get("k", source.load) == 2
        async with asyncio.timeout(DEADLINE_SECONDS):
            while proxy.open > CONNECTIONS:  # the subscriber's and the commands'
                await asyncio.sleep(0.02)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await process.cache.close()
            while proxy.open:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("missing", ["ssl_ca_certs", "ssl_certfile"])
def test_missing_tls_file_is_a_startup_error(missing: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.crt"):
        Cache(f"rediss://localhost/0?{missing}={tmp_path}/nothing.crt")


def test_invalid_certificate_file_is_a_startup_error(tmp_path: Path) -> None:
    (tmp_path / "odd.crt").write_text("no certificate")
    with pytest.raises(ValueError, match=r"odd\.crt"):
        Cache(f"rediss://localhost/0?ssl_ca_certs={tmp_path}/odd.crt")


@pytest.mark.parametrize("option", ["ssl_cert_reqs=nome", "ssl_verify=no"])
def test_misspelled_url_option_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match="ssl_"):
        RedisUrl.parse(f"rediss://localhost/0?{option}")
