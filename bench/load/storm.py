"""Latency of reads during a login storm, compared with the latency without it.

Both are interleaved in one run, with a minimal client: on a shared machine a heavier one would
disturb the measurement.
"""

import asyncio
import json
from itertools import count
from time import perf_counter
from urllib.parse import urlsplit

from bench.load.server import USERS, Running, SeededDatabase

CROWD = 50
"""Number of concurrent users that log in repeatedly."""
EVERY = 0.01
"""Seconds between two reads."""

_people = count(1)


class HttpConnection:
    """A keep-alive HTTP connection."""

    def __init__(self, url: str) -> None:
        self._where = urlsplit(url)

    async def open(self) -> "HttpConnection":
        """Connect."""
        host, port = self._where.hostname, self._where.port
        self._reader, self._writer = await asyncio.open_connection(host, port)
        return self

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()

    async def request(self, method: str, path: str, body: bytes = b"") -> int:
        """Send a request, read the response, return its status."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._where.netloc}\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(head.encode() + b"\r\n" + body)
        head_bytes = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head_bytes.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length or 0))
        return int(head_bytes[9:12])


async def _log_in_again_and_again(
    fixture: SeededDatabase, connection: HttpConnection, over: asyncio.Event
) -> None:
    while not over.is_set():
        email = f"user{next(_people) % USERS + 1}@example.com"
        form = json.dumps({"email": email, "password": fixture.password}).encode()
        status = await connection.request("POST", "/api/users/login", form)
        if status != 200:
            raise RuntimeError(f"a login returned {status}")


async def _read(url: str, seconds: float) -> list[float]:
    connection = await HttpConnection(url).open()
    taken, ends = [], perf_counter() + seconds
    while (began := perf_counter()) < ends:
        await connection.request("GET", "/api/products")
        taken.append(perf_counter() - began)
        await asyncio.sleep(EVERY)
    connection.close()
    return taken


async def _measure(
    fixture: SeededDatabase, url: str, rounds: int, seconds: float
) -> tuple[float, float]:
    calm: list[float] = []
    storm: list[float] = []
    await _read(url, 0.5)
    for _ in range(rounds):
        calm += await _read(url, seconds)
        connections = [await HttpConnection(url).open() for _ in range(CROWD)]
        over = asyncio.Event()
        async with asyncio.TaskGroup() as crowd:
            for connection in connections:
                crowd.create_task(_log_in_again_and_again(fixture, connection, over))
            storm += await _read(url, seconds)
            over.set()  # pending logins finish before the next calm round
        for connection in connections:
            connection.close()
    return _p99(calm), _p99(storm)


def _p99(taken: list[float]) -> float:
    return sorted(taken)[int(len(taken) * 0.99)]


def measure(
    fixture: SeededDatabase, server: Running, *, rounds: int = 6, seconds: float = 3.0
) -> tuple[float, float]:
    """Read without and with the storm, interleaved.

    With shorter rounds the 99th percentile would be that of the moment in which fifty users arrive,
    which delays one read by 10 ms, and not of the time in which they log in.

    Returns:
        The 99th percentiles of the reads' seconds, in calm and in storm.

    Raises:
        RuntimeError: A login failed.
    """
    return asyncio.run(_measure(fixture, server.url, rounds, seconds))
