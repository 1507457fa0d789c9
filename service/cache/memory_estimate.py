"""How much memory the cache needs: what Redis holds now, measured, and what it would hold.

In a cluster each master needs its own limit: for what is in its hash slots now, or for its share of
the slots of what there will be.

``MEMORY USAGE`` of a key leaves out about 70 bytes (its place in the table of expiries, and what
the allocator rounds up): 20,000 keys of 165 bytes grew ``used_memory`` by 338 bytes each, and
5.26 kB each at 4.7 kB. The rest of the factor is fragmentation and the keys of loads and writes.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

HIDDEN_BYTES = 70
RESERVE = 1.3
SCANNED = 50_000
"""So many keys are looked at; what else there is, is taken to be like them."""
SAMPLED = 200
_VALUE = re.compile(rb"v\d+:\{([a-z][a-z0-9_-]*):.*\}", re.DOTALL)


@dataclass(frozen=True)
class Share:
    """The memory of one namespace.

    Attributes:
        keys: How many values there are, or will be.
        bytes_each: Of a key with its value, on the average.
    """

    keys: int
    bytes_each: float

    @property
    def total(self) -> float:
        """Bytes, with the reserve."""
        return self.keys * self.bytes_each * RESERVE


@dataclass(frozen=True)
class Limit:
    """What a server allows itself.

    Attributes:
        bytes: ``maxmemory``; 0 for none.
        policy: What it does at the limit.
        used: What it uses now, bytes.
    """

    bytes: int
    policy: str
    used: int


@dataclass(frozen=True)
class Estimate:
    """The memory of one server.

    Attributes:
        shares: By namespace.
        limit: What it has now; None for one that is only thought of.
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
        wanted: How many keys a namespace will have, where it is not as many as now.
        share: Which part of these it will hold.
    """
    [estimate] = _measure(client, wanted, [share])
    memory, settings = client.info("memory"), client.config_get("maxmemory*")
    limit = Limit(
        int(settings["maxmemory"]), settings["maxmemory-policy"], int(memory["used_memory"])
    )
    return Estimate(estimate.shares, limit)


def spread(client: Any, wanted: Mapping[str, int], masters: int) -> list[Estimate]:
    """Say what each master of a cluster would need for what one Redis holds.

    Args:
        client: To that Redis; only reads.
        wanted: As above.
        masters: Each with as many slots as the others.
    """
    return _measure(client, wanted, [1 / masters] * masters)


def _measure(client: Any, wanted: Mapping[str, int], shares: list[float]) -> list[Estimate]:
    counts: list[Counter[str]] = [Counter() for _ in shares]
    sizes: dict[str, list[int]] = {}
    scanned = 0
    for name in client.scan_iter(match="v*:{*", count=1000):
        scanned += 1
        found = _VALUE.fullmatch(name)
        if found is not None:
            namespace = found[1].decode()
            counts[key_slot(name) * len(shares) // REDIS_CLUSTER_HASH_SLOTS][namespace] += 1
            sample = sizes.setdefault(namespace, [])
            if len(sample) < SAMPLED:
                sample.append(client.memory_usage(name, samples=0) or 0)
        if scanned >= SCANNED:
            break
    unseen = max(client.dbsize() / scanned, 1) if scanned >= SCANNED else 1
    each = {name: sum(sizes[name]) / len(sizes[name]) + HIDDEN_BYTES for name in sorted(sizes)}
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
