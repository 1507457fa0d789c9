"""Compares the exported metrics with those of prometheus_client after the same operations."""

import itertools
import shutil
import subprocess
import threading
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import prometheus_client
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from vitals.metrics import aggregation
from vitals.metrics.aggregation import SeriesIndex, SeriesRegistry, StoreSource, aggregate, compact
from vitals.metrics.declarations import Counter, Gauge, Histogram, MultiprocessMode, NoLabels
from vitals.metrics.meter import Meter
from vitals.metrics.mmap_store import MmapStore
from vitals.metrics.text_format import render


class Labels(NamedTuple):
    word: str
    tone: str


HITS = Counter("hits_total", "Hits \\ and\nmore.", Labels)
PLAIN = Counter("plain_total", "No labels.", NoLabels)
LEVEL = Gauge("level", "Level.", Labels)
WAIT = Histogram("wait_seconds", "Wait.", Labels, (0.1, 0.25, 1.0))
BARE = Histogram("bare_bytes", "Bare.", NoLabels, (256.0, 1024.0))
METRICS = (HITS, PLAIN, LEVEL, WAIT, BARE)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
labels = st.builds(Labels, words, st.sampled_from(["", "loud", 'a"b\\c\nd%s', "\0"]))
amounts = st.floats(0, 1e9)
operations = st.lists(
    st.one_of(
        st.tuples(st.just(HITS), labels, amounts),
        st.tuples(st.just(PLAIN), st.just(NoLabels()), amounts),
        st.tuples(st.just(LEVEL), labels, st.floats(-1e9, 1e9)),
        st.tuples(st.just(WAIT), labels, st.floats(0, 2)),
        st.tuples(st.just(BARE), st.just(NoLabels()), amounts),
    ),
    max_size=40,
)
Operations = list[tuple[Any, Any, float]]


def record(meter: Meter, recorded: Operations) -> None:
    for metric, bound, amount in recorded:
        if isinstance(metric, Counter):
            meter.counter(metric).bind(bound).inc(amount)
        elif isinstance(metric, Gauge):
            meter.gauge(metric).bind(bound).inc(amount)
        else:
            meter.histogram(metric).bind(bound).observe(amount)


def record_with_prometheus_client(recorded: Operations) -> CollectorRegistry:
    registry = CollectorRegistry()
    make: dict[str, Callable[..., Any]] = {
        "counter": prometheus_client.Counter,
        "gauge": prometheus_client.Gauge,
        "histogram": prometheus_client.Histogram,
    }
    used = [metric for metric in METRICS if any(metric is each for each, _, _ in recorded)]
    families = {
        metric.name: make[metric.kind](
            metric.name,
            metric.help,
            metric.label_names,
            registry=registry,
            **({"buckets": metric.buckets} if isinstance(metric, Histogram) else {}),
        )
        for metric in used
    }
    for metric, bound, amount in recorded:
        child = families[metric.name].labels(*bound) if bound else families[metric.name]
        (child.observe if metric.kind == "histogram" else child.inc)(amount)
    return registry


def samples(families: Any) -> dict[Any, Any]:
    """Every family and sample except ``_created``, which Prometheus does not read."""
    found: dict[Any, Any] = {}
    for family in families:
        if family.name.endswith("_created"):
            continue
        found[family.name] = (family.type, family.documentation)
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = round(sample.value, 3)
    return found


def text(families: Any, *, as_openmetrics: bool) -> str:
    end = "# EOF\n" if as_openmetrics else ""
    return "".join(render(families, as_openmetrics=as_openmetrics)) + end


@settings(deadline=None)
@given(operations)
def test_one_process_exports_the_same_as_prometheus_client(recorded: Operations) -> None:
    meter, registry = Meter(), record_with_prometheus_client(recorded)
    record(meter, recorded)
    assert samples(parse_text(text(meter.collect(), as_openmetrics=False))) == samples(
        parse_text(prometheus_client.generate_latest(registry).decode())
    )
    scrape = text(meter.collect(exemplars=True), as_openmetrics=True)
    expected = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    assert samples(parse_openmetrics(scrape)) == samples(parse_openmetrics(expected))  # type: ignore[no-untyped-call]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(operations, st.booleans(), st.booleans()), max_size=5))
def test_several_workers_export_the_same_as_one_process(
    workers: list[tuple[Operations, bool, bool]],
) -> None:
    """Each worker records something, then lives or dies; dead ones may have been compacted."""
    registry = SeriesRegistry()
    sources, to_compact, cumulative, gauges = [], [], [], []
    for recorded, alive, compacted in workers:
        meter = Meter()
        record(meter, recorded)
        index = SeriesIndex(registry)
        index.update(meter.store.segments)
        cumulative += [each for each in recorded if each[0] is not LEVEL]
        gauges += [each for each in recorded if each[0] is LEVEL and alive]
        if compacted and not alive:
            to_compact.append(index)
        else:
            sources.append(StoreSource(index, alive))
    dead = MmapStore()
    compact(to_compact, dead)
    rest = SeriesIndex(registry)
    rest.update(dead.segments)
    together = aggregate([*sources, StoreSource(rest, alive=False)], exemplars=False)
    expected = record_with_prometheus_client(cumulative + gauges)
    assert samples(parse_text(text(together, as_openmetrics=False))) == samples(
        parse_text(prometheus_client.generate_latest(expected).decode())
    )


