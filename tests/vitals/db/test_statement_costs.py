"""Statement costs: seconds by route and statement, with the line that sends it; bounded."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, text

from tests.vitals.client import fetch
from vitals import instrument
from vitals.db import statement_costs
from vitals.db.statement_costs import MAX_PAIRS, StatementCosts
from vitals.db.statements.fingerprint import Fingerprints
from vitals.db.statements.statement_stats import StatementStats
from vitals.metrics.catalogue import DB_STATEMENT_SECONDS, OTHER
from vitals.metrics.meter import Meter
from vitals.testing import Readings


class Costs:
    """Costs of statistics that a test fills."""

    def __init__(self) -> None:
        self.meter, self.stats = Meter(), StatementStats()
        self.costs = StatementCosts(self.meter, self.stats)
        self._fingerprints = Fingerprints()

    def add(
        self, route: str, sql: str, seconds: float, source: str = "", repeated: int = 0
    ) -> None:
        stats = self.stats.of(route, self._fingerprints.of(sql, "sqlite"))
        stats.record(seconds)
        stats.source = source or stats.source
        stats.n_plus_one += repeated

    def read(self) -> dict[tuple[str, str, str], float]:
        self.costs.refresh()
        children = self.meter.counter(DB_STATEMENT_SECONDS).children
        return {
            (route, summary, site): round(child.value, 3)
            for (route, summary, _, site), child in children.items()
        }


def test_seconds_are_counted_once_by_route_statement_and_line() -> None:
    costs = Costs()
    costs.add("/items", "SELECT n FROM items", 1.5, "items.py:7 in get")
    costs.add("/all", "SELECT n FROM items", 2.0, "all.py:9 in get")
    costs.add("/all", "SELECT 1 FROM cheap", 0.5)
    assert costs.read() == {
        ("/items", "SELECT items", "items.py:7 in get"): 1.5,
        ("/all", "SELECT items", "all.py:9 in get"): 2.0,
    }
    costs.add("/items", "SELECT n FROM items", 0.25, "elsewhere.py:1 in get")
    assert costs.read()["/items", "SELECT items", "items.py:7 in get"] == 1.75
    assert len(costs.read()) == 2


def test_an_n_plus_one_counts_however_cheap_and_a_line_may_become_known_later() -> None:
    costs = Costs()
    costs.add("/rows", "SELECT n FROM items", 0.01, repeated=1)
    assert costs.read() == {("/rows", "SELECT items", ""): 0.01}
    costs.add("/rows", "SELECT n FROM items", 0.02, "rows.py:3 in get")
    assert costs.read()["/rows", "SELECT items", "rows.py:3 in get"] == 0.02


def test_what_is_beyond_the_limit_shares_one_series() -> None:
    costs = Costs()
    for number in range(MAX_PAIRS + 20):
        costs.add(f"/{number}", f"DELETE FROM items{number}x", 10.0 + number)  # noqa: S608
    read = costs.read()
    assert len(read) == MAX_PAIRS + 1
    assert read[OTHER, OTHER, OTHER] == sum(10.0 + number for number in range(20))
    assert "/119" in {route for route, *_ in read}, "the costliest come first"


def test_a_service_exports_the_line_of_its_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_costs, "MIN_SECONDS", 0.0)
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    app = FastAPI()
    instrument(app, engine=engine, logs=False)

    @app.get("/sums")
    def sums() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT count(*) FROM sqlite_master"))

    for _ in range(2):  # the line is looked up in the second request
        assert fetch(app, "GET", "/sums").is_success
    found = [each for each in Readings.of(app).series(DB_STATEMENT_SECONDS) if each["http_route"]]
    engine.dispose()
    (labels,) = found
    assert labels["http_route"] == "/sums"
    assert "test_statement_costs.py:" in labels["site"]
