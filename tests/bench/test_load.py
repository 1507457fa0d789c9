"""The load benchmark reports failures, and its page shows the results."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import budget
from bench.load import scenarios, server
from bench.load.report import page, plot, write
from bench.load.scenarios import LoadError, ScenarioResult, rate_of, run

SCENARIO = {"rate": 1000, "p50": 1, "p95": 2, "p99": 3, "cpu_us": 400}
RESULT = {
    "date": "2026-11-23",
    "machine": "2 processors",
    "products": 100,
    "orders": 10,
    "budget": {"list, cached": 0.3},
    "runs": {
        "SQLite": {
            "ratios": {"list, cached": 0.25, "50 kB, milliseconds by br": 0.5},
            "scenarios": {"warm reads": SCENARIO},
            "wrk": {"/api/products": 2000.0},
        },
        "PostgreSQL": {
            "ratios": {"list, cached": 0.125, "50 kB, milliseconds by br": 0.5},
            "scenarios": {"warm reads": SCENARIO | {"rate": 900}},
            "wrk": {},
        },
    },
}


def test_exceeded_and_missing_ratios_are_reported() -> None:
    limits = {"a": 0.5, "b": 0.5, "c": 0.5}
    assert budget.exceeded({"a": 0.5, "b": 0.4, "c": 0.1}, limits) == []
    found = budget.exceeded({"a": 0.51, "b": 0.4}, limits)
    assert found == ["c was not measured", "a is 0.510, over the budget of 0.5"]


def test_the_page_shows_ratios_and_budgets() -> None:
    output = page(RESULT)
    assert "| after / before | SQLite | PostgreSQL | at most |" in output
    assert "| list, cached | 0.250 | 0.125 | 0.3 |" in output
    assert "| warm reads | 1,000 | 1 | 2 | 3 | 400 |" in output
    assert "| warm reads | 900 | 1 | 2 | 3 | 400 |" in output
    assert "2,000 requests/s" in output


def test_the_plot_is_svg_with_a_bar_for_each_ratio(tmp_path: Path) -> None:
    write(RESULT, tmp_path)
    drawn = (tmp_path / "performance.svg").read_text()
    assert drawn == plot({"list, cached": 0.25})
    texts = [element.text for element in ET.fromstring(drawn).iter() if element.text]  # noqa: S314 - ours
    assert "list, cached" in texts
    assert "25.0%" in texts


def test_every_budget_is_on_the_page() -> None:
    output = (Path(server.ROOT) / "docs" / "performance.md").read_text()
    for name, most in budget.of("load").items():
        assert any(line.startswith(f"| {name} |") for line in output.splitlines()), name
        assert 0 < most <= 3


def test_wrk_output_is_parsed() -> None:
    assert rate_of("  12 requests in 1.00s\nRequests/sec:   1234.56\nTransfer/sec: 1MB") == 1234.56
    with pytest.raises(LoadError, match="unable to connect"):
        rate_of("unable to connect")


@pytest.mark.servers
def test_scenarios_run_and_failures_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, amount in (("USERS", 3), ("PRODUCTS", 50), ("ORDERS", 10)):
        monkeypatch.setattr(server, name, amount)
        monkeypatch.setattr(scenarios, name, amount, raising=False)
    fixture = server.prepare(tmp_path)
    with server.serving(fixture) as running:
        for visitors in (["Revalidation"], ["Shopper", "Cold"]):
            outcome = run(fixture, running, visitors, users=2, seconds=2)
            assert isinstance(outcome, ScenarioResult)
            assert outcome.rate > 0
            # FullList milliseconds: a 304 may well take none.
            assert 0 <= outcome.p50 <= outcome.p95 <= outcome.p99 < 5_000
            assert outcome.cpu_us > 10
        wrong = server.SeededDatabase(fixture.settings, "not the password")
        with pytest.raises(LoadError, match="requests of Login failed"):
            run(wrong, running, ["Login"], users=1, seconds=1)
        with pytest.raises(LoadError, match="locust failed"):
            run(fixture, running, ["Nobody"], users=1, seconds=1)
