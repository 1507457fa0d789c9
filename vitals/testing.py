"""Read an instrumented application's figures in a test, and hold code to a number of queries.

``Readings`` takes the metrics page through the parser of prometheus_client, so that a test sees
what Prometheus would. ``expect_queries`` and the pytest fixture ``queries`` fail a test with the
statements that were sent and the lines that sent them; the fixture needs
``pytest_plugins = ["vitals.testing"]`` in the topmost ``conftest.py``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from vitals.db.statements.query_assertions import Statements
from vitals.instrumentation import INSTRUMENTED, Vitals
from vitals.metrics.declarations import AnyMetric, Matcher
from vitals.metrics.endpoint import MetricsEndpoint


class NotInstrumentedError(LookupError):
    """The application has no figures: ``vitals.instrument`` was not called for it."""


@dataclass(frozen=True)
class Readings:
    """The samples of one metrics page."""

    samples: tuple[Sample, ...]

    @classmethod
    def of(cls, app: FastAPI) -> "Readings":
        """Read an application of this process.

        Raises:
            NotInstrumentedError: The application is not instrumented.
        """
        vitals = getattr(app.state, INSTRUMENTED, None)
        if not isinstance(vitals, Vitals):
            raise NotInstrumentedError("call vitals.instrument(app) first")
        page = MetricsEndpoint(vitals.meter).render(as_openmetrics=True, gzipped=False)
        return cls.parse(page.decode())

    @classmethod
    def parse(cls, page: str) -> "Readings":
        """Read an OpenMetrics page.

        Raises:
            ValueError: The page is not valid OpenMetrics.
        """
        families = text_string_to_metric_families(page)  # type: ignore[no-untyped-call]
        return cls(tuple(sample for family in families for sample in family.samples))

    def value(self, metric: AnyMetric, part: str = "", /, **labels: str) -> float:
        """The sum over all series with these labels; 0 where there are none.

        Args:
            metric: The declaration.
            part: ``_count``, ``_sum`` or ``_bucket`` of a histogram.
            labels: Labels that a series must have, exactly.

        Raises:
            UnknownLabelError: The metric has no such label.
        """
        metric.select(part, **_as_matchers(labels))
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == metric.name + part and labels.items() <= sample.labels.items()
        )

    def series(self, metric: AnyMetric) -> list[dict[str, str]]:
        """The label sets of a metric, buckets left out."""
        names = {metric.name, metric.name + "_count"}
        return [sample.labels for sample in self.samples if sample.name in names]


def _as_matchers(labels: dict[str, str]) -> dict[str, str | Matcher]:
    return dict(labels)


@contextmanager
def expect_queries(
    at_most: int | None = None, *, no_n_plus_one: bool = False
) -> Iterator[Statements]:
    """Hold a block to a number of statements, whatever engine sends them.

    ``with expect_queries(at_most=3): client.get("/orders")``

    Args:
        at_most: How many may be sent; None for any number.
        no_n_plus_one: Whether a statement that is sent once a row fails the block too.

    Raises:
        AssertionError: The block sent more; it lists the statements and the lines.
    """
    with Statements() as statements:
        yield statements
    statements.expect(at_most, no_n_plus_one=no_n_plus_one)


@pytest.fixture
def queries() -> Iterator[Statements]:
    """The statements that the test sends: ``queries.expect(at_most=3, no_n_plus_one=True)``."""
    with Statements() as statements:
        yield statements
