"""Cost of measuring a call of a cache or an HTTP client, against the same call unmeasured.

``python -m bench.clients``; no call leaves the process, so what is added stands out. aiocache,
cashews and aiohttp are measured where they are installed.
"""

import asyncio
import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from importlib.util import find_spec
from io import BytesIO
from time import process_time
from typing import Any

import httpx
import redis.asyncio
import requests
from fastapi import FastAPI
from requests.adapters import BaseAdapter

from bench.interleave import Once, compare, report
from vitals import instrument, watch
from vitals.metrics.catalogue import HTTP_CLIENT_REQUEST_DURATION
from vitals.testing import Readings

CACHE_BUDGET, HTTP_BUDGET = 10.0, 40.0
"""Most microseconds that may be added to a call."""


HTTP = ("httpx GET", "requests GET")


class _Redis(redis.asyncio.Redis):
    async def execute_command(self, *_args: Any, **_options: Any) -> Any:
        """Answer at once."""
        return b"1"


class _Body(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"1"


class _Transport(httpx.AsyncBaseTransport):
    async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
        """Answer at once."""
        return httpx.Response(200, stream=_Body())


class _Adapter(BaseAdapter):
    def send(self, request: requests.PreparedRequest, **_options: Any) -> requests.Response:  # type: ignore[override]
        """Answer at once."""
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = 200, request, str(request.url)
        answer.raw = BytesIO(b"1")
        return answer

    def close(self) -> None:
        """Do nothing."""


def _get(client: Any, *args: Any) -> Once:
    async def once() -> None:
        await client.get(*args)

    return once


def _get_by_requests(session: requests.Session) -> Once:
    async def once() -> None:
        session.get("http://service.example/")

    return once


def _session() -> requests.Session:
    session = requests.Session()
    session.mount("http://", _Adapter())
    return session


def _cashews() -> Any:
    cache = importlib.import_module("cashews").Cache()
    cache.setup("mem://")
    return cache


async def _pairs(stack: AsyncExitStack) -> dict[str, tuple[Once, Once]]:
    """The calls, each unmeasured and measured."""
    pairs: dict[str, tuple[Once, Once]] = {}

    def add(name: str, make: Callable[[], Any], call: Callable[[Any], Once]) -> None:
        pairs[name] = call(make()), call(watch(make()))

    add("redis-py GET", _Redis, lambda client: _get(client, "key"))
    clients = [httpx.AsyncClient(transport=_Transport()) for _ in range(2)]
    for client in clients:
        stack.push_async_callback(client.aclose)
    url = "http://service.example/"
    pairs["httpx GET"] = _get(clients[0], url), _get(watch(clients[1]), url)
    add("requests GET", _session, _get_by_requests)
    if find_spec("aiocache"):
        memory = importlib.import_module("aiocache").SimpleMemoryCache
        add("aiocache get, in memory", memory, lambda cache: _get(cache, "key"))
    if find_spec("cashews"):
        add("cashews get, in memory", _cashews, lambda cache: _get(cache, "key"))
    return pairs


async def _measure() -> dict[str, tuple[float, float]]:
    async with AsyncExitStack() as stack:
        pairs = await _pairs(stack)
        variants = {name + " bare": bare for name, (bare, _) in pairs.items()}
        variants |= {name: measured for name, (_, measured) in pairs.items()}
        taken = await compare(variants, clock=process_time)
    return {name: (taken[name + " bare"] * 1e6, taken[name] * 1e6) for name in pairs}


def main() -> None:
    """Compare, and exit with the exceeded budgets."""
    app = FastAPI()  # what is measured is measured for as long as the application lives
    instrument(app, logs=False)
    taken = asyncio.run(_measure())
    counted = Readings.of(app).value(HTTP_CLIENT_REQUEST_DURATION, "_count")
    assert counted, "nothing was measured"  # noqa: S101
    added = {name: measured - bare for name, (bare, measured) in taken.items()}
    exceeded = [
        f"{name} costs {each:.1f} µs more, over the budget of {most:g}"
        for name, each in added.items()
        if each > (most := (HTTP_BUDGET if name in HTTP else CACHE_BUDGET))
    ]
    report(
        "One call that is answered at once, in processor time",
        ["", "bare, µs", "measured, µs", "added, µs"],
        [
            [name, *(f"{each:.1f}" for each in (bare, measured, measured - bare))]
            for name, (bare, measured) in taken.items()
        ],
        {
            "bench": "clients",
            "added_us": {name: round(each, 2) for name, each in added.items()},
            "budget": {"cache": CACHE_BUDGET, "HTTP": HTTP_BUDGET},
            "within_budget": not exceeded,
        },
    )
    raise SystemExit("; ".join(exceeded) or 0)


if __name__ == "__main__":
    main()
