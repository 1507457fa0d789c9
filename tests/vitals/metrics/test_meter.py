import gc
import threading
from typing import Any, NamedTuple

import pytest

from tests.vitals.metrics.recorded import counts, exemplars, total
from vitals.metrics.catalogue import DROPPED, OTHER, ReasonLabels
from vitals.metrics.declarations import Counter, Gauge, Histogram, NoLabels
from vitals.metrics.meter import Meter


class Colour(NamedTuple):
    colour: str


HITS = Counter("hits_total", "Hits.", Colour)
LEVEL = Gauge("level", "Level.", NoLabels)
TIMES = Histogram("times_seconds", "Times.", Colour, (0.1, 1.0))
WAIT = Histogram("wait_seconds", "Wait.", NoLabels, (0.1, 1.0))


def dropped(meter: Meter, reason: str) -> float:
    return meter.counter(DROPPED).bind(ReasonLabels(reason)).value


def test_families_and_children_are_cached() -> None:
    meter = Meter()
    child = meter.counter(HITS).bind(Colour("red"))
    assert meter.counter(HITS).bind(Colour("red")) is child
    assert Meter().counter(HITS).bind(Colour("red")) is not child


def test_a_counter_never_decreases() -> None:
    child = Meter().counter(HITS).bind(Colour("red"))
    child.inc(2)
    for amount in (-1, float("nan"), -float("inf")):
        child.inc(amount)
    assert child.value == 2


def test_a_value_equal_to_a_bound_belongs_to_its_bucket() -> None:
    child = Meter().histogram(WAIT).bind(NoLabels())
    for value in (0.1, 0.100001, 1.0, 5.0, float("nan")):
        child.observe(value)
    assert counts(child) == [1, 2, 1]


def test_extra_bounds_are_merged_and_sorted() -> None:
    child = Meter().histogram(WAIT, extra_bounds=(0.5, 0.1)).bind(NoLabels())
    assert tuple(child.bounds) == (0.1, 0.5, 1.0)


def test_series_per_metric_are_limited_and_drops_counted() -> None:
    meter = Meter(series_per_metric=3)
    for number in range(100):
        meter.counter(HITS).bind(Colour(str(number))).inc()
    children = meter.counter(HITS).children
    assert len(children) == 4
    assert children[(OTHER,)].value == 97
    assert sum(child.value for child in children.values()) == 100
    assert dropped(meter, "series") == 97


def test_total_samples_stay_below_the_limit() -> None:
    meter = Meter(samples=100)
    for number in range(1_000):
        meter.histogram(TIMES).bind(Colour(str(number))).observe(1)
        meter.counter(HITS).bind(Colour(str(number))).inc()
    lines = sum(
        len(f.children) * f.samples_per_series
        for f in (meter.histogram(TIMES), meter.counter(HITS))
    )
    assert lines <= 100 + meter.histogram(TIMES).samples_per_series + 1
    assert meter.counter(HITS).bind(Colour(OTHER)).value > 900


def test_concurrent_updates_are_not_lost() -> None:
    meter = Meter()
    hits, wait = meter.counter(HITS).bind(Colour("red")), meter.histogram(WAIT).bind(NoLabels())
    level = meter.gauge(LEVEL).bind(NoLabels())

    def work() -> None:
        for _ in range(20_000):
            hits.inc()
            wait.observe(0.5)
            level.inc()
            level.dec()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hits.value == 80_000
    assert sum(counts(wait)) == 80_000
    assert total(wait) == 40_000
    assert level.value == 0


def test_the_garbage_collector_may_re_enter_recording() -> None:
    meter = Meter()
    child = meter.histogram(WAIT).bind(NoLabels())

    class SelfReferencing:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            child.observe(0.5)

    def name() -> str:
        SelfReferencing()
        gc.collect()
        return "0" * 32

    child.observe(0.5, name)
    assert sum(counts(child)) == 2


def test_an_exemplar_is_replaced_once_per_interval_and_only_with_a_trace_id() -> None:
    child = Meter().histogram(WAIT).bind(NoLabels())
    calls: list[str] = []

    def name() -> str:
        calls.append("called")
        return "a" * 32 if len(calls) > 1 else ""

    child.observe(0.5, name)
    assert exemplars(child)[1] is None
    for _ in range(5):
        child.observe(0.5, name)
    assert len(calls) == 2
    newest = exemplars(child)[1]
    assert newest is not None
    assert newest[:2] == ("a" * 32, 0.5)


def test_a_failing_gauge_callback_leaves_other_metrics_intact() -> None:
    meter = Meter()
    meter.gauge(LEVEL).bind(NoLabels()).set(3)
    meter.before_scrape(lambda: 1 / 0)  # type: ignore[arg-type]
    assert {total.metric.name for total in meter.collect()} == {"vitals_dropped_total", "level"}
    assert dropped(meter, "refresh_failed") == 1


def test_total_samples_are_limited() -> None:
    meter = Meter(samples=8)  # a gauge, a histogram of five lines, two counters
    meter.gauge(LEVEL).bind(NoLabels())
    for number in range(10):
        meter.counter(HITS).bind(Colour(str(number))).inc()
        meter.histogram(WAIT).bind(NoLabels()).observe(1)
    children = meter.counter(HITS).children
    assert [labels[0] for labels in children] == ["0", "1", OTHER]
    assert sum(child.value for child in children.values()) == 10
    assert sum(counts(meter.histogram(WAIT).bind(NoLabels()))) == 10
    assert dropped(meter, "series") >= 8


@pytest.mark.parametrize("labels", [("red", "large"), (), NoLabels()])
def test_wrong_labels_are_counted_not_raised(labels: Any) -> None:
    meter = Meter()
    meter.counter(HITS).bind(labels).inc()
    assert list(meter.counter(HITS).children) == [(OTHER,)]
    assert dropped(meter, "wrong_labels") == 1
