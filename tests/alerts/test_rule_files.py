"""The order in which recording rules read each other."""

from collections import Counter

import pytest
import yaml

from alerts import rule_files
from rules.promql import series_in
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


def test_each_histogram_and_counter_of_the_instances_is_read_by_one_recording_rule() -> None:
    """What rules cost is what they read of the instances: decision 45."""
    readers = Counter(
        series
        for signal in rule_files.every_signal().values()
        for series in series_in(signal.query)
        if series.endswith(("_bucket", "_count", "_sum", "_total")) and ":" not in series
    )
    del readers["slo_events_total"]  # five minutes, and an hour for bad ones
    assert {name for name, rules in readers.items() if rules > 1} == set()
    assert readers["http_server_request_duration_seconds_bucket"] == 1


def test_histograms_that_no_alert_reads_are_evaluated_each_minute() -> None:
    groups = yaml.safe_load(rule_files.render()["datastores.yml"])["groups"]
    (costly,) = (group for group in groups if group["name"] == "datastores-statements")
    assert costly["interval"] == "1m"
    records = {rule["record"] for rule in costly["rules"]}
    assert records == {
        signal.record for signal in rule_files.every_signal().values() if signal.group
    }
    alerting = " ".join(alert.expr for alert in rule_files.every_alert())
    assert not {record for record in records if record in alerting}
