"""Estimate of the memory that the cache needs, from a sample of what Redis holds.

In a cluster each master needs its own limit: for the keys in its hash slots now, or for its share
of the expected keys.

``MEMORY USAGE`` of a key leaves out about 70 bytes (its entry in the expires table, and the
allocator's rounding): 20,000 keys of 165 bytes grew ``used_memory`` by 338 bytes each, and
5.26 kB each at 4.7 kB. The rest of the factor is fragmentation and the keys of loads and writes.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

KEY_OVERHEAD_BYTES = 70
RESERVE = 1.3
MAX_SCANNED_KEYS = 50_000
"""The rest is assumed to have the same distribution."""
SAMPLES_PER_NAMESPACE = 200
_VALUE = re.compile(rb"[^{}]*v\d+:\{([a-z][a-z0-9_-]*):.*\}", re.DOTALL)


@dataclass(frozen=True)
class Share:
    """Memory of one namespace.

    Attributes:
        keys: Number of values, present or expected.
        bytes_each: Of a key with its value, on average.
    """

    keys: int
    bytes_each: float

    @property
    def total(self) -> float:
        """Bytes, with the reserve."""
        return self.keys * self.bytes_each * RESERVE


@dataclass(frozen=True)
class Limit:
    """Memory limit of a server.

    Attributes:
        bytes: ``maxmemory``; 0 for none.
        policy: ``maxmemory-policy``.
        used: Bytes in use.
    """

    bytes: int
    policy: str
    used: int


@dataclass(frozen=True)
class Estimate:
    """Memory of one server.

    Attributes:
        shares: By namespace.
        limit: Its limit; None for a planned server.
    """

    shares: Mapping[str, Share]
    limit: Limit | None = None

    @property
    def total(self) -> float:
        """Bytes needed."""
        return sum(share.total for share in self.shares.values())


def measure(client: Any, wanted: Mapping[str, int], share: float = 1.0) -> Estimate:
    """Measure a sample of what a Redis holds.

    Args:
        client: To it; only reads.
        wanted: Expected keys by namespace, where they differ from the present number.
        share: Fraction of these that it will hold.
    """
    [estimate] = _measure(client, wanted, [share])
    memory, settings = client.info("memory"), client.config_get("maxmemory*")
    limit = Limit(
        int(settings["maxmemory"]), settings["maxmemory-policy"], int(memory["used_memory"])
    )
    return Estimate(estimate.shares, limit)


def spread(client: Any, wanted: Mapping[str, int], masters: int) -> list[Estimate]:
    """Estimate each master of a cluster that would hold what one Redis holds.

    Args:
        client: To that Redis; only reads.
        wanted: As above.
        masters: Their number; all have as many slots.
    """
    return _measure(client, wanted, [1 / masters] * masters)


def _measure(client: Any, wanted: Mapping[str, int], shares: list[float]) -> list[Estimate]:
    counts: list[Counter[str]] = [Counter() for _ in shares]
    sizes: dict[str, list[int]] = {}
    scanned = 0
    for name in client.scan_iter(match="*v*:{*", count=1000):
        scanned += 1
        found = _VALUE.fullmatch(name)
        if found is not None:
            namespace = found[1].decode()
            counts[key_slot(name) * len(shares) // REDIS_CLUSTER_HASH_SLOTS][namespace] += 1
            sample = sizes.setdefault(namespace, [])
            if len(sample) < SAMPLES_PER_NAMESPACE:
                sample.append(client.memory_usage(name, samples=0) or 0)
        if scanned >= MAX_SCANNED_KEYS:
            break
    unseen = max(client.dbsize() / scanned, 1) if scanned >= MAX_SCANNED_KEYS else 1
    each = {
        name: sum(sizes[name]) / len(sizes[name]) + KEY_OVERHEAD_BYTES for name in sorted(sizes)
    }
    return [
        Estimate(
            {
                name: Share(
                    math.ceil(wanted[name] * share if name in wanted else count[name] * unseen),
                    bytes_each,
                )
                for name, bytes_each in each.items()
            }
        )
        for share, count in zip(shares, counts, strict=True)
    ]
