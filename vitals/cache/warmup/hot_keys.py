"""Hot keys: the most requested keys, counted in each process and summed in Redis."""

from collections import Counter

from vitals.cache.redis.store import RedisStore

MAX_COUNTED_KEYS = 1000
"""In a process between two reports; the least requested are dropped."""
MAX_REPORTED_KEYS = 500
DECAY = "0.9"
"""Factor that each report applies to the older counts."""
LIFE_SECONDS = 24 * 3600

# KEYS counts; ARGV decay max_keys life_seconds, then pairs of count and key
REPORT = """
redis.call('ZUNIONSTORE', KEYS[1], 1, KEYS[1], 'WEIGHTS', ARGV[1])
for i = 4, #ARGV, 2 do redis.call('ZINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class HotKeys:
    """Counts the lookups of one namespace by key.

    Args:
        store: In Redis.
        name: Of the sorted set with all processes' counts.
    """

    def __init__(self, store: RedisStore, name: str) -> None:
        self._store = store
        self._name = name
        self._counts: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()

    def count(self, key: str) -> None:
        """Count a lookup."""
        self._counts[key] += 1
        if len(self._counts) > 2 * MAX_COUNTED_KEYS:
            self._counts = Counter(dict(self._counts.most_common(MAX_COUNTED_KEYS)))

    async def report(self) -> None:
        """Add this process's counts to those in Redis.

        Raises:
            StoreUnavailableError: Redis does not answer; these counts are lost.
        """
        counts, self._counts = dict(self._counts.most_common(MAX_REPORTED_KEYS)), Counter()
        if not counts:
            return
        worth = {key: int(count * float(DECAY)) for key, count in self._reported.items()}
        self._reported = Counter(
            dict((Counter(worth) + Counter(counts)).most_common(MAX_REPORTED_KEYS))
        )
        pairs = (part for key, count in counts.items() for part in (count, key))
        await self._store.client.send(
            "EVAL", REPORT, 1, self._name, DECAY, MAX_REPORTED_KEYS, LIFE_SECONDS, *pairs
        )

    def recount(self) -> None:
        """Count what was reported again: Redis has lost it."""
        self._counts.update(self._reported)
        self._reported.clear()

    async def top(self, count: int) -> list[str]:
        """Return the hottest keys.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        found = await self._store.client.send("ZREVRANGE", self._name, 0, count - 1)
        return [key.decode(errors="surrogateescape") for key in found]
