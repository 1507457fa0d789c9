"""Our store and prometheus_client do the same; their pages must say the same."""

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
from vitals.metrics.aggregation import Directory, Index, Source, fold, totals
from vitals.metrics.declarations import Across, Counter, Gauge, Histogram, NoLabels
from vitals.metrics.meter import Meter
from vitals.metrics.mmap_store import Slab
from vitals.metrics.text_format import render


class Said(NamedTuple):
    word: str
    tone: str


HITS = Counter("hits_total", "Hits \\ and\nmore.", Said)
PLAIN = Counter("plain_total", "No labels.", NoLabels)
LEVEL = Gauge("level", "Level.", Said)
WAIT = Histogram("wait_seconds", "Wait.", Said, (0.1, 0.25, 1.0))
BARE = Histogram("bare_bytes", "Bare.", NoLabels, (256.0, 1024.0))
METRICS = (HITS, PLAIN, LEVEL, WAIT, BARE)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
labels = st.builds(Said, words, st.sampled_from(["", "loud", 'a"b\\c\nd%s', "\0"]))
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


def ours(meter: Meter, done: Operations) -> None:
    for metric, said, amount in done:
        if isinstance(metric, Counter):
            meter.counter(metric).bind(said).inc(amount)
        elif isinstance(metric, Gauge):
            meter.gauge(metric).bind(said).inc(amount)
        else:
            meter.histogram(metric).bind(said).observe(amount)


def theirs(done: Operations) -> CollectorRegistry:
    registry = CollectorRegistry()
    make: dict[str, Callable[..., Any]] = {
        "counter": prometheus_client.Counter,
        "gauge": prometheus_client.Gauge,
        "histogram": prometheus_client.Histogram,
    }
    used = [metric for metric in METRICS if any(metric is each for each, _, _ in done)]
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
    for metric, said, amount in done:
        child = families[metric.name].labels(*said) if said else families[metric.name]
        (child.observe if metric.kind == "histogram" else child.inc)(amount)
    return registry


def samples(families: Any) -> dict[Any, Any]:
    """Every family and sample but the moments of creation, which Prometheus does not read."""
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
def test_one_process_says_what_prometheus_client_says(done: Operations) -> None:
    meter, registry = Meter(), theirs(done)
    ours(meter, done)
    assert samples(parse_text(text(meter.collect(), as_openmetrics=False))) == samples(
        parse_text(prometheus_client.generate_latest(registry).decode())
    )
    page = text(meter.collect(exemplars=True), as_openmetrics=True)
    expected = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    assert samples(parse_openmetrics(page)) == samples(parse_openmetrics(expected))  # type: ignore[no-untyped-call]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(operations, st.booleans(), st.booleans()), max_size=5))
def test_several_workers_say_what_one_would_have_said(
    workers: list[tuple[Operations, bool, bool]],
) -> None:
    """Each did something, then it lives on or is dead, and the dead may have been put together."""
    index = Index()
    sources, buried, said, gauges = [], [], [], []
    for done, alive, folded in workers:
        meter = Meter()
        ours(meter, done)
        directory = Directory(index)
        directory.update(meter.slab.segments)
        said += [each for each in done if each[0] is not LEVEL]
        gauges += [each for each in done if each[0] is LEVEL and alive]
        if folded and not alive:
            buried.append(directory)
        else:
            sources.append(Source(directory, alive))
    dead = Slab()
    fold(buried, dead)
    rest = Directory(index)
    rest.update(dead.segments)
    together = totals([*sources, Source(rest, alive=False)], exemplars=False)
    registry = theirs(said + gauges)
    assert samples(parse_text(text(together, as_openmetrics=False))) == samples(
        parse_text(prometheus_client.generate_latest(registry).decode())
    )


shares = st.lists(st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=4), min_size=2, max_size=6)


@settings(deadline=None)
@given(shares, st.randoms(use_true_random=False))
def test_a_sum_never_falls_whoever_answers_and_whoever_dies(
    workers: list[list[float]], random: Random
) -> None:
    """Prometheus takes a fall in the last digit for a restart and shows a spike."""
    index = Index()
    directories = []
    for amounts_seen in workers:
        meter = Meter()
        for amount in amounts_seen:
            meter.counter(PLAIN).bind(NoLabels()).inc(amount)
        directories.append(Directory(index))
        directories[-1].update(meter.slab.segments)

    def total(read: list[Directory]) -> float:
        (found,) = totals([Source(each, alive=True) for each in read], exemplars=False)
        return found.rows[0].values[0]

    said = total(directories)
    assert total(random.sample(directories, len(directories))) == said
    while len(directories) > 1:
        random.shuffle(directories)
        slab = Slab()
        fold(directories[:2], slab)
        directories[:2] = [Directory(index)]
        directories[0].update(slab.segments)
        assert total(directories) == said


def test_the_newest_exemplar_is_shown_also_of_the_dead() -> None:
    index, sources = Index(), []
    for name in ("a" * 32, "b" * 32):
        meter = Meter()
        meter.histogram(WAIT).bind(Said("x", "y")).observe(0.5, lambda name=name: name)  # type: ignore[misc]
        directory = Directory(index)
        directory.update(meter.slab.segments)
        sources.append(Source(directory, alive=False))
    slab = Slab()
    fold([source.directory for source in sources], slab)
    folded = Directory(index)
    folded.update(slab.segments)
    for read in (sources, [Source(folded, alive=False)]):
        (total,) = totals(read, exemplars=True)
        assert [e and e[0] for e in total.rows[0].exemplars] == [None, None, "b" * 32, None]


