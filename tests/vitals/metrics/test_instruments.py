import ast
import dis
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.vitals.metrics.recorded import counts, exemplars, total
from vitals.http.recorder import Recorder
from vitals.http.route_instruments import RouteInstruments
from vitals.metrics.catalogue import DROPPED, ReasonLabels
from vitals.metrics.declarations import Counter, Gauge, Histogram, NoLabels
from vitals.metrics.instruments import CounterChild, GaugeChild, HistogramChild
from vitals.metrics.meter import Meter

HITS = Counter("hits_total", "Hits.", NoLabels)
LEVEL = Gauge("level", "Level.", NoLabels)
WAIT = Histogram("wait_seconds", "Wait.", NoLabels, (0.1, 1.0))

SWITCHING = ("CALL", "JUMP_BACKWARD", "RESUME", "SEND", "YIELD", "FOR_ITER")
"""Where CPython lets other threads, the garbage collector and signal handlers run."""


@pytest.mark.parametrize(
    "update",
    [
        CounterChild.inc,
        GaugeChild.inc,
        GaugeChild.dec,
        HistogramChild.observe,
        HistogramChild.observe_all,
        Recorder.record,
    ],
)
def test_an_addition_is_atomic_to_other_threads(update: Callable[..., None]) -> None:
    tree = ast.parse(textwrap.dedent(inspect.getsource(update)))
    written_in_place = [node for node in ast.walk(tree) if isinstance(node, ast.AugAssign)]
    code = list(dis.get_instructions(update))
    found = 0
    for place, instruction in enumerate(code):
        if instruction.opname == "BINARY_OP" and instruction.argrepr in {"+=", "-="}:
            written = next(n for n in range(place, len(code)) if code[n].opname == "STORE_SUBSCR")
            # The cell's address stands on the stack twice, copied right before it is read.
            copied = next(n for n in range(place, 0, -1) if code[n].opname == "COPY")
            within = [code[n].opname for n in range(copied, written + 1)]
            assert not [name for name in within if name.startswith(SWITCHING)], within
            found += 1
    assert found == len(written_in_place) > 0


def test_pending_sizes_are_swapped_and_appended_atomically() -> None:
    """Of two threads that settle them none counts a size twice, and none is lost meanwhile."""
    taken = [i.opname for i in dis.get_instructions(RouteInstruments.flush_sizes)]
    last = max(place for place, name in enumerate(taken) if name == "STORE_ATTR")
    first = taken.index("RESUME") + 1
    assert not [name for name in taken[first:last] if name.startswith(SWITCHING)]
    code = list(dis.get_instructions(Recorder.record))
    appends = [place for place, instruction in enumerate(code) if instruction.argval == "append"]
    source = inspect.getsource(Recorder.record)
    assert len(appends) == source.count(".append(") > 0
    for place in appends:
        called = next(n for n in range(place, len(code)) if code[n].opname.startswith("CALL"))
        within = [instruction.opname for instruction in code[place:called]]
        assert not [name for name in within if name.startswith(SWITCHING)], within


def test_observe_all_equals_repeated_observe() -> None:
    for values in ([], [0], [1, 1, 1], [number * 37 % 3_000 for number in range(500)]):
        sizes = Histogram("size_bytes", "Size.", NoLabels, (1, 256, 1024))
        one, many = (Meter().histogram(sizes).bind(NoLabels()) for _ in range(2))
        for value in values:
            one.observe(value)
        many.observe_all(values)
        assert (counts(one), total(one)) == (counts(many), total(many))
        assert sum(counts(one)) == len(values)


class InvalidCase(NamedTuple):
    value: Any
    counter: bool
    gauge: bool
    histogram: bool


@pytest.mark.parametrize(
    "case",
    [
        InvalidCase(float("nan"), counter=False, gauge=False, histogram=False),
        InvalidCase("text", counter=False, gauge=False, histogram=False),
        InvalidCase(None, counter=False, gauge=False, histogram=False),
        InvalidCase(1j, counter=False, gauge=False, histogram=False),
        InvalidCase(-1.0, counter=False, gauge=True, histogram=False),
        InvalidCase(float("inf"), counter=False, gauge=False, histogram=False),
        InvalidCase(0, counter=True, gauge=True, histogram=True),
        InvalidCase(True, counter=True, gauge=True, histogram=True),
    ],
    ids=repr,
)
def test_invalid_values_are_counted_not_raised(case: InvalidCase) -> None:
    meter = Meter()
    hits = meter.counter(HITS).bind(NoLabels())
    level = meter.gauge(LEVEL).bind(NoLabels())
    wait = meter.histogram(WAIT).bind(NoLabels())
    updates = (hits.inc, level.inc, level.dec, wait.observe)
    for update in updates:
        update(case.value)
    expected = [case.counter, case.gauge, case.gauge, case.histogram].count(False)
    assert meter.counter(DROPPED).bind(ReasonLabels("invalid_value")).value == expected
    assert hits.value == (case.value if case.counter else 0)
    assert total(wait) == (case.value if case.histogram else 0)
    assert sum(counts(wait)) == case.histogram
    assert level.value == 0


def test_a_gauge_takes_any_number_but_nan() -> None:
    meter = Meter()
    level = meter.gauge(LEVEL).bind(NoLabels())
    for value in (-2.5, True, float("inf")):
        level.set(value)
        assert level.value == value
    for invalid in (float("nan"), "text", None):
        level.set(invalid)  # type: ignore[arg-type]
    assert level.value == float("inf")
    assert meter.counter(DROPPED).bind(ReasonLabels("invalid_value")).value == 3


def test_an_invalid_trace_id_gives_no_exemplar() -> None:
    meter = Meter()
    wait = meter.histogram(WAIT).bind(NoLabels())
    for name in ("short", "g" * 32, "ab " * 16):
        wait.observe(0.5, lambda name=name: name)  # type: ignore[misc]
    assert exemplars(wait) == [None] * 3
    assert meter.counter(DROPPED).bind(ReasonLabels("invalid_trace_id")).value == 3
    assert sum(counts(wait)) == 3
