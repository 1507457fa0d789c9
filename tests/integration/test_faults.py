"""Each service crashes or hangs under load: no data are lost, and all recover by themselves."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import httpx
import pytest

from tests.api import PASSWORD, Api
from tests.conftest import Start
from tests.servers import Postgres, Redis, Server

pytestmark = [pytest.mark.anyio, pytest.mark.servers]

USERS, PRODUCTS = 5, 40
TIMEOUT = 40.0
"""Seconds until a wait in a test fails."""
ENOUGH = 10
"""Number of orders that show that buying works."""
CATALOGUE = ("/api/products?limit=10", "/api/products/1", "/api/categories")
REPORT = "/api/reports/best-sellers?days={days}"


class Load:
    """Load by customers, readers and a scraper, with all responses of the API.

    Attributes:
        placed: Order ids by idempotency key, as acknowledged with 201.
        statuses: Number of responses by kind of request and status; 0 for no response.
        wrong: Responses that must not occur.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._ending = False
        self.placed: dict[str, int] = {}
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []

    async def request(
        self, kind: str, method: str, path: str, **more: Any
    ) -> httpx.Response | None:
        try:
            response = await self._client.request(method, path, **more)
        except httpx.TransportError:
            self.statuses[kind, 0] += 1
            return None
        self.statuses[kind, response.status_code] += 1
        is_problem = response.headers["content-type"] == "application/problem+json"
        if response.status_code != (503 if is_problem else 201 if kind == "order" else 200):
            self.wrong.append(f"{kind} {path}: {response.status_code} {response.text[:300]}")
        return response

    async def buy(self, headers: dict[str, str]) -> None:
        """Place orders; retry each with the same key until it is acknowledged."""
        for number in cycle(range(1, PRODUCTS + 1)):
            if self._ending:
                return
            key = str(uuid.uuid4())
            order = {"items": [{"product_id": number, "quantity": 1}]}
            while key not in self.placed:
                response = await self.request(
                    "order", "POST", "/api/orders", json=order,
                    headers=headers | {"Idempotency-Key": key},
                )  # fmt: skip
                if response is not None and response.status_code == 201:
                    self.placed[key] = response.json()["id"]
                else:
                    await asyncio.sleep(0.05)

    async def browse(self) -> None:
        """Read cached content, and reports that are not cached."""
        for days, path in enumerate(cycle((*CATALOGUE, REPORT))):
            if self._ending:
                return
            await self.request("read", "GET", path.format(days=days % 365 + 1))
            await asyncio.sleep(0.02)

    async def scrape(self) -> None:
        """Read the metrics as Prometheus does."""
        while not self._ending:
            await self.request("metrics", "GET", "/metrics")
            await asyncio.sleep(0.1)

    async def more(self, kind: str, status: int, count: int = ENOUGH) -> None:
        """Wait until this many more requests of a kind got this status."""
        before = self.statuses[kind, status]
        await until(lambda: self.statuses[kind, status] >= before + count, f"{kind}: {status}")

    def end(self) -> None:
        """Let all tasks finish what they have begun."""
        self._ending = True


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"timed out: {what}"
        await asyncio.sleep(0.02)


async def readiness(client: httpx.AsyncClient) -> str:
    response = await client.get("/readyz")
    return str(response.json().get("status"))


