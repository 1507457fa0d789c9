"""Metric instruments of each statement, bound once."""

import re

from vitals.asgi.request_times import LOCK, QUERY
from vitals.db.statements.fingerprint import CACHE_SIZE, Fingerprints, Statement
from vitals.db.statements.statement_stats import CallStats, StatementStats
from vitals.metrics.catalogue import (
    DB_OPERATION_DURATION,
    DB_SLOW_QUERIES,
    FingerprintLabels,
    OperationLabels,
)
from vitals.metrics.instruments import CounterChild, HistogramChild
from vitals.metrics.meter import Meter

SYSTEMS = {"postgresql": "postgresql", "sqlite": "sqlite", "mysql": "mysql", "mariadb": "mariadb"}
"""db.system.name of the OpenTelemetry semantic conventions by SQLAlchemy dialect."""

_TAKES_LOCK = re.compile(
    r"\b(?:pg_advisory_(?:xact_)?lock(?:_shared)?|get_lock)\s*\(|^\s*LOCK\s+TABLES?\b",
    re.IGNORECASE,
)
"""What a statement has that does nothing but wait for a lock."""


class StatementInstruments:
    """Instruments of one statement on one database system.

    Attributes:
        statement: The statement.
        routes: Statistics by route.
        background: Statistics of calls outside of requests.
        durations: Histogram of successful calls, with exemplars.
        slow: Counter of calls above the objective's threshold.
        needs_source: Whether to look up the next call's call site.
        part: The part of a request's time that its calls are: a query, or the wait for a lock.
    """

    __slots__ = ("background", "durations", "needs_source", "part", "routes", "slow", "statement")

    def __init__(
        self,
        statement: Statement,
        routes: dict[str, CallStats],
        durations: HistogramChild,
        slow: CounterChild,
    ) -> None:
        self.statement = statement
        self.routes = routes
        self.background = routes[""]
        self.durations = durations
        self.slow = slow
        self.needs_source = True
        self.part = LOCK if _TAKES_LOCK.search(statement.text) else QUERY


class InstrumentTable:
    """Instruments of all statements, created when a statement is first sent; bounded.

    Args:
        meter: Where to record.
        statement_stats: Statistics by statement and route.
        slow_threshold: Seconds; an additional bucket bound of the histogram.
    """

    def __init__(
        self, meter: Meter, statement_stats: StatementStats, slow_threshold: float
    ) -> None:
        self.fingerprints = Fingerprints()
        self._statement_stats = statement_stats
        self._durations = meter.histogram(DB_OPERATION_DURATION, extra_bounds=(slow_threshold,))
        self._slow = meter.counter(DB_SLOW_QUERIES)
        self._instruments: dict[tuple[str, str], StatementInstruments] = {}

    def of(self, sql: str, dialect: str) -> StatementInstruments:
        """Instruments of a statement; shared by strings that differ only in literals."""
        statement = self.fingerprints.of(sql, dialect)
        instruments = self._instruments.get((dialect, statement.text))
        if instruments is None:
            if len(self._instruments) >= CACHE_SIZE:
                self._instruments.clear()
            instruments = self._instruments[dialect, statement.text] = StatementInstruments(
                statement,
                self._statement_stats.routes(statement),
                self.durations(statement, dialect, ""),
                self._slow.bind(FingerprintLabels(statement.fingerprint)),
            )
        return instruments

    def durations(self, statement: Statement, dialect: str, error_type: str) -> HistogramChild:
        """Histogram of calls with this outcome; ``error_type`` is empty for success."""
        system = SYSTEMS.get(dialect, "other_sql")
        labels = OperationLabels(
            system, statement.operation, statement.summary, statement.fingerprint, error_type
        )
        return self._durations.bind(labels)
