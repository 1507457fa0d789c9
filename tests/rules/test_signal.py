"""Signals: names of records and checks of labels."""

from collections.abc import Callable

import pytest

from rules.signal import Signal
from vitals.metrics.declarations import UnknownLabelError


@pytest.mark.parametrize(
    "select",
    [
        lambda signal: signal.select(routee="/"),
        lambda signal: signal.sum("routee"),
    ],
)
def test_a_signal_knows_its_labels(select: Callable[[Signal], str]) -> None:
    signal = Signal("job_route:requests:rate5m", "How many?", "reqps", "vector(1)")
    assert signal.labels == ("job", "http_route")
    assert signal.select(job="api") == 'job_route:requests:rate5m{job="api"}'
    with pytest.raises(UnknownLabelError, match="routee"):
        select(signal)


@pytest.mark.parametrize("record", ["requests", "job:requests", "planet:requests:rate5m"])
def test_a_record_is_named_by_level_metric_and_operation(record: str) -> None:
    with pytest.raises(ValueError, match="level:metric:operation"):
        Signal(record, "How many?", "reqps", "vector(1)")
