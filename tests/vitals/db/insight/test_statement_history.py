"""Statement history: the cost of the last minutes, whatever has happened before."""

from itertools import pairwise

from vitals.db.insight.statement_history import HOURLY, MINUTES, StatementHistory
from vitals.db.statements.fingerprint import Statement
from vitals.db.statements.metrics_reader import StatementMetrics
from vitals.db.statements.statement_stats import StatementStats
from vitals.metrics.meter import Meter

STATEMENT = Statement("SELECT", "SELECT t", "f" * 16, "SELECT ?")
BOUNDS = (0.1, 1.0)


class Clock:
    """A history with statements that are called as the test says."""

    def __init__(self) -> None:
        self.stats = StatementStats()
        self.history = StatementHistory(Meter(), self.stats)
        self.now = 10_000.0
        self.calls = self.seconds = 0.0
        self.buckets = [0.0, 0.0, 0.0]

    def call(self, seconds: float) -> None:
        self.calls += 1
        self.seconds += seconds
        self.buckets[sum(seconds > bound for bound in BOUNDS)] += 1
        self.stats.of("/route", STATEMENT).record(seconds)

    @property
    def metrics(self) -> dict[str, StatementMetrics]:
        if not self.calls:
            return {}
        buckets = list(self.buckets)
        one = StatementMetrics("SELECT t", int(self.calls), self.seconds, 0, 0, buckets, BOUNDS)
        return {STATEMENT.fingerprint: one}

    def minutes(self, number: int) -> None:
        for _ in range(number):
            self.now += 60
            self.history.note(self.metrics, self.now)

    def window(self, seconds: float | None) -> tuple[float, int, float, float]:
        found = self.history.window(self.metrics, seconds, self.now)
        (one,) = found.metrics.values()
        ((route, stats),) = found.stats
        assert route == "/route"
        assert stats.calls == one.calls
        return self.now - found.since, one.calls, one.seconds, stats.slowest


def test_lock_of_an_hour_ago_does_not_spoil_the_last_minutes() -> None:
    clock = Clock()
    clock.minutes(1)
    clock.call(300.0)
    clock.minutes(65)
    for _ in range(10):
        clock.call(0.01)
    clock.minutes(3)
    clock.call(0.02)
    length, calls, seconds, slowest = clock.window(900)
    assert 900 <= length < 960
    assert (calls, round(seconds, 6), slowest) == (11, 0.12, 0.02)
    found = clock.history.window(clock.metrics, 900, clock.now).metrics[STATEMENT.fingerprint]
    assert found.quantile(0.95) < 0.1
    _, calls, seconds, slowest = clock.window(None)
    assert (calls, round(seconds, 6), slowest) == (12, 300.12, 300.0)


def test_last_hour_has_what_the_last_minutes_do_not() -> None:
    clock = Clock()
    clock.minutes(70)
    clock.call(5.0)
    clock.minutes(40)
    clock.call(0.01)
    clock.minutes(1)
    assert clock.window(900)[1:] == (1, clock.seconds - 5.0, 0.01)
    length, calls, _, slowest = clock.window(3_600)
    assert 3_600 <= length < 3_900
    assert (calls, slowest) == (2, 5.0)


def test_young_process_shows_what_it_knows() -> None:
    clock = Clock()
    clock.minutes(1)
    clock.call(0.5)
    clock.minutes(2)
    assert clock.window(900)[:2] == (120.0, 1)
    clock.minutes(200)
    assert clock.history.window(clock.metrics, 900, clock.now).metrics == {}


def test_memory_is_bounded_and_shared() -> None:
    clock = Clock()
    clock.call(0.5)
    clock.minutes(500)
    notes = clock.history._notes
    assert len(notes) == MINUTES + HOURLY
    assert len({id(note.metrics[STATEMENT.fingerprint]) for note in notes}) == 1
    gaps = [after.taken - before.taken for before, after in pairwise(notes)]
    assert set(gaps[-MINUTES + 1 :]) == {60.0}
    assert set(gaps[: HOURLY - 1]) == {300.0}
