"""Explain throttle: a plan is taken again while a statement is slow, sooner when it slows down."""

import pytest

from vitals.db.insight import explain_throttle
from vitals.db.insight.explain_throttle import ExplainThrottle
from vitals.db.statements.log_throttle import MAX_KEYS


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(explain_throttle, "monotonic", lambda: now[0])
    return now


def test_as_slow_after_the_interval(clock: list[float]) -> None:
    throttle = ExplainThrottle(300.0, 6)
    assert throttle.allows("a", 0.2)
    clock[0] += 299
    assert not throttle.allows("a", 0.3)
    assert throttle.allows("b", 0.3)
    clock[0] += 1
    assert throttle.allows("a", 0.3)


def test_slowdown_after_half_a_minute(clock: list[float]) -> None:
    throttle = ExplainThrottle(300.0, 6)
    assert throttle.allows("a", 0.2)
    clock[0] += 29
    assert not throttle.allows("a", 0.5)
    clock[0] += 1
    assert throttle.allows("a", 0.5)
    clock[0] += 30
    assert not throttle.allows("a", 0.5)
    assert throttle.allows("a", 1.0)


def test_limit_per_minute(clock: list[float]) -> None:
    throttle = ExplainThrottle(300.0, 6)
    assert sum(throttle.allows(str(number), 1.0) for number in range(20)) == 6
    clock[0] += 60
    assert throttle.allows("x", 1.0)


def test_memory_is_bounded(clock: list[float]) -> None:
    throttle = ExplainThrottle(300.0, 100_000)
    for number in range(5_000):
        throttle.allows(str(number), 1.0)
    assert len(throttle._explained) == MAX_KEYS
    assert clock[0] == 1_000.0
