"""Reads and writes of prices through a load balancer, with a witness of stale reads."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import httpx

PRODUCTS, READERS, WRITERS = 20, 12, 2
PAUSE_SECONDS = 0.01


@dataclass
class Traffic:
    """Clients of one URL. Each writes prices that rise by one, so that an old one is recognised.

    Attributes:
        url: Of the load balancer.
        products: Ids of products, whose prices only this traffic changes.
        login: Headers of an administrator.
        answers: Number of responses by method and status; transport errors by their name.
        stale: Reads that began after a higher price was acknowledged, and got a lower one.
    """

    url: str
    products: list[int]
    login: dict[str, str]
    answers: Counter[str] = field(default_factory=Counter)
    stale: int = 0
    _prices: dict[int, int] = field(default_factory=dict)
    _ends: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def requests(self) -> int:
        """Number of requests."""
        return sum(self.answers.values())

    @property
    def failed(self) -> int:
        """Requests with neither 200 nor 304 in return."""
        return sum(n for name, n in self.answers.items() if not name.endswith((" 200", " 304")))

    async def run(self) -> None:
        """Read and write until `end`."""
        limits = httpx.Limits(max_connections=READERS + WRITERS)
        async with httpx.AsyncClient(base_url=self.url, timeout=30, limits=limits) as client:
            readers = (self._read(client, number) for number in range(READERS))
            writers = (self._write(client, number) for number in range(WRITERS))
            await asyncio.gather(*readers, *writers)

    def end(self) -> None:
        """Let all clients finish their request."""
        self._ends.set()

    async def _read(self, client: httpx.AsyncClient, turn: int) -> None:
        while not self._ends.is_set():
            product = self.products[turn % len(self.products)]
            turn += 1
            least = self._prices.get(product, 0)
            answer = await self._ask(client, "GET", product)
            if answer is not None and answer.status_code == 200:
                self.stale += answer.json()["price_cents"] < least
            await asyncio.sleep(PAUSE_SECONDS)

    async def _write(self, client: httpx.AsyncClient, number: int) -> None:
        own = self.products[number::WRITERS]
        turn = 0
        while not self._ends.is_set():
            product = own[turn % len(own)]
            turn += 1
            price = self._prices.get(product, 1000) + 1
            answer = await self._ask(client, "PATCH", product, {"price_cents": price})
            if answer is not None and answer.status_code == 200:
                self._prices[product] = price
            await asyncio.sleep(5 * PAUSE_SECONDS)

    async def _ask(
        self, client: httpx.AsyncClient, method: str, product: int, body: object = None
    ) -> httpx.Response | None:
        headers = {} if body is None else {**self.login, "If-Match": "*"}
        try:
            path = f"/api/products/{product}"
            answer = await client.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            self.answers[f"{method} {type(error).__name__}"] += 1
            return None
        self.answers[f"{method} {answer.status_code}"] += 1
        return answer
