import asyncio
import re
from collections.abc import AsyncIterator, Callable
from itertools import count

import pytest

from service.rate_limit import (
    MAX_NAMES,
    ROUNDING,
    LocalLimiter,
    Policy,
    RateLimiter,
    RateLimitState,
)
from tests import servers

pytestmark = pytest.mark.anyio

names = (f"name{number}" for number in count())


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def limits(request: pytest.FixtureRequest) -> AsyncIterator[RateLimiter]:
    url = ""
    if request.param == "redis":
        server: servers.Redis = request.getfixturevalue("redis_server")
        url = server.url
    opened = RateLimiter.connect(url)
    yield opened
    await opened.close()


async def take(limits: RateLimiter, policy: Policy, name: str, times: int) -> list[RateLimitState]:
    return [await limits.take((policy, name)) for _ in range(times)]


@pytest.mark.parametrize("quota", [1, 3, 7, 60])
async def test_quota_is_admitted(limits: RateLimiter, quota: int) -> None:
    policy, name = Policy("test", quota, window=600), next(names)
    standings = await take(limits, policy, name, quota + 2)
    assert [s.remaining for s in standings] == [*range(quota - 1, -1, -1), 0, 0]
    assert all(s.wait == 0 for s in standings[:quota])
    for refused in standings[quota:]:
        assert 600 / quota - 5 < refused.wait <= 600 / quota + ROUNDING
        assert 595 < refused.reset <= 600.01
    assert (await limits.take((policy, next(names)))).remaining == quota - 1
    assert (await limits.take((Policy("other", quota), name))).remaining == quota - 1


async def test_attempt_after_retry_after_is_admitted(limits: RateLimiter) -> None:
    policy, name = Policy("test", 2, window=1), next(names)
    *_, refused = await take(limits, policy, name, 3)
    assert 0.3 < refused.wait <= 0.5
    await take(limits, policy, name, 5)  # refused attempts do not count
    await asyncio.sleep(refused.wait + 0.01)  # Retry-After is a time
    assert (await limits.take((policy, name))).wait == 0


async def test_concurrent_attempts_do_not_exceed_quota(limits: RateLimiter) -> None:
    policy, name = Policy("test", 5, window=600), next(names)
    standings = await asyncio.gather(*(limits.take((policy, name)) for _ in range(50)))
    assert sum(s.wait == 0 for s in standings) == 5


async def test_later_policies_do_not_count_after_a_refusal(limits: RateLimiter) -> None:
    strict, lenient = Policy("strict", 1, window=600), Policy("lenient", 9, window=600)
    name, other = next(names), next(names)
    first = await limits.take((strict, name), (lenient, other))
    assert (first.policy, first.remaining, first.wait) == (lenient, 8, 0)
    refused = await limits.take((strict, name), (lenient, other))
    assert refused.policy == strict
    assert refused.wait > 0
    assert (await limits.take((lenient, other))).remaining == 7
    both = await limits.take((lenient, other), (strict, name))
    assert both.policy == strict
    assert (await limits.take((lenient, other))).remaining == 5, (
        "what came before the refusal counts"
    )


def test_local_limiter_refills_evenly() -> None:
    clock, policy = Clock(), Policy("test", 4, window=60)
    local = LocalLimiter(clock)
    first: Callable[[], RateLimitState] = lambda: local.take((policy, "a"))  # noqa: E731 - a name for it
    assert [first().remaining for _ in range(4)] == [3, 2, 1, 0]
    assert first().wait == pytest.approx(15)
    clock.now += 14.9
    assert first().wait == pytest.approx(0.1)
    clock.now += 0.1
    assert first().wait == 0
    assert first().wait == pytest.approx(15)
    clock.now += 60
    assert first().remaining == 3


def test_local_limiter_bounds_names() -> None:
    local, policy = LocalLimiter(), Policy("test", 4, window=36_000)  # none refills
    for number in range(MAX_NAMES + 10):
        local.take((policy, str(number)))
    assert len(local._full) == MAX_NAMES


@pytest.mark.servers
async def test_workers_share_counts_only_with_redis(
    redis_server: servers.Redis,
) -> None:
    one, two = (RateLimiter.connect(redis_server.url) for _ in range(2))
    policy, name = Policy("test", 4, window=600), next(names)
    assert [s.remaining for s in await take(one, policy, name, 2)] == [3, 2]
    assert [s.remaining for s in await take(two, policy, name, 2)] == [1, 0]
    assert (await one.take((policy, name))).wait
    redis_server.kill()
    assert [s.remaining for s in await take(one, policy, name, 5)] == [3, 2, 1, 0, 0]
    assert [s.remaining for s in await take(two, policy, name, 1)] == [3]
    await one.close()
    await two.close()


@pytest.mark.servers
async def test_redis_key_expires_when_quota_is_restored(redis_server: servers.Redis) -> None:
    limits = RateLimiter.connect(redis_server.url)
    await take(limits, Policy("test", 4, window=600), "who", 2)
    assert limits._client is not None
    left = await limits._client.send("PTTL", "v1:{limit}:test:who")
    assert 290_000 < left <= 300_000
    await limits.close()


def test_headers_have_policy_and_state() -> None:
    policy = Policy("account", 10)
    assert RateLimitState(policy, 3, 0.0, 41.2).headers == {
        "RateLimit-Policy": '"account";q=10;w=60',
        "RateLimit": '"account";r=3;t=42',
    }
    refused = RateLimitState(policy, 0, 5.1, 59.1).headers
    assert refused["Retry-After"] == "6"
    assert re.fullmatch(r'"account";r=0;t=60', refused["RateLimit"])
