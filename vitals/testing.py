"""Test helpers: read an application's metrics, and assert a number of queries.

``Readings`` parses the metrics with prometheus_client's parser, so a test sees what Prometheus
would. ``expect_queries`` and the pytest fixture ``queries`` fail a test with the statements that
were sent and the lines that sent them; the fixture needs ``pytest_plugins = ["vitals.testing"]`` in
the topmost ``conftest.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from vitals.extras import needs_extra
from vitals.instrumentation import INSTRUMENTED, Vitals
from vitals.metrics.access import Access
from vitals.metrics.declarations import AnyMetric, Matcher
from vitals.metrics.endpoint import MetricsEndpoint

if TYPE_CHECKING:
    from vitals.db.statements.query_assertions import StatementRecorder


class NotInstrumentedError(LookupError):
    """The application has no metrics: ``vitals.instrument`` was not called for it."""


@dataclass(frozen=True)
class Readings:
    """The samples of one scrape."""

    samples: tuple[Sample, ...]

    @classmethod
    def of(cls, app: FastAPI) -> Readings:
        """Read the metrics of an application in this process.

        Raises:
            NotInstrumentedError: The application is not instrumented.
        """
        vitals = getattr(app.state, INSTRUMENTED, None)
        if not isinstance(vitals, Vitals):
            raise NotInstrumentedError("call vitals.instrument(app) first")
        endpoint = MetricsEndpoint(vitals.meter, access=Access(False))
        return cls.parse(endpoint.render(as_openmetrics=True, gzipped=False).decode())

    @classmethod
    def parse(cls, exposition: str) -> Readings:
        """Parse an OpenMetrics response.

        Raises:
            ValueError: It is not valid OpenMetrics.
        """
        families = text_string_to_metric_families(exposition)  # type: ignore[no-untyped-call]
        return cls(tuple(sample for family in families for sample in family.samples))

    def value(self, metric: AnyMetric, suffix: str = "", /, **labels: str) -> float:
        """The sum over all series with these labels; 0 where there are none.

        Args:
            metric: The declaration.
            suffix: ``_count``, ``_sum`` or ``_bucket`` of a histogram.
            labels: Label values that a series must have.

        Raises:
            UnknownLabelError: The metric has no such label.
        """
        metric.select(suffix, **_as_matchers(labels))
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == metric.name + suffix and labels.items() <= sample.labels.items()
        )

    def series(self, metric: AnyMetric) -> list[dict[str, str]]:
        """The label sets of a metric, without buckets."""
        names = {metric.name, metric.name + "_count"}
        return [sample.labels for sample in self.samples if sample.name in names]


def _as_matchers(labels: dict[str, str]) -> dict[str, str | Matcher]:
    return dict(labels)


@contextmanager
def expect_queries(
    at_most: int | None = None, *, no_n_plus_one: bool = False
) -> Iterator[StatementRecorder]:
    """Assert that a block sends at most a number of statements, over all engines.

    ``with expect_queries(at_most=3): client.get("/orders")``

    Args:
        at_most: The limit; None for any number.
        no_n_plus_one: Whether a statement that is sent once per row (N+1) fails too.

    Raises:
        AssertionError: The block sent more; lists the statements and the lines.
        MissingExtraError: SQLAlchemy is not installed.
    """
    with _recorder() as statements:
        yield statements
    statements.expect(at_most, no_n_plus_one=no_n_plus_one)


@pytest.fixture
def queries() -> Iterator[StatementRecorder]:
    """The statements that the test sends: ``queries.expect(at_most=3, no_n_plus_one=True)``."""
    with _recorder() as statements:
        yield statements


def _recorder() -> StatementRecorder:
    with needs_extra("sql", "counting statements"):
        from vitals.db.statements.query_assertions import StatementRecorder
    return StatementRecorder()
