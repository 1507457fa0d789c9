"""The benchmark of the cache says which promises do not hold."""

from dataclasses import replace

import pytest

from bench.cache import hits, lists, outages, profile, races, soak
from bench.cache.hits import DECODED, NEAR, RAW, RENDERED, Hits
from bench.cache.outages import Outage
from bench.cache.races import FLAWLESS, OURS
from bench.cache.soak import Soak

GOOD = Hits(
    {RAW: 100e-6, RENDERED: 105e-6, DECODED: 130e-6, NEAR: 1e-6, "cashews": 200e-6},
    {RAW: 105e-6, RENDERED: 30e-6, DECODED: 35e-6, NEAR: 1e-6, "cashews": 100e-6},
)


def test_a_good_run_breaks_no_promise() -> None:
    part = hits.part({"200 B": GOOD})
    assert part.broken == []
    assert part.figures["200 B"]["ratios"] == {
        "latency to GET": 1.05,
        "throughput to GETs": 3.5,
        "throughput to GETs, decoded": 3.0,
        "throughput to the best peer": 3.333,
    }
    assert ["ours, as sent, 200 B", "105.0", "1.050", "33,333", "3.50"] in part.rows


@pytest.mark.parametrize(
    ("measure", "way", "seconds", "said"),
    [
        ("alone", RENDERED, 111e-6, "more than 1.1 of a GET"),
        ("alone", NEAR, 2.1e-6, "more than 2 µs"),
        ("together", RENDERED, 50e-6, "throughput to GETs with 5 kB is below 3.0"),
        ("together", DECODED, 80e-6, "throughput to GETs, decoded with 5 kB is below 1.5"),
        ("together", "cashews", 80e-6, "the best peer with 5 kB is below 3.0"),
    ],
)
def test_slow_hits_are_named(measure: str, way: str, seconds: float, said: str) -> None:
    slow = replace(GOOD, **{measure: getattr(GOOD, measure) | {way: seconds}})
    broken = hits.part({"5 kB": slow}).broken
    assert any(said in sentence for sentence in broken)


def test_one_load_too_many_is_named() -> None:
    assert races.part({OURS: FLAWLESS}).broken == []
    assert "loads_of_four=4" in races.part({OURS: replace(FLAWLESS, loads_of_four=4)}).broken[0]


def test_late_and_failed_callers_are_named() -> None:
    assert outages.part({"frozen": Outage(0, 0.24, 1, 1.0)}).broken == []
    broken = outages.part({"killed": Outage(1, 0.26, 2, 2.5)}).broken
    assert len(broken) == 4
    assert all("killed" in sentence for sentence in broken)


def test_a_soak_test_that_ends_badly_is_named() -> None:
    good = Soak(600, calls=9, recovery={"killed": 1.9}, faults=1, in_use=True)
    assert soak.part(good).broken == []
    bad = replace(good, failed=1, recovery={"killed": 2.1}, in_use=False)
    assert len(soak.part(bad).broken) == 3


def test_a_profile_that_caching_would_serve_better_is_named() -> None:
    pays = {profile.CACHED: 0.5, profile.PLAIN: 1.0}
    costs = {profile.CACHED: 1.1, profile.PLAIN: 1.0}
    assert profile.part({"seconds": pays, "processor": pays}).broken
    assert profile.part({"seconds": pays, "processor": costs}).broken == []


def test_a_cached_list_that_does_not_pay_is_named() -> None:
    assert lists.part({lists.CACHED: 0.001, lists.UNCACHED: 0.01}).broken == []
    assert lists.part({lists.CACHED: 0.009, lists.UNCACHED: 0.01}).broken
