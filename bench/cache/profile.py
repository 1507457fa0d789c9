"""The profile: as it is, and with its body from the cache after the caller has been let in."""

from time import process_time

from asgi_lifespan import LifespanManager
from fastapi import FastAPI, Response

from bench.asgi_client import ask, silence
from bench.cache.result import Part
from bench.interleave import Once, compare
from service.auth import AccessTokens, CallerOf
from service.cache.cache import Cache
from service.main import build
from service.settings import Settings
from service.users.schemas import UserOut
from service.users.tables import User

PATH, CACHED_PATH = "/api/users/me", "/bench/me"
LEAST_SHARE = 0.9
"""Below that share of the time, caching would pay, and the decision against it would be wrong."""
PLAIN, CACHED = "profile, as it is", "profile, its body cached"


def _cache_body(app: FastAPI) -> None:
    cache: Cache = app.state.cache
    profiles = cache.namespace("profile", type=UserOut, ttl=300)

    @app.get(CACHED_PATH)
    async def show_me(caller: CallerOf) -> Response:
        async def load() -> UserOut:
            return UserOut.model_validate(caller)

        found = await profiles.render(profiles.key(id=caller.id), load)
        return Response(found.body if found else b"", media_type="application/json")


async def measure(settings: Settings, redis_url: str, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds and processor seconds a request for the profile takes, in process."""
    app = build(settings.model_copy(update={"redis_url": redis_url}))
    _cache_body(app)
    with silence():
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
                    raise RuntimeError(f"{path} is answered {status}")

            return once

        ways = {PLAIN: asking(PATH), CACHED: asking(CACHED_PATH)}
        return {
            "seconds": await compare(ways, rounds=rounds, calls=20),
            "processor": await compare(ways, rounds=rounds, calls=20, clock=process_time),
        }


def part(found: dict[str, dict[str, float]]) -> Part:
    """The table, and whether the decision not to cache it stands."""
    shares = {name: each[CACHED] / each[PLAIN] for name, each in found.items()}
    rows = [
        [way, *(f"{each[way] * 1e6:,.0f}" for each in found.values())] for way in (PLAIN, CACHED)
    ]
    broken = []
    if max(shares.values()) < LEAST_SHARE:
        broken.append(f"{CACHED} takes {max(shares.values()):.2f} of it: cache it")
    figures = {f"{name}, share": round(share, 4) for name, share in shares.items()}
    return Part(f"GET {PATH}", ["", "µs", "µs of processor"], rows, figures, broken)
