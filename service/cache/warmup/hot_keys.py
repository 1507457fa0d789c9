"""Which keys are asked for most: counted in each process, kept for all in Redis."""

from collections import Counter

from service.cache.redis.client import RedisClient

COUNTED_KEYS = 1000
"""So many are counted in a process between two reports; the coldest are forgotten."""
KEPT_KEYS = 500
FADING = "0.9"
"""What a count is worth after the next report."""
LIFE_SECONDS = 24 * 3600

# KEYS counts; ARGV fading kept life_seconds, then pairs of count and key
REPORT = """
redis.call('ZUNIONSTORE', KEYS[1], 1, KEYS[1], 'WEIGHTS', ARGV[1])
for i = 4, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class HotKeys:
    """Counts keys of one namespace.

    Args:
        client: Of Redis.
        name: Where all processes' counts are.
    """

    def __init__(self, client: RedisClient, name: str) -> None:
        self._client = client
        self._name = name
        self._counts: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()

    def count(self, key: str) -> None:
        """Count a look-up."""
        self._counts[key] += 1
        if len(self._counts) > 2 * COUNTED_KEYS:
            self._counts = Counter(dict(self._counts.most_common(COUNTED_KEYS)))

    async def report(self) -> None:
        """Add what was counted to what others have counted.

        Raises:
            StoreUnavailableError: Redis does not answer; this round is lost.
        """
        counts, self._counts = dict(self._counts.most_common(KEPT_KEYS)), Counter()
        if not counts:
            return
        worth = {key: int(count * float(FADING)) for key, count in self._reported.items()}
        self._reported = Counter(dict((Counter(worth) + Counter(counts)).most_common(KEPT_KEYS)))
        pairs = (part for key, count in counts.items() for part in (count, key))
        await self._client.send(
            "EVAL", REPORT, 1, self._name, FADING, KEPT_KEYS, LIFE_SECONDS, *pairs
        )

    def repeat(self) -> None:
        """Count again what was reported: Redis has forgotten it."""
        self._counts.update(self._reported)
        self._reported.clear()

    async def top(self, count: int) -> list[str]:
        """The hottest keys.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        found = await self._client.send("ZREVRANGE", self._name, 0, count - 1)
        return [key.decode(errors="surrogateescape") for key in found]
