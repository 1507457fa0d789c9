"""Figures of boards against outside witnesses: psql, redis-cli, the client's own counts and clock.

Faults are injected into real servers, and each board's own query is evaluated by a real Prometheus.
"""

import asyncio
import re
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress

import httpx
import pytest
from redis import Redis as Client

from alerts.__main__ import main as render
from stack.readiness import LOOPBACK
from tests import servers
from tests.api import Api
from tests.integration.boards import BOARDS, query
from tests.servers import Postgres, Redis

from dashboards.panels.data_states import TARGET_DOWN  # isort: skip
from dashboards.rendered_queries import CHOICES, fill_in, panels  # isort: skip

pytestmark = [pytest.mark.anyio, pytest.mark.servers, pytest.mark.timeout(300)]

TIMEOUT = 90.0
WINDOW = "20s"
"""The figures' window in this test: a fault of seconds fills it, as one of minutes fills five."""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class Watched:
    """The API with its database, its Redis and a Prometheus that scrapes it."""

    def __init__(self, postgres: Postgres, started: ExitStack) -> None:
        self.postgres = postgres
        self.database = postgres.database()
        self.name = self.database.rpartition("/")[2]
        self.redis = Redis()
        started.callback(self.redis.close)
        self.api = Api(
            {
                "SERVICE_DATABASE_URL": self.database,
                "SERVICE_REDIS_URL": self.redis.url,
                "SERVICE_RATE_LIMIT": "off",
            }
        )
        started.callback(self.api.close)
        self.api.stock(users=3, products=40, orders=20)
        self.api.start()
        folder = servers.temporary_folder()
        started.callback(shutil.rmtree, folder)
        render(["--fast", "--output", str(folder)])
        target = f"{LOOPBACK}:{self.api.port}"
        self.prometheus = servers.start_prometheus(
            {
                "global": {
                    "scrape_interval": "1s",
                    "scrape_timeout": "1s",
                    "evaluation_interval": "1s",
                },
                "rule_files": [f"{folder}/*.yml"],
                "scrape_configs": [
                    {"job_name": "api", "static_configs": [{"targets": [target]}]},
                ],
            }
        )
        started.callback(self.prometheus.close)
        self.statuses: Counter[int] = Counter()

    def figures(self, board: str, title: str, letter: int = 0) -> dict[str, float]:
        """What a panel shows now, by the labels of its series, without states."""
        found = query(self.prometheus.url, self.expression(board, title, letter))
        return {
            " ".join(value for _, value in sorted(each["metric"].items())): float(each["value"][1])
            for each in found
        }

    def state(self, board: str, title: str) -> float:
        """The number that stands for a tile's state, or its figure; NaN if it has several."""
        expr = self.expression(board, title, 0)
        response = httpx.get(f"{self.prometheus.url}/api/v1/query", params={"query": expr})
        found = [float(each["value"][1]) for each in response.json()["data"]["result"]]
        return found[0] if len(found) == 1 else float("nan")

    def expression(self, board: str, title: str, letter: int) -> str:
        """A panel's own query, its window shortened."""
        [panel] = [each for each in panels(BOARDS[board]) if each["title"] == title]
        expr = fill_in(panel["targets"][letter]["expr"], {**CHOICES, "__rate_interval": WINDOW})
        return expr.replace("[5m]", f"[{WINDOW}]").replace("[1m]", "[4s]")

    def count(self, board: str, title: str, letter: int = 0) -> float:
        """The counter whose rate a panel shows."""
        rate = self.expression(board, title, letter)
        counter = re.sub(rf"rate\((.*?)\[{WINDOW}\]\)", r"\1", rate)
        assert counter != rate
        found = query(self.prometheus.url, f"sum({counter})")
        return sum(float(each["value"][1]) for each in found)

    def sessions(self) -> int:
        """The API's sessions of its pool, as PostgreSQL has them: not those that listen."""
        return int(
            self.postgres.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND application_name = 'service' "
                "AND query NOT ILIKE 'listen%'",
                database=self.name,
            )
        )

    @asynccontextmanager
    async def traffic(self, *paths: str) -> AsyncIterator[None]:
        """Request paths, ten a second, and count the statuses."""
        over = asyncio.Event()

        async def send() -> None:
            async with httpx.AsyncClient(base_url=self.api.url, timeout=20) as client:
                for number in range(100_000):
                    if over.is_set():
                        return
                    path = paths[number % len(paths)].format(number=number)
                    with suppress(httpx.TransportError):
                        self.statuses[(await client.get(path)).status_code] += 1
                    await asyncio.sleep(0.1)

        task = asyncio.create_task(send())
        try:
            yield
        finally:
            over.set()
            await task


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"timed out: {what}"
        await asyncio.sleep(0.3)


@pytest.fixture(scope="module")
def watched(postgres_session: Postgres) -> Iterator[Watched]:
    postgres_session.start()
    with ExitStack() as started:
        yield Watched(postgres_session, started)


