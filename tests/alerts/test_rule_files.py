"""The order in which recording rules read each other."""

import pytest

from alerts import rule_files
from rules.signal import Signal


def test_passes_are_the_longest_chain_of_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    queries = {
        "job:raw:rate": "sum(rate(http_requests_total[5m]))",
        "job:ratio:rate": "job:raw:rate / job:raw:rate",
        "job:budget:rate": "1 - job:ratio:rate / (job:raw:rate > 0)",
        "job:other:rate": "job:raw:rate",
    }
    signals = {record: Signal(record, "?", "short", query) for record, query in queries.items()}
    monkeypatch.setattr(rule_files, "every_signal", lambda: signals)
    assert rule_files.recording_passes() == 3
