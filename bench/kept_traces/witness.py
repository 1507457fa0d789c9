"""What clients saw: requests with trace ids of their own, their answers and durations."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from simple_websocket import Client, ConnectionClosed  # type: ignore[import-untyped]

from bench.kept_traces.target import NAME, THRESHOLD

API = "api"
WAITED = "slow for its client only"
"""A request that waited until the service read it: its worker was busy, or the client itself."""
_SLOW_API = 2.0
"""Seconds from which on a request to the API was slow for the API too, by its client's clock: the
API has no other one."""
SERVER_ERROR = 500


@dataclass
class Seen:
    """A request as its client saw it.

    Attributes:
        service: The service.
        kind: What was asked for.
        trace_id: Sent in ``traceparent``, not sampled; 32 hexadecimal digits.
        span_id: Of the client; 16 digits.
        spans: How many spans its trace has at least.
        status: The status; 0 without an answer.
        broken: Whether the answer ended before its end.
        seconds: To the last byte; of a stream to the first.
        inside: The same by the clock around the service; None where it has none.
        ended: The time, in seconds since 1970.
    """

    service: str
    kind: str
    trace_id: str
    span_id: str
    spans: int
    status: int = 0
    broken: bool = False
    seconds: float = 0.0
    ended: float = 0.0
    inside: float | None = None

    @property
    def bad(self) -> str:
        """Why it must be kept; empty if it is not bad."""
        if self.status >= SERVER_ERROR:
            return "answered 5xx"
        if self.broken and self.status:
            return "broke"
        always = {"background": "work failed", "n_plus_one": "N+1"}
        if not self.status or self.kind in always:
            return always.get(self.kind, "") if self.status else ""
        slow = self.seconds > _SLOW_API if self.service == API else (self.inside or 0) > THRESHOLD
        if slow:
            return "over its objective"
        return WAITED if self.seconds > THRESHOLD else ""


KINDS = {  # and the spans of each: of the request, its queries, and its wait or work
    "fails": 3,
    "answers_503": 3,
    "slow": 4,
    "slow_in_thread": 1,
    "blocks": 1,
    "late": 2,
    "breaks": 2,
    "background": 3,
    "deadline": 2,
    "n_plus_one": 31,
    "ok": 1,
}
_STREAMS = frozenset({"late", "breaks"})
_SEARCHES = 3


def of_target(dice: random.Random) -> Iterator[tuple[str, str, int]]:
    """Kinds, paths and least numbers of spans, in turn, with as many that are good."""
    for kind, spans in itertools.cycle(KINDS.items()):
        yield kind, f"/{kind}", spans
        for _ in range(dice.randrange(3)):
            yield "ok", "/ok", 1


def of_api(dice: random.Random) -> Iterator[tuple[str, str, int]]:
    """Searches, which no cache has; a product that it has; and what is not there."""
    while True:
        for _ in range(_SEARCHES):
            word = "".join(dice.choices("abcdefghij", k=2))
            yield "search", f"/api/products?text={word}&limit={dice.randrange(5, 100)}", 1
        yield "product", f"/api/products/{dice.randrange(1, 500)}", 1


class Witness:
    """Sends requests at a steady rate, and keeps what came of them.

    Args:
        service: The service.
        base: Its URL.
        paths: What to ask for.
        rate: Requests a second.

    Attributes:
        seen: What came of them.
    """

    def __init__(
        self, service: str, base: str, paths: Iterator[tuple[str, str, int]], rate: float
    ) -> None:
        self.seen: list[Seen] = []
        self._service, self._base, self._paths, self._rate = service, base, paths, rate

    async def run(self) -> None:
        """Send requests until cancelled; then wait for those under way."""
        running: set[asyncio.Task[None]] = set()
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(
            base_url=self._base, timeout=15, trust_env=False, limits=limits
        ) as client:
            try:
                while True:
                    task = asyncio.create_task(self._request(client, *next(self._paths)))
                    running.add(task)
                    task.add_done_callback(running.discard)
                    await asyncio.sleep(1 / self._rate)
            finally:
                if running:
                    await asyncio.wait(running, timeout=20)

    async def _request(self, client: httpx.AsyncClient, kind: str, path: str, spans: int) -> None:
        seen = Seen(self._service, kind, *ids(), spans)
        headers = {"traceparent": f"00-{seen.trace_id}-{seen.span_id}-00"}
        began = time.perf_counter()
        try:
            async with client.stream("GET", path, headers=headers) as answer:
                seen.status = answer.status_code
                if kind in _STREAMS:
                    seen.seconds = time.perf_counter() - began
                async for _ in answer.aiter_raw():
                    pass
        except httpx.HTTPError:
            seen.broken = True
        seen.seconds = seen.seconds or time.perf_counter() - began
        seen.ended = time.time()
        self.seen.append(seen)

    async def open_sockets(self) -> None:
        """Open a WebSocket that fails every other second, until cancelled."""
        while True:
            seen = Seen(NAME, "socket", *ids(), 2)
            await asyncio.to_thread(self._open_socket, seen)
            self.seen.append(seen)
            await asyncio.sleep(2)

    def _open_socket(self, seen: Seen) -> None:
        address = self._base.replace("http", "ws", 1) + "/socket"
        headers = {"traceparent": f"00-{seen.trace_id}-{seen.span_id}-00"}
        with suppress(ConnectionClosed, OSError):
            connection = Client.connect(address, headers=headers)
            seen.status = 101
            connection.receive(timeout=5)
        seen.broken, seen.ended = True, time.time()


def add_times(seen: Sequence[Seen], file: Path) -> None:
    """Add what the clock around the service has measured."""
    times = dict(map(json.loads, file.read_text().splitlines()))
    for each in seen:
        each.inside = times.get(each.trace_id, each.inside)


def ids() -> tuple[str, str]:
    """A trace id and a span id."""
    return f"{random.getrandbits(128) | 1:032x}", f"{random.getrandbits(64) | 1:016x}"


def unanswered(seen: Sequence[Seen]) -> int:
    """Requests without any answer: refused or cut connections."""
    return sum(not each.status for each in seen)
