"""How often somebody may try: a bucket that leaks evenly, in Redis or in this process.

The generic cell rate algorithm: per name one moment is kept, until which the bucket is full, so a
look-up and its count are one atomic step. Refused attempts do not count, so whoever waits as long
as told gets in.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from service.cache.cache import TIMEOUT_SECONDS
from service.cache.core.store import StoreUnavailableError
from service.cache.redis.client import RedisClient, connect

MOST_NAMES = 20_000
ROUNDING = 0.001
"""Seconds, and attempts, that adding up fractions may leave."""

# The same arithmetic as in `Local.take`, on the clock of Redis, so that workers agree.
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
    """So many attempts in so many seconds, all at once or spread.

    Attributes:
        name: For headers and keys.
        quota: Attempts.
        window: Seconds.
    """

    name: str
    quota: int
    window: int = 60


Attempt = tuple[Policy, str]
"""By which policy, and in whose name."""


@dataclass(frozen=True)
class Standing:
    """Where somebody stands after an attempt.

    Attributes:
        policy: By what it was judged.
        left: Attempts that are left.
        wait: Seconds to wait; 0 for an attempt that was admitted.
        reset: Seconds until all attempts are back.
    """

    policy: Policy
    left: int
    wait: float
    reset: float

    @property
    def headers(self) -> dict[str, str]:
        """As in draft-ietf-httpapi-ratelimit-headers-10, and ``Retry-After`` if refused."""
        policy = self.policy
        headers = {
            "RateLimit-Policy": f'"{policy.name}";q={policy.quota};w={policy.window}',
            "RateLimit": f'"{policy.name}";r={self.left};t={math.ceil(self.reset)}',
        }
        if self.wait:
            headers["Retry-After"] = str(math.ceil(self.wait))
        return headers


class Local:
    """Counts in this process; bounded, so a flood of names forgets the ones before.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full: OrderedDict[tuple[Policy, str], float] = OrderedDict()

    def take(self, *attempts: Attempt) -> Standing:
        """Try, see `Limits.take`."""
        for policy, name in attempts:
            standing = self._take(policy, name)
            if standing.wait:
                break
        return standing

    def _take(self, policy: Policy, name: str) -> Standing:
        now, key, each = self._clock(), (policy, name), policy.window / policy.quota
        full = max(self._full.get(key, now), now) + each
        wait = full - now - policy.window
        if wait > ROUNDING:
            return Standing(policy, 0, wait, policy.window - each + wait)
        self._full[key] = full
        self._full.move_to_end(key)
        while len(self._full) > MOST_NAMES:
            self._full.popitem(last=False)
        return Standing(policy, int(-wait / each + ROUNDING), 0.0, full - now)


class Limits:
    """Counts in Redis, so that all workers count together; without it, each for itself.

    Args:
        client: Of Redis; None where there is none.
    """

    def __init__(self, client: RedisClient | None) -> None:
        self._client = client
        self._local = Local()

    @classmethod
    def connect(cls, url: str, *, password: str | None = None) -> "Limits":
        """Choose where to count; nothing is connected before the first attempt.

        Args:
            url: Of Redis; empty to count in this process.
            password: Used when the URL has none.
        """
        if not url:
            return cls(None)
        return cls(connect(url, password, TIMEOUT_SECONDS))

    async def take(self, *attempts: Attempt) -> Standing:
        """Try, by one policy or by several in turn; the names must not be secret.

        Returns:
            The first refusal, after which the others do not count, or else what the last one says.
        """
        if self._client is not None:
            # The braces keep all names in one place of a cluster, so that one trip is enough.
            keys = [f"v1:{{limit}}:{policy.name}:{name}" for policy, name in attempts]
            bounds = [n for policy, _ in attempts for n in (policy.quota, policy.window * 1000)]
            try:
                which, left, wait, reset = await self._client.send(
                    "EVAL", TAKE, len(keys), *keys, *bounds
                )
            except StoreUnavailableError:
                pass
            else:
                return Standing(attempts[which][0], left, wait / 1000, reset / 1000)
        return self._local.take(*attempts)

    async def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            await self._client.close()
