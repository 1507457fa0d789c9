"""The list of products: with the cache in Redis, and without a cache."""

from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from bench.asgi_client import ask
from bench.cache.result import Result
from bench.interleave import Once, compare
from bench.load.optimisations import disable_caches
from service.main import build
from service.settings import Settings

MAX_SHARE = 0.5
PATH, QUERY = "/api/products", b"limit=100"
CACHED, UNCACHED = "list, cached", "list, no cache"


async def measure(settings: Settings, redis_url: str, rounds: int) -> dict[str, float]:
    """Seconds per request for the list, in process."""
    cached = build(settings.model_copy(update={"redis_url": redis_url}))
    without = build(settings)
    disable_caches(without)

    def asking(app: FastAPI) -> Once:
        async def once() -> None:
            status, _, _ = await ask(app, PATH, QUERY)
            if status != 200:
                raise RuntimeError(f"{PATH} returned {status}")

        return once

    async with LifespanManager(cached), LifespanManager(without):
        variants = {CACHED: asking(cached), UNCACHED: asking(without)}
        return await compare(variants, rounds=rounds, calls=10)


def evaluate(seconds: dict[str, float]) -> Result:
    """Build the table, and check the budget."""
    share = seconds[CACHED] / seconds[UNCACHED]
    rows = [
        [name, f"{each * 1e6:,.0f}", f"{each / seconds[UNCACHED]:.3f}"]
        for name, each in seconds.items()
    ]
    exceeded = (
        [f"{CACHED} takes {share:.2f} of the time without a cache"] if share > MAX_SHARE else []
    )
    figures = {"share": round(share, 4)} | {name: round(s, 6) for name, s in seconds.items()}
    return Result(f"GET {PATH}?{QUERY.decode()}", ["", "µs", "share"], rows, figures, exceeded)
