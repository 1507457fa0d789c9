"""Metrics reader: calls and durations of all workers."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine

from vitals.db.insight.bottlenecks import rank
from vitals.db.probe import QueryProbe
from vitals.db.statements.metrics_reader import StatementMetrics, read
from vitals.metrics.meter import Meter
from vitals.metrics.worker_sharing import join
from vitals.objectives import Objectives


def worker(folder: Path) -> QueryProbe:
    meter = Meter()
    join(meter, "test", folder)
    return QueryProbe(meter, Objectives())


def send(probe: QueryProbe, sql: str, times: int) -> None:
    engine = create_engine("sqlite://")
    probe.instrument(engine)
    with engine.connect() as connection:
        for _ in range(times):
            connection.exec_driver_sql(sql)
    engine.dispose()


def test_statements_of_other_workers_count(tmp_path: Path) -> None:
    one, other = worker(tmp_path), worker(tmp_path)
    send(one, "SELECT 1 AS both", 3)
    send(other, "SELECT 2 AS both", 4)
    send(other, 'SELECT 1 AS "its own"', 2)
    found = {found.text: found for found in rank(one.statement_stats, one.plans, read(one.meter))}
    assert {text: each.calls for text, each in found.items()} == {"SELECT ? AS both": 7, "": 2}
    assert sum(part.calls for part in found["SELECT ? AS both"].routes) == 3
    assert found[""].routes == []
    assert sum(each.share for each in found.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("buckets", "quantile", "seconds"),
    [
        ([100, 0, 0], 0.95, 0.95),
        ([90, 10, 0], 0.95, 1.5),
        ([0, 0, 5], 0.95, 2.0),
        ([50, 0, 50], 0.25, 0.5),
    ],
)
def test_quantile_matches_histogram_quantile(
    buckets: list[float], quantile: float, seconds: float
) -> None:
    measured = StatementMetrics("t", buckets=buckets, bounds=(1.0, 2.0))
    assert measured.quantile(quantile) == pytest.approx(seconds)