async def ready(client: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + TIMEOUT
    while await readiness(client) != "ok":
        assert time.monotonic() < deadline, "timed out: /readyz"
        await asyncio.sleep(0.1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def database(postgres_session: Postgres) -> str:
    postgres_session.start()
    url = postgres_session.database()
    # The test server acknowledges unwritten commits by default; this test needs durability.
    name = url.rpartition("/")[2]
    postgres_session.sql(f'ALTER DATABASE "{name}" SET synchronous_commit = on')
    return url


@pytest.fixture(scope="module")
def api(database: str, redis_session: Redis) -> Iterator[Api]:
    redis_session.start()
    process = Api({"SERVICE_DATABASE_URL": database, "SERVICE_REDIS_URL": redis_session.url})
    process.stock(users=USERS, products=PRODUCTS)
    process.start()
    yield process
    process.close()


@pytest.fixture
async def client(api: Api, anyio_backend: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.url, timeout=20, trust_env=False) as made:
        yield made


@asynccontextmanager
async def load(client: httpx.AsyncClient, postgres: Postgres, url: str) -> AsyncIterator[Load]:
    """Run load during the block; then the database must have exactly the acknowledged orders."""
    running = Load(client)
    buyers = []
    for number in range(1, USERS + 1):
        form = {"email": f"user{number}@example.com", "password": PASSWORD}
        token = (await client.post("/api/users/login", json=form)).json()["access_token"]
        buyers.append({"Authorization": f"Bearer {token}"})
    before = stock(postgres, url)
    tasks = [asyncio.create_task(running.buy(headers)) for headers in buyers]
    tasks += [asyncio.create_task(running.browse()) for _ in range(2)]
    tasks.append(asyncio.create_task(running.scrape()))
    try:
        await running.more("order", 201)
        yield running
        await ready(client)
        await running.more("order", 201)
    finally:
        running.end()
        await asyncio.wait(tasks, timeout=TIMEOUT)
        for task in tasks:
            task.cancel()
    await asyncio.gather(*tasks)

    assert running.wrong == []
    stored = rows(postgres, url, "SELECT idempotency_key, id FROM orders")
    found = [(key, int(order)) for key, order in stored if key in running.placed]
    assert sorted(found) == sorted(running.placed.items())
    assert before - stock(postgres, url) == len(running.placed)


def rows(postgres: Postgres, url: str, query: str) -> list[list[str]]:
    output = postgres.sql(query, database=url.rpartition("/")[2])
    return [line.split("|") for line in output.splitlines() if line]


def stock(postgres: Postgres, url: str) -> int:
    return int(rows(postgres, url, "SELECT sum(stock) FROM products")[0][0])


async def kill(server: Server) -> None:
    await asyncio.to_thread(server.kill)


async def start(server: Server) -> None:
    await asyncio.to_thread(server.start)


async def test_without_the_database_the_api_responds_503_and_recovers(
    client: httpx.AsyncClient, database: str, postgres: Postgres
) -> None:
    async with load(client, postgres, database) as traffic:
        await kill(postgres)
        await traffic.more("order", 503)
        await traffic.more("metrics", 200, 5)
        await traffic.more("read", 200, 5)  # from the cache
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert response.json()["database"] == "unavailable"
        await start(postgres)


@pytest.mark.parametrize("fault", ["kill", "pause"])
async def test_without_redis_the_api_works_uncached(
    client: httpx.AsyncClient,
    database: str,
    postgres: Postgres,
    redis_server: Redis,
    fault: str,
) -> None:
    async with load(client, postgres, database) as traffic:
        await asyncio.to_thread(getattr(redis_server, fault))
        await traffic.more("order", 201)
        await traffic.more("read", 200)
        await traffic.more("metrics", 200, 5)
        assert await readiness(client) == "degraded"
        redis_server.resume()
        await start(redis_server)

    assert not {kind for kind, status in traffic.statuses if status == 503}


async def test_prometheus_recovers_after_a_crash(
    client: httpx.AsyncClient,
    api: Api,
    database: str,
    postgres: Postgres,
    prometheus_server: Start,
) -> None:
    scrape = {"job_name": "api", "static_configs": [{"targets": [f"127.0.0.1:{api.port}"]}]}
    prometheus = prometheus_server(
        {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}
    )

    async def samples() -> float:
        query = {"query": 'sum(count_over_time(up{job="api"}[1h])) * min(up{job="api"})'}
        async with httpx.AsyncClient(base_url=prometheus.url, trust_env=False) as http:
            found = (await http.get("/api/v1/query", params=query)).json()["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    async def scraped(count: float) -> None:
        deadline = time.monotonic() + TIMEOUT
        while await samples() < count:
            assert time.monotonic() < deadline, "Prometheus does not see the API"
            await asyncio.sleep(0.2)

    async with load(client, postgres, database) as traffic:
        await scraped(2)
        await kill(prometheus)
        await traffic.more("order", 201)
        await traffic.more("metrics", 200, 5)
        await start(prometheus)
        await scraped(4)

    assert {status for _, status in traffic.statuses} == {200, 201}


async def test_a_crash_of_the_api_neither_loses_nor_duplicates_orders(
    client: httpx.AsyncClient, api: Api, database: str, postgres: Postgres
) -> None:
    async with load(client, postgres, database) as traffic:
        await kill(api)
        await traffic.more("order", 0)
        await start(api)
