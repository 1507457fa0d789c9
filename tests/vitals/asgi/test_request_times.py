"""The seconds of a request by part, from its phases and waits."""

import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from vitals.asgi import request_times
from vitals.asgi.request_times import (
    CACHE,
    DEPENDENCIES,
    ENDPOINT,
    LOCK,
    MAX_GAPS,
    MIDDLEWARE,
    PARTS,
    QUERY,
    RECEIVING,
    ROUTING,
    SENDING,
    VALIDATION,
    RequestTimes,
    Wait,
    time_attributes,
)

Mark = tuple[int, float]
"""A phase, and when it began."""
PHASES: list[Mark] = [(MIDDLEWARE, 0.0), (DEPENDENCIES, 2.0), (ENDPOINT, 5.0), (SENDING, 20.0)]


class Clock:
    """The clock of the times, which stands where it is set."""

    now = 0.0

    def read(self) -> float:
        return self.now

    def replay(self, marks: list[Mark], waits: list[Wait], ended: float) -> RequestTimes:
        """Times of a request with these phases and waits; each is noted when it has ended."""
        times = RequestTimes(marks[0][1])
        pending = list(marks[1:])
        noted = 0.0
        for part, began, end in waits:
            noted = max(noted, end)  # those out of order too
            while pending and pending[0][1] <= noted:
                phase, self.now = pending.pop(0)
                times.enter(phase)
            times.wait(part, began, min(end, ended))
        for phase, self.now in pending:
            times.enter(phase)
        return times


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(request_times, "perf_counter", made.read)
    return made


def named(seconds: list[float]) -> Mapping[str, float]:
    """The parts that there were."""
    return {name: each for name, each in zip(PARTS, seconds, strict=True) if each}


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        pytest.param(
            [],
            {"middleware": 2, "dependencies": 3, "endpoint": 15, "sending": 1},
            id="phases alone",
        ),
        pytest.param(
            [(QUERY, 3.0, 4.0), (CACHE, 6.0, 8.0), (QUERY, 8.0, 9.0)],
            {
                "middleware": 2,
                "dependencies": 2,
                "endpoint": 12,
                "query": 2,
                "cache": 2,
                "sending": 1,
            },
            id="one after another",
        ),
        pytest.param(
            [(QUERY, 6.0, 10.0), (QUERY, 6.0, 12.0)],
            {"middleware": 2, "dependencies": 3, "endpoint": 9, "query": 6, "sending": 1},
            id="two queries at once count once",
        ),
        pytest.param(
            [(CACHE, 6.0, 8.0), (QUERY, 6.0, 12.0)],
            {
                "middleware": 2,
                "dependencies": 3,
                "endpoint": 9,
                "cache": 2,
                "query": 4,
                "sending": 1,
            },
            id="of two at once, first the one that ends first",
        ),
        pytest.param(
            [(LOCK, 9.0, 10.0), (CACHE, 6.0, 12.0)],
            {
                "middleware": 2,
                "dependencies": 3,
                "endpoint": 9,
                "lock": 1,
                "cache": 5,
                "sending": 1,
            },
            id="one within another",
        ),
        pytest.param(
            [(QUERY, 4.0, 6.0)],
            {"middleware": 2, "dependencies": 2, "endpoint": 14, "query": 2, "sending": 1},
            id="across two phases",
        ),
        pytest.param(
            [(QUERY, -5.0, 1.0), (CACHE, 20.5, 30.0)],
            {
                "query": 1,
                "middleware": 1,
                "dependencies": 3,
                "endpoint": 15,
                "sending": 0.5,
                "cache": 0.5,
            },
            id="beyond its beginning and its end",
        ),
        pytest.param(
            [(QUERY, 10.0, 12.0), (QUERY, 6.0, 8.0), (CACHE, 5.0, 11.0)],
            {
                "middleware": 2,
                "dependencies": 3,
                "endpoint": 8,
                "query": 4,
                "cache": 3,
                "sending": 1,
            },
            id="noted out of order, by threads",
        ),
    ],
)
def test_a_moment_counts_once(
    clock: Clock, waits: list[Wait], expected: Mapping[str, float]
) -> None:
    assert named(clock.replay(PHASES, waits, 21.0).finish(21.0)) == pytest.approx(expected)


def test_waits_that_threads_note_count_once(clock: Clock) -> None:
    times = RequestTimes(0.0)
    clock.now = 2.0
    times.enter(ENDPOINT)
    with ThreadPoolExecutor(1) as pool:
        for wait in [(QUERY, 3.0, 5.0), (QUERY, 4.0, 6.0), (CACHE, 9.0, 30.0)]:
            pool.submit(times.wait, *wait).result()
    clock.now = 8.0
    times.enter(SENDING)
    assert named(times.finish(10.0)) == pytest.approx(
        {"middleware": 2, "query": 3, "endpoint": 3, "sending": 1, "cache": 1}
    )


def test_a_phase_gets_another_name_from_its_beginning(clock: Clock) -> None:
    times = RequestTimes(0.0)
    clock.now = 2.0
    times.enter(ROUTING)
    times.wait(RECEIVING, 3.0, 4.0)
    times.rename(VALIDATION)
    assert named(times.finish(6.0)) == {"middleware": 2, "receiving": 1, "validation": 3}


def test_the_sum_is_the_wall_time_whatever_overlaps(clock: Clock) -> None:
    numbers = random.Random(7)  # noqa: S311  # repeatable
    for _ in range(1_000):
        marks = [(MIDDLEWARE, 0.0)]
        marks += [
            (numbers.randrange(16), at) for at in sorted(numbers.uniform(0, 10) for _ in "12")
        ]
        waits = []
        for _ in range(numbers.randrange(12)):
            began = numbers.uniform(-1, 10)
            waits.append((numbers.randrange(16), began, began + numbers.expovariate(1)))
        if numbers.random() < 0.8:
            waits.sort(key=lambda wait: wait[2])
        waits = [(part, began, min(ended, 10.0)) for part, began, ended in waits]
        seconds = clock.replay(marks, waits, 10.0).finish(10.0)
        assert sum(seconds) == pytest.approx(10.0)
        assert min(seconds) > -1e-9


@pytest.mark.parametrize("is_threads", [False, True])
def test_of_many_waits_none_is_lost(clock: Clock, *, is_threads: bool) -> None:
    times = RequestTimes(0.0)
    clock.now = 1.0
    times.enter(ENDPOINT)
    end = 2.0 + 5 * MAX_GAPS

    def run() -> None:
        for number in range(5 * MAX_GAPS):
            times.wait(QUERY, 2.0 + number, 2.5 + number)

    if is_threads:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(run).result()
    else:
        run()
    assert len(times._gaps) <= MAX_GAPS
    assert len(times._of_threads or ()) <= MAX_GAPS
    assert named(times.finish(end)) == pytest.approx(
        {"middleware": 1, "endpoint": 1 + 2.5 * MAX_GAPS, "query": 2.5 * MAX_GAPS}
    )


def test_attributes_name_the_parts_that_there_were(clock: Clock) -> None:
    seconds = clock.replay(PHASES, [(QUERY, 6.0, 8.5)], 21.0).finish(21.0)
    assert time_attributes(seconds) == pytest.approx(
        {
            "vitals.time.middleware": 2,
            "vitals.time.dependencies": 3,
            "vitals.time.endpoint": 12.5,
            "vitals.time.query": 2.5,
            "vitals.time.sending": 1,
        }
    )
