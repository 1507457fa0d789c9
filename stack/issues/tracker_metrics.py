"""Metrics of the issue tracker: how many there are, and which are new or reopened."""

from collections.abc import Iterator
from time import time

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector as MetricSource

from rules.monitoring import (
    ISSUE_NEW,
    ISSUE_REOPENED,
    ISSUES,
    ISSUES_READ,
    ISSUES_READ_FAILURES,
    IssueLabels,
)
from stack.issues import issue_views, notices
from stack.issues.collector import Collector
from stack.issues.issue_store import IssueStore, Kind

CONTENT_TYPE = CONTENT_TYPE_LATEST


class TrackerMetrics(MetricSource):
    """Metrics of one issue tracker.

    Args:
        store: The issues.
        collector: What reads them.
    """

    def __init__(self, store: IssueStore, collector: Collector) -> None:
        self._store, self._collector = store, collector
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: registration must not count as a scrape."""
        return iter(())

    def render(self) -> bytes:
        """The exposition."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the metric families."""
        states = GaugeMetricFamily(ISSUES.name, ISSUES.help, labels=["state"])
        for state, number in issue_views.numbers(self._store).items():
            states.add_metric([state], number)
        yield states
        families = {
            kind: GaugeMetricFamily(metric.name, metric.help, labels=IssueLabels._fields)
            for kind, metric in ((Kind.NEW, ISSUE_NEW), (Kind.REOPENED, ISSUE_REOPENED))
        }
        for each in notices.shown(self._store, time()):
            labels = IssueLabels(
                *(each.service, each.fingerprint, each.type, each.place, each.route, each.release)
            )
            families[each.kind].add_metric(labels, each.time)
        yield from families.values()
        if self._collector.last_success:
            read = GaugeMetricFamily(ISSUES_READ.name, ISSUES_READ.help)
            read.add_metric([], self._collector.last_success)
            yield read
        failures = CounterMetricFamily(
            ISSUES_READ_FAILURES.name, ISSUES_READ_FAILURES.help, labels=["reason"]
        )
        for reason, number in self._collector.failures.items():
            failures.add_metric([reason], number)
        yield failures
