from typing import Any, NamedTuple

import pytest

from vitals.metrics.catalogue import CATALOGUE
from vitals.metrics.declarations import (
    Counter,
    Gauge,
    Histogram,
    NoLabels,
    UnknownLabelError,
    excluding,
    matching,
    not_matching,
)


class Shop(NamedTuple):
    route: str
    status: str


SALES = Counter("sales_total", "Sales.", Shop)
STOCK = Gauge("stock", "Stock.", Shop)
WAIT = Histogram("wait_seconds", "Wait.", Shop, (0.1, 1.0))


def test_a_selector_takes_every_matcher_type() -> None:
    written = SALES.select(route="/a", status=matching("5.."), job=excluding("x"), instance="i")
    assert written == 'sales_total{route="/a", status=~"5..", job!="x", instance="i"}'
    assert SALES.select("", "5m", status=not_matching("4..")) == 'sales_total{status!~"4.."}[5m]'


def test_label_values_are_escaped() -> None:
    assert SALES.select(route='a"b\\c\nd') == 'sales_total{route="a\\"b\\\\c\\nd"}'


def test_aggregations() -> None:
    assert SALES.rate("job") == "sum by (job) (rate(sales_total[5m]))"
    assert SALES.increase(window="1h", route="/a") == 'sum(increase(sales_total{route="/a"}[1h]))'
    assert STOCK.max("job") == "max by (job) (stock)"
    assert WAIT.quantile(0.95, "job", window="1m") == (
        "histogram_quantile(0.95, sum by (job, le) (rate(wait_seconds_bucket[1m])))"
    )
    assert WAIT.mean("job") == (
        "sum by (job) (rate(wait_seconds_sum[5m])) / "
        "(sum by (job) (rate(wait_seconds_count[5m])) > 0)"
    )


@pytest.mark.parametrize("write", [SALES.rate, SALES.increase, STOCK.sum, WAIT.rate, WAIT.mean])
def test_an_unknown_label_raises(write: object) -> None:
    with pytest.raises(UnknownLabelError, match="has no label colour; it has route, status"):
        write("colour")  # type: ignore[operator]
    with pytest.raises(UnknownLabelError):
        write(colour="red")  # type: ignore[operator]


def test_invalid_declarations_raise() -> None:
    with pytest.raises(ValueError, match="ends in _total"):
        Counter("sales", "Sales.", NoLabels)
    for buckets in ((), (1.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ValueError, match="ascend"):
            Histogram("wait_seconds", "Wait.", NoLabels, buckets)


def test_the_catalogue_is_valid_for_prometheus() -> None:
    assert len(CATALOGUE) > 40
    for metric in CATALOGUE.values():
        assert metric.name.isidentifier()
        assert metric.help.endswith(".") or metric.help.startswith("1, with")
        assert "le" not in metric.label_names


class Bucket(NamedTuple):
    le: str


@pytest.mark.parametrize("name", ["", "http.requests", "9_lives", "with space"])
@pytest.mark.parametrize("kind", [Counter, Gauge, Histogram])
def test_an_invalid_metric_name_raises_when_declared(kind: type[Any], name: str) -> None:
    name += "_total" if kind is Counter and name else ""
    with pytest.raises(ValueError, match="use letters"):
        kind(name, "Help.", Shop, **({"buckets": (1.0,)} if kind is Histogram else {}))


def test_a_histogram_reserves_le() -> None:
    assert Gauge("recorded", "A recorded quantile may carry it.", Bucket).label_names == ("le",)
    with pytest.raises(ValueError, match="no le in a histogram"):
        Histogram("wait", "Help.", Bucket, (1.0,))
