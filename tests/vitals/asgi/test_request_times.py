"""The seconds of a request by part, from its phases and waits."""

import random
from collections.abc import Mapping

import pytest

from vitals.asgi.request_times import (
    CACHE,
    DEPENDENCIES,
    ENDPOINT,
    LOCK,
    MAX_NOTES,
    MIDDLEWARE,
    PARTS,
    QUERY,
    SENDING,
    Mark,
    RequestTimes,
    Wait,
    seconds_by_part,
    time_attributes,
)

PHASES: list[Mark] = [(MIDDLEWARE, 0.0), (DEPENDENCIES, 2.0), (ENDPOINT, 5.0), (SENDING, 20.0)]


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
def test_a_moment_counts_once(waits: list[Wait], expected: Mapping[str, float]) -> None:
    assert named(seconds_by_part(PHASES, waits, 21.0)) == pytest.approx(expected)


def test_the_sum_is_the_wall_time_whatever_overlaps() -> None:
    numbers = random.Random(7)  # noqa: S311  # repeatable
    for _ in range(2_000):
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
        seconds = seconds_by_part(marks, waits, 10.0)
        assert sum(seconds) == pytest.approx(10.0)
        assert min(seconds) > -1e-9


def test_many_waits_are_summed_up_and_none_is_lost() -> None:
    times = RequestTimes(0.0)
    times.marks.append((ENDPOINT, 1.0))
    for number in range(5 * MAX_NOTES):
        times.wait(QUERY, 2.0 + number, 2.5 + number)
    assert len(times.waits) <= MAX_NOTES
    seconds = named(times.sum(2.0 + 5 * MAX_NOTES))
    assert seconds == pytest.approx(
        {"middleware": 1, "endpoint": 1 + 2.5 * MAX_NOTES, "query": 2.5 * MAX_NOTES}
    )


def test_attributes_name_the_parts_that_there_were() -> None:
    seconds = seconds_by_part(PHASES, [(QUERY, 6.0, 8.5)], 21.0)
    assert time_attributes(seconds) == pytest.approx(
        {
            "vitals.time.middleware": 2,
            "vitals.time.dependencies": 3,
            "vitals.time.endpoint": 12.5,
            "vitals.time.query": 2.5,
            "vitals.time.sending": 1,
        }
    )