def test_gauges_are_put_together_as_declared() -> None:
    index, sources = Index(), []
    ways: tuple[Across, ...] = ("sum", "max", "min")
    gauges = [Gauge(f"level_{how}", "Level.", NoLabels, across=how) for how in ways]
    for value in (3.0, 1.0, 2.0):
        meter = Meter()
        for gauge in gauges:
            meter.gauge(gauge).bind(NoLabels()).set(value)
        directory = Directory(index)
        directory.update(meter.slab.segments)
        sources.append(Source(directory, alive=True))
    found = {total.metric.name: total.rows[0].values for total in totals(sources, exemplars=False)}
    assert found == {"level_sum": [6.0], "level_max": [3.0], "level_min": [1.0]}


def test_of_two_declarations_of_one_name_ours_is_shown() -> None:
    """While a new version with other buckets is rolled out, workers of both answer."""
    index, sources = Index(), []
    for bounds in ((0.1, 1.0), (0.5,)):
        meter = Meter()
        meter.histogram(Histogram("wait_seconds", "Wait.", NoLabels, bounds)).bind(
            NoLabels()
        ).observe(0.2)
        directory = Directory(index)
        directory.update(meter.slab.segments)
        sources.append(Source(directory, alive=True))
    (total,) = totals(sources, exemplars=False)
    assert total.metric.bounds == (0.1, 1.0)
    assert total.rows[0].values == [0.0, 1.0, 0.0, 0.2]


def test_the_dead_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "SERIES_FOLDED", 3)
    meter, index = Meter(), Index()
    ours(meter, [(HITS, Said(str(number), ""), 1.0) for number in range(10)])
    ours(meter, [(WAIT, Said(str(number), ""), 1.0) for number in range(10)])
    directory, slab, folded = Directory(index), Slab(), Directory(index)
    directory.update(meter.slab.segments)
    fold([directory], slab)
    folded.update(slab.segments)
    found = {t.metric.name: t.rows for t in totals([Source(folded, alive=False)], exemplars=False)}
    for metric in (HITS, WAIT):
        assert [row.labels for row in found[metric.name]] == [
            *(f'word="{number}",tone=""' for number in range(3)),
            'word="__other__",tone="__other__"',
        ]
        assert sum(row.values[0] for row in found[metric.name]) == (10 if metric is HITS else 0)


def test_pages_are_whole_and_never_fall_while_threads_add_series() -> None:
    meter = Meter()
    going = threading.Event()
    going.set()

    def work(number: int) -> None:
        turn = 0
        while going.is_set():
            turn += 1
            said = Said(str(min(turn // 20, 40)), str(number))
            meter.counter(HITS).bind(said).inc()
            meter.histogram(WAIT).bind(said).observe(0.3, lambda: "c" * 32)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        last: dict[Any, float] = {}
        for _ in range(8):
            page = text(meter.collect(exemplars=True), as_openmetrics=True)
            now = {
                key: value
                for key, value in samples(parse_openmetrics(page)).items()  # type: ignore[no-untyped-call]
                if isinstance(value, float)
            }
            assert not [key for key, value in last.items() if now[key] < value]
            last = now
    finally:
        going.clear()
        for thread in threads:
            thread.join()
    assert len(last) > 100


def test_promtool_finds_no_fault_with_any_kind_of_metric() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is installed by `make test`"
    meter = Meter()
    ours(
        meter,
        [
            (metric, Said('a"b\\c\nd', "é✓") if metric.label_names else NoLabels(), 1)
            for metric in METRICS
        ],
    )
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=text(meter.collect(), as_openmetrics=False),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


ODD = [float("inf"), float("-inf"), float("nan"), 1e301]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("metric", [HITS, PLAIN, WAIT, BARE])
@pytest.mark.parametrize("as_openmetrics", [False, True])
def test_a_cell_that_nobody_counted_costs_its_series_and_not_the_page(
    metric: Any, odd: float, *, as_openmetrics: bool
) -> None:
    meter = Meter()
    good, bad = (Said("good", ""), Said("bad", "")) if metric in {HITS, WAIT} else (NoLabels(),) * 2
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
        meter._own = Directory(meter._index)
        list(meter.collect())  # counts what it leaves out
        text = "".join(render(meter.collect(exemplars=True), as_openmetrics=as_openmetrics))
        parse: Any = parse_openmetrics if as_openmetrics else parse_text
        found = list(parse(text + ("# EOF\n" if as_openmetrics else "")))
        assert "vitals_dropped" in text
        assert not any(
            sample.value != sample.value or abs(sample.value) > 1e300  # NaN
            for each in found
            for sample in each.samples
        )


@pytest.mark.parametrize("odd", ODD)
def test_a_gauge_says_what_its_cell_says(odd: float) -> None:
    meter = Meter()
    child = meter.gauge(LEVEL).bind(Said("", ""))
    child._cells[0] = odd
    text = "".join(render(meter.collect(), as_openmetrics=True)) + "# EOF\n"
    families: Any = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    (found,) = (each.samples[0].value for each in families if each.name == "level")
    assert found == odd or (found != found and odd != odd)  # noqa: PLR0124  # NaN


def test_an_exemplar_that_is_no_figure_is_left_out() -> None:
    meter = Meter()
    wait = meter.histogram(WAIT).bind(Said("", ""))
    wait.observe(0.05, lambda: "a" * 32)
    assert wait._examples is not None
    for place, odd in itertools.product((0, 1), ODD[:3]):
        wait._examples[place] = odd
        text = "".join(render(meter.collect(exemplars=True), as_openmetrics=True)) + "# EOF\n"
        families: Any = parse_openmetrics(text)  # type: ignore[no-untyped-call]
        assert not any(sample.exemplar for each in families for sample in each.samples)
        wait._examples[place] = 1.0