async def test_another_client_takes_all_slots_of_the_database(watched: Watched) -> None:
    """Fault 5: no query is sent, so none fails; and four sessions were shown that were gone."""
    async with watched.traffic("/api/products?text=figures-{number}"):
        await until(
            lambda: watched.figures("svc-db", "Connections by state").get("idle"), "connections"
        )
        end = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        watched.postgres.sql(f'ALTER DATABASE "{watched.name}" CONNECTION LIMIT 0')
        watched.postgres.sql(end, database=watched.name)
        try:

            def shown() -> dict[str, float]:
                return watched.figures("svc-db", "Connections by state")

            await until(lambda: shown() == {"idle": 0, "used": 0}, "no connection is shown")
            assert watched.sessions() == 0

            def refused() -> int:
                return watched.postgres.log.count("FATAL:  too many connections for database")

            watched.statuses.clear()
            counted = watched.count("svc-db", "Callers without a connection", 1)
            of_server, began = refused(), time.monotonic()
            await until(
                lambda: watched.statuses[503] >= 100 and time.monotonic() > began + 21, "refusals"
            )
            assert watched.statuses[503] == watched.statuses.total()
            [(labels, rate)] = watched.figures("svc-db", "Callers without a connection", 1).items()
            assert "TooManyConnectionsError" in labels
            counted = watched.count("svc-db", "Callers without a connection", 1) - counted
            of_server, seconds = refused() - of_server, time.monotonic() - began
            # Requests are not the only callers; and not all that PostgreSQL refused are the pool's.
            assert watched.statuses[503] * 0.95 - 12 <= counted <= of_server * 1.05 + 12
            assert rate == pytest.approx(counted / seconds, rel=0.15)  # the load varies
            assert watched.figures("svc-db", "Failed queries")[""] == pytest.approx(1, abs=0.05)
        finally:
            watched.postgres.sql(f'ALTER DATABASE "{watched.name}" CONNECTION LIMIT -1')
        await until(lambda: sum(shown().values()) == watched.sessions() > 0, "connections")


async def test_redis_is_full_and_may_not_evict(watched: Watched) -> None:
    """Fault 4: thousands of refused writes were shown as 0."""
    with Client(port=watched.redis.port) as admin:

        def refused() -> int:
            return int(admin.info("errorstats").get("errorstat_OOM", {}).get("count", 0))

        admin.config_set("maxmemory-policy", "noeviction")
        admin.config_set("maxmemory", "1")
        async with watched.traffic("/api/products/{number}"):
            await until(lambda: refused() >= 20, "refusals")
            shown = "sum(" + watched.expression("svc-cache", "Refused commands", 0) + ")"
            before, began = refused(), time.monotonic()
            await until(lambda: time.monotonic() > began + 22, "a window")
            witness = (refused() - before) / (time.monotonic() - began)
            [found] = query(watched.prometheus.url, shown)
            assert float(found["value"][1]) == pytest.approx(witness, rel=0.15)
        await until(
            lambda: (
                watched.count("svc-cache", "Refused commands") == pytest.approx(refused(), rel=0.05)
            ),
            "as many as Redis counts",
        )
        admin.config_set("maxmemory", "64mb")


async def test_redis_is_stopped(watched: Watched) -> None:
    """Fault 3: a hit ratio of 56 % after minutes without Redis."""

    def ratio() -> dict[str, float]:
        return watched.figures("svc-cache", "Current hit ratio")

    async with watched.traffic("/api/products/1", "/api/products/2"):
        await until(lambda: "product" in str(ratio()), "a hit ratio")
        watched.redis.kill()
        await until(lambda: not ratio(), "no hit ratio while nothing answers")
        assert watched.figures("svc-cache", "Open circuit breakers")[""] >= 1
        watched.redis.start()
        await until(ratio, "a hit ratio")


async def test_the_service_is_gone(watched: Watched) -> None:
    """Faults 8 and 12: "no traffic", 0 % errors and a full budget, all of them green."""
    async with watched.traffic("/api/products/1"):
        await until(
            lambda: watched.figures("svc-overview", "Availability").get("actual") is not None,
            "an availability",
        )
    watched.api.kill()
    tiles = [
        ("svc-overview", "Availability"),
        ("svc-overview", "Budget left, 30 days"),
        ("svc-overview", "Latency, p95"),
        ("svc-db", "Failed queries"),
        ("svc-db", "Queries"),
        ("svc-cache", "Open circuit breakers"),
        ("svc-runtime", "Telemetry dropped, 1 hour"),
    ]
    for board, title in tiles:
        await until(
            lambda board=board, title=title: watched.state(board, title) == TARGET_DOWN,  # type: ignore[misc]
            title,
        )
    assert watched.figures("svc-overview", "Instances up") == {"only": 0.0}
    watched.api.start()
    await until(lambda: watched.state("svc-runtime", "Telemetry dropped, 1 hour") == 0, "data")
