"""Lock sampler: the waits that the bottlenecks page shows, in bounded memory."""

from vitals.db.locks.lock_sampler import MAX_PAIRS, LockSampler
from vitals.db.locks.lock_waits import LockWait


def wait(number: int, waited: float | None) -> LockWait:
    return LockWait(
        1, 2, waited, 9.0, f"waiting {number}", "blocking", "waiting", "blocking", "active",
        "shop", "psql", "me", "a row", advisory=False,
    )  # fmt: skip


def test_samples_are_aggregated_and_bounded() -> None:
    sampler = LockSampler()
    for number in range(2 * MAX_PAIRS):
        sampler.add([wait(number, float(number)), wait(number, None)])
    assert sampler.samples == 2 * MAX_PAIRS
    kept = list(sampler)
    assert len(kept) == MAX_PAIRS
    assert kept[0].longest == 2 * MAX_PAIRS - 1
    assert {pair.count for pair in kept} == {2}