shares = st.lists(st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=4), min_size=2, max_size=6)


@settings(deadline=None)
@given(shares, st.randoms(use_true_random=False))
def test_a_sum_never_decreases_when_workers_change_or_die(
    workers: list[list[float]], random: Random
) -> None:
    """Prometheus takes a decrease in the last digit for a reset and shows a spike."""
    registry = SeriesRegistry()
    indexes = []
    for amounts_seen in workers:
        meter = Meter()
        for amount in amounts_seen:
            meter.counter(PLAIN).bind(NoLabels()).inc(amount)
        indexes.append(SeriesIndex(registry))
        indexes[-1].update(meter.store.segments)

    def total(read: list[SeriesIndex]) -> float:
        (found,) = aggregate([StoreSource(each, alive=True) for each in read], exemplars=False)
        return found.series[0].values[0]

    expected = total(indexes)
    assert total(random.sample(indexes, len(indexes))) == expected
    while len(indexes) > 1:
        random.shuffle(indexes)
        store = MmapStore()
        compact(indexes[:2], store)
        indexes[:2] = [SeriesIndex(registry)]
        indexes[0].update(store.segments)
        assert total(indexes) == expected


def test_the_newest_exemplar_wins_even_of_dead_workers() -> None:
    registry, sources = SeriesRegistry(), []
    for name in ("a" * 32, "b" * 32):
        meter = Meter()
        meter.histogram(WAIT).bind(Labels("x", "y")).observe(0.5, lambda name=name: name)  # type: ignore[misc]
        index = SeriesIndex(registry)
        index.update(meter.store.segments)
        sources.append(StoreSource(index, alive=False))
    store = MmapStore()
    compact([source.series_index for source in sources], store)
    compacted = SeriesIndex(registry)
    compacted.update(store.segments)
    for read in (sources, [StoreSource(compacted, alive=False)]):
        (total,) = aggregate(read, exemplars=True)
        assert [e and e[0] for e in total.series[0].exemplars] == [None, None, "b" * 32, None]


def test_gauges_are_merged_by_their_multiprocess_mode() -> None:
    registry, sources = SeriesRegistry(), []
    ways: tuple[MultiprocessMode, ...] = ("sum", "max", "min")
    gauges = [Gauge(f"level_{how}", "Level.", NoLabels, multiprocess_mode=how) for how in ways]
    for value in (3.0, 1.0, 2.0):
        meter = Meter()
        for gauge in gauges:
            meter.gauge(gauge).bind(NoLabels()).set(value)
        index = SeriesIndex(registry)
        index.update(meter.store.segments)
        sources.append(StoreSource(index, alive=True))
    found = {
        total.metric.name: total.series[0].values for total in aggregate(sources, exemplars=False)
    }
    assert found == {"level_sum": [6.0], "level_max": [3.0], "level_min": [1.0]}


def test_counts_of_the_machine_are_not_summed_over_its_workers() -> None:
    """Each worker reads the same count; that of one that has ended is as old as its last scrape."""
    registry, sources = SeriesRegistry(), []
    stalls = Counter("stalls_total", "Stalls.", NoLabels, multiprocess_mode="max")
    for value, alive in ((3.0, True), (2.5, False), (2.0, False)):
        meter = Meter()
        meter.counter(stalls).bind(NoLabels()).inc(value)
        index = SeriesIndex(registry)
        index.update(meter.store.segments)
        sources.append(StoreSource(index, alive=alive))
    store = MmapStore()
    compact([source.series_index for source in sources[1:]], store)
    compacted = SeriesIndex(registry)
    compacted.update(store.segments)
    for read in (sources, [sources[0], StoreSource(compacted, alive=False)]):
        (total,) = aggregate(read, exemplars=False)
        assert total.series[0].values == [3.0]


def test_of_two_declarations_with_one_name_the_first_is_exported() -> None:
    """During a rolling update with other buckets, workers of both versions serve scrapes."""
    registry, sources = SeriesRegistry(), []
    for bounds in ((0.1, 1.0), (0.5,)):
        meter = Meter()
        meter.histogram(Histogram("wait_seconds", "Wait.", NoLabels, bounds)).bind(
            NoLabels()
        ).observe(0.2)
        index = SeriesIndex(registry)
        index.update(meter.store.segments)
        sources.append(StoreSource(index, alive=True))
    (total,) = aggregate(sources, exemplars=False)
    assert total.metric.bounds == (0.1, 1.0)
    assert total.series[0].values == [0.0, 1.0, 0.0, 0.2]


