"""The list of products: with the cache in Redis, and without any."""

from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from bench.asgi_client import ask
from bench.cache.result import Part
from bench.interleave import Once, compare
from bench.load.optimisations import forget
from service.main import build
from service.settings import Settings

LARGEST_SHARE = 0.5
PATH, QUERY = "/api/products", b"limit=100"
CACHED, UNCACHED = "list, cached", "list, no cache"


async def measure(settings: Settings, redis_url: str, rounds: int) -> dict[str, float]:
    """Seconds a request for the list takes, in process."""
    cached = build(settings.model_copy(update={"redis_url": redis_url}))
    without = build(settings)
    forget(without)

    def asking(app: FastAPI) -> Once:
        async def once() -> None:
            status, _, _ = await ask(app, PATH, QUERY)
            if status != 200:
                raise RuntimeError(f"{PATH} is answered {status}")

        return once

    async with LifespanManager(cached), LifespanManager(without):
        ways = {CACHED: asking(cached), UNCACHED: asking(without)}
        return await compare(ways, rounds=rounds, calls=10)


def part(seconds: dict[str, float]) -> Part:
    """The table, and the promise."""
    share = seconds[CACHED] / seconds[UNCACHED]
    rows = [
        [name, f"{each * 1e6:,.0f}", f"{each / seconds[UNCACHED]:.3f}"]
        for name, each in seconds.items()
    ]
    broken = [f"{CACHED} takes {share:.2f} of it"] if share > LARGEST_SHARE else []
    figures = {"share": round(share, 4)} | {name: round(s, 6) for name, s in seconds.items()}
    return Part(f"GET {PATH}?{QUERY.decode()}", ["", "µs", "share"], rows, figures, broken)
