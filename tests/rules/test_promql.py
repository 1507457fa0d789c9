import pytest

from rules.promql import series_in


@pytest.mark.parametrize(
    ("query", "series"),
    [
        ("a", {"a"}),
        ("sum by (b) (rate(a[5m])) / on (c) d offset 1h", {"a", "d"}),
        ('label_replace(a{b="c:d"}, "e", "f", "g", "h")', {"a"}),
        ("-(max_over_time((a > 1)[1h:1m]))", {"a"}),
        ("topk(scalar(a), b)", {"a", "b"}),
        ("vector(1)", set()),
    ],
)
def test_series_are_selectors_not_labels_or_texts(query: str, series: set[str]) -> None:
    assert series_in(query) == series


def test_invalid_promql_is_an_error() -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        series_in("sum(")
