"""The cache benchmark reports exceeded budgets."""

from dataclasses import replace

import pytest

from bench.cache import hits, lists, outages, profile, races, soak
from bench.cache.hits import DECODED, L1, RAW, RENDERED, Hits
from bench.cache.outages import Outage
from bench.cache.races import EXPECTED, OURS
from bench.cache.soak import Soak

GOOD = Hits(
    {RAW: 100e-6, RENDERED: 105e-6, DECODED: 130e-6, L1: 1e-6, "cashews": 200e-6},
    {RAW: 105e-6, RENDERED: 30e-6, DECODED: 35e-6, L1: 1e-6, "cashews": 100e-6},
)


def test_a_good_run_exceeds_no_budget() -> None:
    result = hits.evaluate({"200 B": GOOD})
    assert result.exceeded == []
    assert result.figures["200 B"]["ratios"] == {
        "latency to GET": 1.05,
        "throughput to GETs": 3.5,
        "throughput to GETs, decoded": 3.0,
        "throughput to the best alternative": 3.333,
    }
    assert ["ours, as sent, 200 B", "105.0", "1.050", "33,333", "3.50"] in result.rows


@pytest.mark.parametrize(
    ("measure", "variant", "seconds", "output"),
    [
        ("alone", RENDERED, 111e-6, "more than 1.1 of a GET"),
        ("alone", L1, 2.1e-6, "more than 2 µs"),
        ("together", RENDERED, 50e-6, "throughput to GETs with 5 kB is below 3.0"),
        ("together", DECODED, 80e-6, "throughput to GETs, decoded with 5 kB is below 1.5"),
        ("together", "cashews", 80e-6, "the best alternative with 5 kB is below 3.0"),
    ],
)
def test_slow_hits_are_reported(measure: str, variant: str, seconds: float, output: str) -> None:
    slow = replace(GOOD, **{measure: getattr(GOOD, measure) | {variant: seconds}})
    exceeded = hits.evaluate({"5 kB": slow}).exceeded
    assert any(output in sentence for sentence in exceeded)


def test_an_extra_load_is_reported() -> None:
    assert races.evaluate({OURS: EXPECTED}).exceeded == []
    assert (
        "loads_of_four=4" in races.evaluate({OURS: replace(EXPECTED, loads_of_four=4)}).exceeded[0]
    )


def test_late_and_failed_callers_are_reported() -> None:
    assert outages.evaluate({"frozen": Outage(0, 0.24, 1, 1.0)}).exceeded == []
    exceeded = outages.evaluate({"killed": Outage(1, 0.26, 2, 2.5)}).exceeded
    assert len(exceeded) == 4
    assert all("killed" in sentence for sentence in exceeded)


def test_a_failed_soak_test_is_reported() -> None:
    good = Soak(600, calls=9, recovery={"killed": 1.9}, faults=1, in_use=True)
    assert soak.evaluate(good).exceeded == []
    bad = replace(good, failed=1, recovery={"killed": 2.1}, in_use=False)
    assert len(soak.evaluate(bad).exceeded) == 3


def test_a_profile_worth_caching_is_reported() -> None:
    pays = {profile.CACHED: 0.5, profile.PLAIN: 1.0}
    costs = {profile.CACHED: 1.1, profile.PLAIN: 1.0}
    assert profile.evaluate({"seconds": pays, "processor": pays}).exceeded
    assert profile.evaluate({"seconds": pays, "processor": costs}).exceeded == []


def test_a_cached_list_that_is_too_slow_is_reported() -> None:
    assert lists.evaluate({lists.CACHED: 0.001, lists.UNCACHED: 0.01}).exceeded == []
    assert lists.evaluate({lists.CACHED: 0.009, lists.UNCACHED: 0.01}).exceeded
