"""The benchmark of advice tells which promise does not hold."""

import pytest

from bench.advice.__main__ import Verdict, told
from bench.advice.statements import HELPED, LEFT_ALONE, Asked
from vitals.db.indexes.postgresql_advisor import Advice

INDEX = ["CREATE INDEX ON orders (user_id)"]


def verdict(asked: Asked, indexes: list[str], after: float | None) -> Verdict:
    return Verdict(asked, Advice(indexes, 100, 10), 0.01, 0.1, after, indexes)


@pytest.mark.parametrize(
    ("found", "extra", "broken"),
    [
        ([verdict(HELPED[0], INDEX, 0.09)], 1, "worst advice"),
        ([verdict(LEFT_ALONE[0], INDEX, 0.01)], 1, "where none helps"),
        ([verdict(HELPED[1], [], None)], 1, "helped without advice"),
        ([verdict(LEFT_ALONE[2], [], 0.01)], 1, "would have bettered"),
        ([verdict(HELPED[0], INDEX, 0.01)], 2, "connections"),
    ],
)
def test_what_does_not_hold_is_named(found: list[Verdict], extra: int, broken: str) -> None:
    good = [verdict(HELPED[0], INDEX, 0.01)]
    with pytest.raises(SystemExit, match=broken):
        told(good + found, extra, 1_000)


def test_what_holds_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        told([verdict(HELPED[0], INDEX, 0.01)], 1, 1_000)
    assert ended.value.code == 0
    assert '"holds": true' in capsys.readouterr().out