def test_compacted_series_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "MAX_COMPACTED_SERIES", 3)
    meter, registry = Meter(), SeriesRegistry()
    record(meter, [(HITS, Labels(str(number), ""), 1.0) for number in range(10)])
    record(meter, [(WAIT, Labels(str(number), ""), 1.0) for number in range(10)])
    index, store, compacted = SeriesIndex(registry), MmapStore(), SeriesIndex(registry)
    index.update(meter.store.segments)
    compact([index], store)
    compacted.update(store.segments)
    found = {
        t.metric.name: t.series
        for t in aggregate([StoreSource(compacted, alive=False)], exemplars=False)
    }
    for metric in (HITS, WAIT):
        assert [row.labels for row in found[metric.name]] == [
            *(f'word="{number}",tone=""' for number in range(3)),
            'word="__other__",tone="__other__"',
        ]
        assert sum(row.values[0] for row in found[metric.name]) == (10 if metric is HITS else 0)


def test_scrapes_are_consistent_while_threads_add_series() -> None:
    meter = Meter()
    going = threading.Event()
    going.set()

    def work(number: int) -> None:
        count = 0
        while going.is_set():
            count += 1
            bound = Labels(str(min(count // 20, 40)), str(number))
            meter.counter(HITS).bind(bound).inc()
            meter.histogram(WAIT).bind(bound).observe(0.3, lambda: "c" * 32)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        last: dict[Any, float] = {}
        for _ in range(8):
            scrape = text(meter.collect(exemplars=True), as_openmetrics=True)
            now = {
                key: value
                for key, value in samples(parse_openmetrics(scrape)).items()  # type: ignore[no-untyped-call]
                if isinstance(value, float)
            }
            assert not [key for key, value in last.items() if now[key] < value]
            last = now
    finally:
        going.clear()
        for thread in threads:
            thread.join()
    assert len(last) > 100


def test_promtool_accepts_every_metric_type() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is installed by `make test`"
    meter = Meter()
    record(
        meter,
        [
            (metric, Labels('a"b\\c\nd', "é✓") if metric.label_names else NoLabels(), 1)
            for metric in METRICS
        ],
    )
    result = subprocess.run(
        [promtool, "check", "metrics"],
        input=text(meter.collect(), as_openmetrics=False),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


UNUSUAL = [float("inf"), float("-inf"), float("nan"), 1e301]


@pytest.mark.parametrize("odd", UNUSUAL)
@pytest.mark.parametrize("metric", [HITS, PLAIN, WAIT, BARE])
@pytest.mark.parametrize("as_openmetrics", [False, True])
def test_a_corrupt_cell_drops_its_series_not_the_scrape(
    metric: Any, odd: float, *, as_openmetrics: bool
) -> None:
    meter = Meter()
    good, bad = (
        (Labels("good", ""), Labels("bad", "")) if metric in {HITS, WAIT} else (NoLabels(),) * 2
    )
    family: Any = meter.counter(metric) if metric.kind == "counter" else meter.histogram(metric)
    cells = len(getattr(metric, "buckets", ())) + 2 if metric.kind == "histogram" else 1
    for cell in range(cells):
        for each in family.children.values():
            each.move(memoryview(bytearray(8 * cells)).cast("d"), keep=False)
        meter.counter(PLAIN).bind(NoLabels()).inc()
        family.bind(good)
        child = family.bind(bad)
        place = child.cells if metric.kind == "histogram" else child._cells
        place[cell] = odd
        meter._own_index = SeriesIndex(meter._registry)
        list(meter.collect())  # counts what it drops
        text = "".join(render(meter.collect(exemplars=True), as_openmetrics=as_openmetrics))
        parse: Any = parse_openmetrics if as_openmetrics else parse_text
        found = list(parse(text + ("# EOF\n" if as_openmetrics else "")))
        assert "vitals_dropped" in text
        assert not any(
            sample.value != sample.value or abs(sample.value) > 1e300  # NaN
            for each in found
            for sample in each.samples
        )


@pytest.mark.parametrize("odd", UNUSUAL)
def test_a_gauge_exports_any_cell_value(odd: float) -> None:
    meter = Meter()
    child = meter.gauge(LEVEL).bind(Labels("", ""))
    child._cells[0] = odd
    text = "".join(render(meter.collect(), as_openmetrics=True)) + "# EOF\n"
    families: Any = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    (found,) = (each.samples[0].value for each in families if each.name == "level")
    assert found == odd or (found != found and odd != odd)  # noqa: PLR0124  # NaN


def test_a_non_finite_exemplar_is_skipped() -> None:
    meter = Meter()
    wait = meter.histogram(WAIT).bind(Labels("", ""))
    wait.observe(0.05, lambda: "a" * 32)
    assert wait._exemplar_cells is not None
    for place, odd in itertools.product((0, 1), UNUSUAL[:3]):
        wait._exemplar_cells[place] = odd
        text = "".join(render(meter.collect(exemplars=True), as_openmetrics=True)) + "# EOF\n"
        families: Any = parse_openmetrics(text)  # type: ignore[no-untyped-call]
        assert not any(sample.exemplar for each in families for sample in each.samples)
        wait._exemplar_cells[place] = 1.0
