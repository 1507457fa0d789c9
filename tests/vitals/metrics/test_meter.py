import gc
import threading
from typing import Any, NamedTuple

import pytest

from vitals.metrics.catalogue import DROPPED, OTHER, Reason
from vitals.metrics.declarations import Counter, Gauge, Histogram, NoLabels
from vitals.metrics.meter import Meter


class Colour(NamedTuple):
    colour: str


HITS = Counter("hits_total", "Hits.", Colour)
LEVEL = Gauge("level", "Level.", NoLabels)
TIMES = Histogram("times_seconds", "Times.", Colour, (0.1, 1.0))
WAIT = Histogram("wait_seconds", "Wait.", NoLabels, (0.1, 1.0))


def dropped(meter: Meter, reason: str) -> float:
    return meter.counter(DROPPED).bind(Reason(reason)).value


def test_a_family_and_its_children_are_the_same_whenever_asked_for() -> None:
    meter = Meter()
    child = meter.counter(HITS).bind(Colour("red"))
    assert meter.counter(HITS).bind(Colour("red")) is child
    assert Meter().counter(HITS).bind(Colour("red")) is not child


def test_a_counter_never_falls() -> None:
    child = Meter().counter(HITS).bind(Colour("red"))
    child.inc(2)
    for amount in (-1, float("nan"), -float("inf")):
        child.inc(amount)
    assert child.value == 2


def test_a_value_on_a_bound_counts_below_it() -> None:
    child = Meter().histogram(WAIT).bind(NoLabels())
    for value in (0.1, 0.100001, 1.0, 5.0, float("nan")):
        child.observe(value)
    assert list(child.counts) == [1, 2, 1]


def test_further_bounds_are_sorted_in() -> None:
    child = Meter().histogram(WAIT, also=(0.5, 0.1)).bind(NoLabels())
    assert tuple(child.bounds) == (0.1, 0.5, 1.0)


def test_a_metric_stays_bounded_and_says_what_it_left_out() -> None:
    meter = Meter(series_per_metric=3)
    for number in range(100):
        meter.counter(HITS).bind(Colour(str(number))).inc()
    children = meter.counter(HITS).children
    assert len(children) == 4
    assert children[(OTHER,)].value == 97
    assert sum(child.value for child in children.values()) == 100
    assert dropped(meter, "series") == 97


def test_all_metrics_together_stay_below_what_prometheus_takes() -> None:
    meter = Meter(samples=100)
    for number in range(1_000):
        meter.histogram(TIMES).bind(Colour(str(number))).observe(1)
        meter.counter(HITS).bind(Colour(str(number))).inc()
    lines = sum(len(f.children) * f.lines for f in (meter.histogram(TIMES), meter.counter(HITS)))
    assert lines <= 100 + meter.histogram(TIMES).lines + 1
    assert meter.counter(HITS).bind(Colour(OTHER)).value > 900


def test_threads_lose_no_update() -> None:
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
    assert sum(wait.counts) == 80_000
    assert wait.total == 40_000
    assert level.value == 0


def test_recording_may_be_re_entered_by_the_garbage_collector() -> None:
    meter = Meter()
    child = meter.histogram(WAIT).bind(NoLabels())

    class Lost:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            child.observe(0.5)

    def name() -> str:
        Lost()
        gc.collect()
        return "0" * 32

    child.observe(0.5, name)
    assert sum(child.counts) == 2


def test_an_exemplar_is_named_once_a_second_and_only_when_it_has_a_name() -> None:
    child = Meter().histogram(WAIT).bind(NoLabels())
    asked: list[str] = []

    def name() -> str:
        asked.append("asked")
        return "a" * 32 if len(asked) > 1 else ""

    child.observe(0.5, name)
    assert child.exemplars[1] is None
    for _ in range(5):
        child.observe(0.5, name)
    assert len(asked) == 2
    assert child.exemplars[1] is not None
    assert child.exemplars[1][:2] == ("a" * 32, 0.5)


def test_a_gauge_that_cannot_be_refreshed_costs_only_itself() -> None:
    meter = Meter()
    meter.gauge(LEVEL).bind(NoLabels()).set(3)
    meter.before_scrape(lambda: 1 / 0)  # type: ignore[arg-type]
    assert {total.metric.name for total in meter.collect()} == {"vitals_dropped_total", "level"}
    assert dropped(meter, "refresh_failed") == 1


def test_all_metrics_together_stay_bounded() -> None:
    meter = Meter(samples=8)  # a gauge, a histogram of five lines, two counters
    meter.gauge(LEVEL).bind(NoLabels())
    for number in range(10):
        meter.counter(HITS).bind(Colour(str(number))).inc()
        meter.histogram(WAIT).bind(NoLabels()).observe(1)
    kept = meter.counter(HITS).children
    assert [labels[0] for labels in kept] == ["0", "1", OTHER]
    assert sum(child.value for child in kept.values()) == 10
    assert sum(meter.histogram(WAIT).bind(NoLabels()).counts) == 10
    assert dropped(meter, "series") >= 8


@pytest.mark.parametrize("labels", [("red", "large"), (), NoLabels()])
def test_wrong_labels_are_counted_not_raised(labels: Any) -> None:
    meter = Meter()
    meter.counter(HITS).bind(labels).inc()
    assert list(meter.counter(HITS).children) == [(OTHER,)]
    assert dropped(meter, "wrong_labels") == 1
