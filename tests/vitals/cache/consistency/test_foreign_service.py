"""The service of the cache's tutorial: no answer is older than a commit that was answered before.

Several processes of it, as it stands on the page, with one database and one Redis; HTTP clients
read and write, while processes are killed and Redis fails.
"""

import asyncio
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from stack import readiness
from tests.proxy import Fault, Proxy
from tests.servers import Redis
from tests.vitals.cache.consistency.history import Event, Kind, stale

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "cache-tutorial.md"
BLOCK = re.compile(r"^```python.*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROCESSES = 3
BOOKS = 4
READERS = 6
READS, WRITES = 2_000, 100
"""The least that must have happened."""
FAULTS = 2
"""Of each kind."""
DEADLINE_SECONDS = 150.0

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.servers,
    pytest.mark.timeout(2 * DEADLINE_SECONDS),
]


class Worker:
    """One process of the service.

    Args:
        command: Serves on the port that is appended.
        environment: Of the process.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None
        self.port = readiness.free_port()

    async def start(self, mutation: str = "") -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
            ["setpriv", "--pdeathsig", "KILL", "--", *self._command, str(self.port), mutation],
            cwd=ROOT,
            env=os.environ | self._environment,
            stdout=subprocess.DEVNULL,
        )
        async with asyncio.timeout(DEADLINE_SECONDS), httpx.AsyncClient() as client:
            while True:
                assert self._process.poll() is None
                with suppress(httpx.TransportError):
                    if (await client.get(f"{self.url}/books")).is_success:
                        return
                await asyncio.sleep(0.05)

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """Kill it, whatever it does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


class Shop:
    """The processes, and the clients that read and write.

    Args:
        workers: The processes.
    """

    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers
        self.events: list[Event] = []
        self.over = False
        self._numbers = itertools.count(1)
        self._client = httpx.AsyncClient(timeout=30)

    def count(self, kind: Kind) -> int:
        """How often something has happened."""
        return Counter(event.kind for event in self.events)[kind]

    async def write(self, book: int) -> None:
        """Change the stock of a book, in any process."""
        number, begin = next(self._numbers), time.monotonic_ns()
        url = f"{random.choice(self.workers).url}/books/{book}"  # noqa: S311 - a test
        with suppress(httpx.TransportError):  # it was killed: the write may have been committed
            answer = await self._client.put(url, json={"title": "Emma", "stock": number})
            if answer.is_success:
                end = time.monotonic_ns()
                self.events.append(Event(Kind.COMMIT, book, number, begin, end))

    async def read(self, worker: Worker) -> None:
        """Read a book alone or in the list, in one process."""
        book, begin = random.randrange(BOOKS), time.monotonic_ns()  # noqa: S311 - a test
        path = random.choice((f"/books/{book}", f"/books?limit={BOOKS}"))  # noqa: S311 - the same
        with suppress(httpx.TransportError):
            answer = (await self._client.get(worker.url + path)).raise_for_status().json()
            end = time.monotonic_ns()
            found = answer if isinstance(answer, list) else [answer]
            self.events += [
                Event(Kind.READ, each["id"], each["stock"], begin, end) for each in found
            ]

    async def work(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Read and write until enough has happened, and ``meanwhile`` has ended."""

        async def writing(books: range) -> None:
            while not self.over:
                await self.write(random.choice(books))  # noqa: S311 - a test
                await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311 - the same

        async def reading(worker: Worker) -> None:
            while not self.over:
                await self.read(worker)
                await asyncio.sleep(0)

        for book in range(BOOKS):
            await self.write(book)
        # A book has one writer, so that its numbers are committed in order.
        clients = [writing(range(0, BOOKS, 2)), writing(range(1, BOOKS, 2))]
        clients += [reading(self.workers[n % PROCESSES]) for n in range(READERS)]
        async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(client)
            await meanwhile()
            while self.count(Kind.READ) < READS or self.count(Kind.COMMIT) < WRITES:
                await asyncio.sleep(0.1)
            self.over = True

    async def close(self) -> None:
        """Kill all processes."""
        for worker in self.workers:
            worker.kill()
        await self._client.aclose()


@asynccontextmanager
async def opened(
    folder: Path, database: str, redis_ports: list[int], mutation: str = ""
) -> AsyncIterator[Shop]:
    """Start the processes, each with its own way to Redis."""
    file = folder / "shop.py"
    file.write_text(BLOCK.findall(PAGE.read_text())[-1])
    command = [
        sys.executable,
        "-m",
        "tests.vitals.cache.consistency.serve_foreign",
        str(file),
    ]
    shop = Shop(
        [
            Worker(command, {"DATABASE_URL": database, "REDIS_URL": f"redis://127.0.0.1:{port}/0"})
            for port in redis_ports
        ]
    )
    try:
        for worker in shop.workers:
            await worker.start(mutation)
        yield shop
    finally:
        await shop.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres").database()
        return url
    return f"sqlite+aiosqlite:///{tmp_path}/shop.db"


postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def check(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    found = stale(shop.events)
    with capsys.disabled():
        counts = ", ".join(f"{shop.count(kind)} {kind.name.lower()}s" for kind in Kind)
        sys.stdout.write(f"\n{counts}; {len(found)} stale\n")
    assert found == []


async def test_no_answer_is_stale_though_processes_are_killed(
    redis_server: Redis, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with opened(tmp_path, database, [redis_server.port] * PROCESSES) as shop:

        async def kill() -> None:
            for number in range(FAULTS):
                worker, before = shop.workers[number % PROCESSES], shop.count(Kind.COMMIT)
                while shop.count(Kind.COMMIT) < before + WRITES // 10:
                    await asyncio.sleep(0.01)
                worker.kill()
                shop.events.append(Event(Kind.DEATH, 0, 0, 0, 0))
                await worker.start()

        await shop.work(kill)
        check(shop, capsys)


@postgresql
async def test_no_answer_is_stale_though_redis_fails(
    redis_server: Redis, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Proxy.before(redis_server.port) as proxy:
        ports = [proxy.port, *[redis_server.port] * (PROCESSES - 1)]
        async with opened(tmp_path, database, ports) as shop:

            async def some_commits() -> None:
                before = shop.count(Kind.COMMIT)
                while shop.count(Kind.COMMIT) < before + WRITES // 10:
                    await asyncio.sleep(0.01)

            async def fail() -> None:
                for fault in (Fault.DROP, Fault.HALF_OPEN) * FAULTS:  # for one process alone
                    proxy.inject(fault)
                    await some_commits()
                    proxy.clear()
                    await some_commits()
                for _ in range(FAULTS):  # for all
                    redis_server.pause()
                    await some_commits()
                    redis_server.resume()
                    await some_commits()

            await shop.work(fail)
            check(shop, capsys)


@postgresql
async def test_a_fill_without_its_fence_is_detected(
    redis_server: Redis, database: str, tmp_path: Path
) -> None:
    ports = [redis_server.port] * PROCESSES
    async with opened(tmp_path, database, ports, mutation="fence") as shop:

        async def until_detected() -> None:
            while not stale(shop.events):
                await asyncio.sleep(0.2)

        await shop.work(until_detected)
