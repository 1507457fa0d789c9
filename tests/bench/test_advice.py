"""The advice benchmark reports exceeded budgets."""

import pytest

from bench.advice.__main__ import Trial, report_trials
from bench.advice.statements import HELPED, NOT_HELPED, Statement
from vitals.db.indexes.postgresql_advisor import Advice

INDEX = ["CREATE INDEX ON orders (user_id)"]


def trial(statement: Statement, indexes: list[str], after: float | None) -> Trial:
    return Trial(statement, Advice(indexes, 100, 10), 0.01, 0.1, after, indexes)


@pytest.mark.parametrize(
    ("found", "extra", "exceeded"),
    [
        ([trial(HELPED[0], INDEX, 0.09)], 1, "worst advice"),
        ([trial(NOT_HELPED[0], INDEX, 0.01)], 1, "where none helps"),
        ([trial(HELPED[1], [], None)], 1, "helped without advice"),
        ([trial(NOT_HELPED[2], [], 0.01)], 1, "would have helped"),
        ([trial(HELPED[0], INDEX, 0.01)], 2, "connections"),
    ],
)
def test_an_exceeded_budget_is_reported(found: list[Trial], extra: int, exceeded: str) -> None:
    good = [trial(HELPED[0], INDEX, 0.01)]
    with pytest.raises(SystemExit, match=exceeded):
        report_trials(good + found, extra, 1_000)


def test_met_budgets_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        report_trials([trial(HELPED[0], INDEX, 0.01)], 1, 1_000)
    assert ended.value.code == 0
    assert '"within_budget": true' in capsys.readouterr().out
