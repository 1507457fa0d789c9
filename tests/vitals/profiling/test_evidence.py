"""What samples of a loop that does not turn prove, and what they do not."""

from typing import Any

import pytest

from vitals.metrics.catalogue import GC, MANY_CALLBACKS, OTHER_THREADS, UNKNOWN
from vitals.profiling.evidence import Held, Sample, conclude
from vitals.profiling.stacks import Line, Stack

ONE, OTHER = object(), object()
CALLER = Line("shop.api", "orders", "/shop/api.py", 7)


def line(number: int, function: str = "total") -> Line:
    return Line("shop.orders", function, "/shop/orders.py", number)


def sample(at: float, number: int = 57, step: float = 0.01, **more: Any) -> Sample:
    given: dict[str, Any] = {
        "since": at - step,
        "wanted": at,
        "taken": at,
        "callback": ONE,
        "stack": Stack((line(number), CALLER), "requests.api:get"),
    }
    return Sample(**given | more)


def held(samples: list[Sample], end: float, **more: Any) -> list[Held]:
    given: dict[str, Any] = {"collected": lambda _a, _b: 0.0, "waited": 0.0, "min_proof": 0.025}
    return conclude(samples, 0.0, end, **given | more)


def sites(found: list[Held]) -> dict[str, float]:
    return {each.site: round(each.seconds, 3) for each in found}


def test_the_line_of_all_samples_held_the_loop() -> None:
    (found,) = held([sample(at) for at in (0.05, 0.06, 0.07, 0.08)], 0.1)
    assert (found.site, round(found.seconds, 3)) == ("shop.orders:total:57", 0.1)
    assert found.callee == "requests.api:get"


def test_two_samples_within_short_time_prove_nothing() -> None:
    assert sites(held([sample(0.05), sample(0.06)], 0.062)) == {UNKNOWN: 0.062}


def test_many_callbacks_are_nobodys_line() -> None:
    samples = [sample(0.02 + n * 0.01, callback=[ONE, OTHER][n % 2]) for n in range(8)]
    assert sites(held(samples, 0.1)) == {MANY_CALLBACKS: 0.1}


def test_two_lines_of_one_callback_share_its_time() -> None:
    samples = [sample(0.01 * n, 57 if n <= 5 else 60) for n in range(1, 11)]
    found = sites(held(samples, 0.1))
    assert found == {"shop.orders:total:57": 0.06, "shop.orders:total:60": 0.04}


def test_a_line_that_one_look_has_seen_on_time_is_not_named() -> None:
    samples = [sample(0.04, 50, step=0.04), *(sample(0.04 + 0.01 * n) for n in range(1, 7))]
    assert sites(held(samples, 0.1)) == {"shop.orders:total:57": 0.1}


def test_a_loop_over_many_lines_is_the_busiest_line_of_its_function() -> None:
    inner = [Stack((line(n, f"part{n}"), line(57 + (n == 2)), CALLER), "") for n in range(10)]
    samples = [sample(0.01 * (n + 1), stack=stack) for n, stack in enumerate(inner)]
    assert sites(held(samples, 0.1)) == {"shop.orders:total:57": 0.1}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"ran": 0.098}, True),
        ({"ran": 0.05, "starved": 0.05}, True),
        ({"ran": 0.0}, False),
        ({"ran": None}, False),
        ({"ran": 0.098, "others_ran": 0.05}, False),
        ({"ran": 0.098, "waited": 0.05}, False),
    ],
    ids=["ran", "starved within", "slept", "unknown", "others ran", "asked late"],
)
def test_a_late_sample_proves_one_call_only_if_nothing_else_explains_it(
    more: dict[str, Any], *, named: bool
) -> None:
    only = sample(0.1, since=0.0, wanted=0.01, **more)
    found = sites(held([only], 0.101, waited=more.get("starved", 0.0)))
    assert ("shop.orders:total:57" in found) is named


def test_waiting_for_the_interpreters_lock_of_others_proves_nothing() -> None:
    late = [
        Sample(n * 0.05, n * 0.05 + 0.01, (n + 1) * 0.05, ONE, sample(1).stack, ran=0.001)
        for n in range(4)
    ]
    assert sites(held(late, 0.2)) == {UNKNOWN: 0.2}


def test_a_thread_without_a_cpu_proves_nothing_though_it_is_counted_late() -> None:
    """The kernel counts a wait for a CPU when it is over, which no sample has seen."""
    samples = [sample(0.01 * n) for n in range(1, 8)]
    assert "shop.orders:total:57" not in sites(held(samples, 0.13, waited=0.06))


def test_an_idle_loop_waits_for_other_threads() -> None:
    idle = [sample(0.05 + 0.01 * n, callback=None, stack=None) for n in range(3)]
    assert sites(held(idle, 0.1)) == {OTHER_THREADS: 0.1}


def test_a_collection_is_told_apart_from_the_line() -> None:
    def collected(start: float, end: float) -> float:
        return max(0.0, min(end, 0.09) - max(start, 0.02))

    samples = [sample(0.01), sample(0.09, since=0.01, wanted=0.02, ran=0.07), sample(0.1)]
    found = sites(held(samples, 0.1, collected=collected))
    assert found == {GC: 0.07, UNKNOWN: 0.03}
    more = [*samples, *(sample(0.1 + 0.01 * n) for n in range(1, 4))]
    assert sites(held(more, 0.13, collected=collected)) == {GC: 0.07, "shop.orders:total:57": 0.06}
