"""The profile endpoint: as it is, and with a cached body after authentication."""

from time import process_time

from asgi_lifespan import LifespanManager
from fastapi import FastAPI, Response

from bench.asgi_client import ask, discard_logs
from bench.cache.result import Result
from bench.interleave import Once, compare
from service.auth import AccessTokens, CallerOf
from service.main import build
from service.settings import Settings
from service.users.schemas import UserOut
from service.users.tables import User
from vitals.cache.cache import Cache

PATH, CACHED_PATH = "/api/users/me", "/bench/me"
MIN_SHARE = 0.9
"""If caching took less than this share of the time, it would be worthwhile."""
PLAIN, CACHED = "profile, as it is", "profile, its body cached"


def _cache_body(app: FastAPI) -> None:
    cache: Cache = app.state.cache
    profiles = cache.namespace("profile", schema=UserOut, ttl=300)

    @app.get(CACHED_PATH)
    async def show_me(caller: CallerOf) -> Response:
        async def load() -> UserOut:
            return UserOut.model_validate(caller)

        found = await profiles.render(profiles.key(id=caller.id), load)
        return Response(found.body if found else b"", media_type="application/json")


async def measure(settings: Settings, redis_url: str, rounds: int) -> dict[str, dict[str, float]]:
    """Wall time and processor time per request for the profile, in process."""
    app = build(settings.model_copy(update={"redis_url": redis_url}))
    _cache_body(app)
    with discard_logs():
        return await _measure(app, rounds)


async def _measure(app: FastAPI, rounds: int) -> dict[str, dict[str, float]]:
    async with LifespanManager(app):
        async with app.state.database.reading() as session:
            user = await session.get_one(User, 1)
        tokens: AccessTokens = app.state.tokens
        token = f"Bearer {tokens.issue(user)}".encode()

        def asking(path: str) -> Once:
            async def once() -> None:
                status, _, _ = await ask(app, path, b"", (b"authorization", token))
                if status != 200:
                    raise RuntimeError(f"{path} returned {status}")

            return once

        variants = {PLAIN: asking(PATH), CACHED: asking(CACHED_PATH)}
        return {
            "seconds": await compare(variants, rounds=rounds, calls=20),
            "processor": await compare(variants, rounds=rounds, calls=20, clock=process_time),
        }


def evaluate(found: dict[str, dict[str, float]]) -> Result:
    """Build the table, and check that caching is not worthwhile."""
    shares = {name: each[CACHED] / each[PLAIN] for name, each in found.items()}
    rows = [
        [variant, *(f"{each[variant] * 1e6:,.0f}" for each in found.values())]
        for variant in (PLAIN, CACHED)
    ]
    exceeded = []
    if max(shares.values()) < MIN_SHARE:
        exceeded.append(f"{CACHED} takes {max(shares.values()):.2f} of the time: cache it")
    figures = {f"{name}, share": round(share, 4) for name, share in shares.items()}
    return Result(f"GET {PATH}", ["", "µs", "µs of processor"], rows, figures, exceeded)
