"""The invalidation queue holds undelivered intents, bounded in number and time."""

import asyncio

import pytest

from vitals.cache.core.store import (
    CacheInfo,
    InvalidationTarget,
    StoreUnavailableError,
    WriteIntent,
)
from vitals.cache.invalidation_queue import queue
from vitals.cache.invalidation_queue.queue import InvalidationQueue

pytestmark = pytest.mark.anyio

REGION = CacheInfo("number")
EVERYTHING = (InvalidationTarget("number", is_generation=True, info=REGION),)


class Store:
    """A store that accepts invalidations and intents while it is up."""

    def __init__(self) -> None:
        self.up = False
        self.delivered: list[WriteIntent] = []
        self.queue = InvalidationQueue(self.send, self.send_intent, lambda: EVERYTHING)

    async def send(self, _targets: tuple[InvalidationTarget, ...], _token: bytes = b"") -> None:
        if not self.up:
            raise StoreUnavailableError("bypass")

    async def send_intent(self, intent: WriteIntent) -> None:
        await self.send(intent.targets)
        self.delivered.append(intent)

    @property
    def trusted(self) -> bool:
        try:
            self.queue.check()
        except StoreUnavailableError:
            return False
        return True


def intent(number: int) -> WriteIntent:
    return WriteIntent(
        (InvalidationTarget(f"number:{number}", is_generation=False, info=REGION),), delivered=False
    )


async def until_trusted(store: Store) -> None:
    async with asyncio.timeout(10):
        while not store.trusted:
            await asyncio.sleep(0.005)


async def test_store_is_bypassed_until_held_intents_are_delivered() -> None:
    store, one = Store(), intent(1)
    assert store.trusted
    store.queue.hold(one)
    assert not store.trusted
    store.up = True
    store.queue.flush()
    await until_trusted(store)
    assert store.delivered == [one]


async def test_released_intent_is_not_held() -> None:
    store, one = Store(), intent(1)
    store.queue.hold(one)
    await store.queue.deliver(one.targets, one.token)
    assert not store.trusted  # now the invalidation is pending
    store.up = True
    store.queue.flush()
    await until_trusted(store)
    assert store.delivered == []
    await store.queue.close()


async def test_held_intent_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "INTENT_SECONDS", 0.05)
    store = Store()
    store.queue.hold(intent(1))
    assert not store.trusted
    await until_trusted(store)
    assert store.delivered == []


async def test_too_many_held_intents_become_everything() -> None:
    store = Store()
    for number in range(3 * queue.MAX_HELD_INTENTS):
        store.queue.hold(intent(number))
    store.up = True
    store.queue.flush()
    await until_trusted(store)
    assert len(store.delivered) == queue.MAX_HELD_INTENTS + 1
    assert store.delivered[-1].targets == EVERYTHING


async def test_store_that_fails_during_catch_up_is_bypassed() -> None:
    store = Store()
    store.queue.hold(intent(1))
    store.queue.flush()
    await asyncio.sleep(0.05)
    assert not store.trusted
    store.up = True
    store.queue.flush()
    await until_trusted(store)
    assert len(store.delivered) == 1
    await store.queue.close()
