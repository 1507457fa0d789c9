"""Rate limiter: the generic cell rate algorithm (leaky bucket), in Redis or in this process.

Per name one time is stored, until which the bucket is full, so check and count are one atomic step.
Refused attempts do not count, so a client that waits for ``Retry-After`` is admitted.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from vitals.cache import (
    TIMEOUT_SECONDS,
    RedisClient,
    StoreUnavailableError,
    connect_redis,
)

MAX_NAMES = 20_000
ROUNDING = 0.001
"""Rounding error of sums, in seconds and attempts."""

# The same arithmetic as in `LocalLimiter.take`, on the clock of Redis, so that workers agree.
TAKE = """
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local which, left, reset
for number, name in ipairs(KEYS) do
  local quota, window = tonumber(ARGV[2 * number - 1]), tonumber(ARGV[2 * number])
  local full = math.max(tonumber(redis.call('GET', name)) or now, now) + window / quota
  local wait = full - now - window
  which = number - 1
  if wait > 1 then
    return {which, 0, math.ceil(wait), math.ceil(window - window / quota + wait)}
  end
  redis.call('SET', name, string.format('%.3f', full), 'PX', math.ceil(full - now))
  left = math.max(0, math.floor(-wait * quota / window + 0.001))
  reset = math.ceil(full - now)
end
return {which, left, 0, reset}
"""


@dataclass(frozen=True)
class Policy:
    """Quota of attempts per window, all at once or spread.

    Attributes:
        name: For headers and keys.
        quota: Attempts.
        window: Seconds.
    """

    name: str
    quota: int
    window: int = 60


Attempt = tuple[Policy, str]
"""The policy, and the name that is limited."""


@dataclass(frozen=True)
class RateLimitState:
    """State of a name's limit after an attempt.

    Attributes:
        policy: The policy that applies.
        remaining: Remaining attempts.
        wait: Seconds to wait; 0 if the attempt was admitted.
        reset: Seconds until the whole quota is available.
    """

    policy: Policy
    remaining: int
    wait: float
    reset: float

    @property
    def headers(self) -> dict[str, str]:
        """As in draft-ietf-httpapi-ratelimit-headers-10, and ``Retry-After`` if refused."""
        policy = self.policy
        headers = {
            "RateLimit-Policy": f'"{policy.name}";q={policy.quota};w={policy.window}',
            "RateLimit": f'"{policy.name}";r={self.remaining};t={math.ceil(self.reset)}',
        }
        if self.wait:
            headers["Retry-After"] = str(math.ceil(self.wait))
        return headers


class LocalLimiter:
    """In-process limiter; bounded, so a flood of names evicts the oldest.

    Not the library limits: it takes three times as long, and keeps every name of a flood
    (``python -m bench.rate_limit``).

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full: OrderedDict[tuple[Policy, str], float] = OrderedDict()

    def take(self, *attempts: Attempt) -> RateLimitState:
        """Count attempts, see `RateLimiter.take`."""
        for policy, name in attempts:
            state = self._take(policy, name)
            if state.wait:
                break
        return state

    def _take(self, policy: Policy, name: str) -> RateLimitState:
        now, key, each = self._clock(), (policy, name), policy.window / policy.quota
        full = max(self._full.get(key, now), now) + each
        wait = full - now - policy.window
        if wait > ROUNDING:
            return RateLimitState(policy, 0, wait, policy.window - each + wait)
        self._full[key] = full
        self._full.move_to_end(key)
        while len(self._full) > MAX_NAMES:
            self._full.popitem(last=False)
        return RateLimitState(policy, int(-wait / each + ROUNDING), 0.0, full - now)


class RateLimiter:
    """Limiter that counts in Redis for all workers; without Redis, each worker counts alone.

    Args:
        client: Of Redis; None where there is none.
    """

    def __init__(self, client: RedisClient | None) -> None:
        self._client = client
        self._local = LocalLimiter()

    @classmethod
    def connect(cls, url: str, *, password: str | None = None) -> "RateLimiter":
        """Choose where to count; the first attempt connects.

        Args:
            url: Of Redis; empty to count in this process.
            password: Used when the URL has none.
        """
        if not url:
            return cls(None)
        return cls(connect_redis(url, password, TIMEOUT_SECONDS))

    async def take(self, *attempts: Attempt) -> RateLimitState:
        """Count attempts by one or several policies in order; the names must not be secret.

        Returns:
            The first refusal, after which the others do not count, or else the state of the last.
        """
        if self._client is not None:
            # The braces keep all names in one slot of a cluster, so one round trip is enough.
            keys = [f"v1:{{limit}}:{policy.name}:{name}" for policy, name in attempts]
            bounds = [n for policy, _ in attempts for n in (policy.quota, policy.window * 1000)]
            try:
                which, left, wait, reset = await self._client.send(
                    "EVAL", TAKE, len(keys), *keys, *bounds
                )
            except StoreUnavailableError:
                pass
            else:
                return RateLimitState(attempts[which][0], left, wait / 1000, reset / 1000)
        return self._local.take(*attempts)

    async def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            await self._client.close()
