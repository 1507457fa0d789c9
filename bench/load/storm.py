"""How much longer reads take while many people log in at once.

Calm and storm take turns in one run, and the client is as bare as can be: on a shared machine
anything else would measure the neighbours.
"""

import asyncio
import json
from itertools import count
from time import perf_counter
from urllib.parse import urlsplit

from bench.load.server import USERS, Running, Stage

CROWD = 50
"""People who log in at once, each again as soon as they are in."""
EVERY = 0.01
"""Seconds between two reads."""

_people = count(1)


class Line:
    """One kept connection."""

    def __init__(self, url: str) -> None:
        self._where = urlsplit(url)

    async def open(self) -> "Line":
        """Connect."""
        host, port = self._where.hostname, self._where.port
        self._reader, self._writer = await asyncio.open_connection(host, port)
        return self

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()

    async def ask(self, method: str, path: str, body: bytes = b"") -> int:
        """Send a request, take in the answer, return its status."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._where.netloc}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        said = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = said.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length or 0))
        return int(said[9:12])


async def _log_in_again_and_again(stage: Stage, line: Line, over: asyncio.Event) -> None:
    while not over.is_set():
        email = f"user{next(_people) % USERS + 1}@example.com"
        form = json.dumps({"email": email, "password": stage.password}).encode()
        status = await line.ask("POST", "/api/users/login", form)
        if status != 200:
            raise RuntimeError(f"a login answers {status}")


async def _read(url: str, seconds: float) -> list[float]:
    line = await Line(url).open()
    taken, ends = [], perf_counter() + seconds
    while (began := perf_counter()) < ends:
        await line.ask("GET", "/api/products")
        taken.append(perf_counter() - began)
        await asyncio.sleep(EVERY)
    line.close()
    return taken


async def _turns(stage: Stage, url: str, rounds: int, seconds: float) -> tuple[float, float]:
    calm: list[float] = []
    storm: list[float] = []
    await _read(url, 0.5)
    for _ in range(rounds):
        calm += await _read(url, seconds)
        lines = [await Line(url).open() for _ in range(CROWD)]
        over = asyncio.Event()
        async with asyncio.TaskGroup() as crowd:
            for line in lines:
                crowd.create_task(_log_in_again_and_again(stage, line, over))
            storm += await _read(url, seconds)
            over.set()  # everybody gets in who has begun, so that the next calm is one
        for line in lines:
            line.close()
    return _p99(calm), _p99(storm)


def _p99(taken: list[float]) -> float:
    return sorted(taken)[int(len(taken) * 0.99)]


def measure(
    stage: Stage, server: Running, *, rounds: int = 6, seconds: float = 3.0
) -> tuple[float, float]:
    """Read in calm and in storm by turns.

    With shorter turns the 99th percentile is of the moment in which fifty arrive, which holds up
    one read by 10 ms, and not of the time in which they log in.

    Returns:
        The 99th percentiles of the reads' seconds, in calm and in storm.

    Raises:
        RuntimeError: A login failed.
    """
    return asyncio.run(_turns(stage, server.url, rounds, seconds))
