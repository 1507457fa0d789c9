"""Takes one of the steps out of the cache that keep it honest, in this process.

Each must be missed by the test of consistency; a step that nobody misses is not tested.
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

from service.cache import scripts
from service.cache.backend import Intent, Mark
from service.cache.bus import Bus
from service.cache.flights import Flights, Seat
from service.cache.redis import RedisBackend


def fence() -> None:
    """A loaded value is stored, whatever happened since the load began."""
    unchecked = scripts.FILL.replace(
        "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end", ""
    )
    assert unchecked != scripts.FILL
    mock.patch.object(scripts, "FILL", unchecked).start()


def retry() -> None:
    """Whoever joins a load believes what it brings."""
    join = Flights.join

    async def believe(self: Flights[Any], key: Any, start: Any) -> tuple[Any, Seat]:
        brought, _ = await join(self, key, start)
        return brought, Seat.PILOT

    mock.patch.object(Flights, "join", believe).start()


def intent() -> None:
    """Nothing is said before the commit."""

    async def silent(_self: RedisBackend, marks: tuple[Mark, ...]) -> Intent:
        return Intent(marks)

    mock.patch.object(RedisBackend, "intend", silent).start()


def bus() -> None:
    """What other processes invalidate is not heard."""
    mock.patch.object(Bus, "_hear").start()


MUTATIONS: dict[str, Callable[[], None]] = {
    "fence": fence,
    "retry": retry,
    "intent": intent,
    "bus": bus,
}


def apply(name: str) -> None:
    """Take a step out; none without a name."""
    if name:
        MUTATIONS[name]()
