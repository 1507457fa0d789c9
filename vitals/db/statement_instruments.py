"""A statement with everything that a call of it adds to, bound once."""

from vitals.db.statements.fingerprint import KEPT, Fingerprints, Statement
from vitals.db.statements.statement_stats import Ledger, Tally
from vitals.metrics.catalogue import DB_OPERATION_DURATION, DB_SLOW_QUERIES, Fingerprint, Operation
from vitals.metrics.instruments import CounterChild, HistogramChild
from vitals.metrics.meter import Meter

SYSTEMS = {"postgresql": "postgresql", "sqlite": "sqlite", "mysql": "mysql", "mariadb": "mariadb"}
"""db.system.name of the OpenTelemetry semantic conventions by SQLAlchemy dialect."""


class Series:
    """A statement of one system.

    Attributes:
        statement: The statement.
        routes: What it has cost by route.
        alone: What it has cost without a request.
        durations: Takes the seconds of a call that succeeded, and who names its trace.
        slow: Counts the calls that broke the objective.
        sought: Whether the next call's line is to be looked up.
    """

    __slots__ = ("alone", "durations", "routes", "slow", "sought", "statement")

    def __init__(
        self,
        statement: Statement,
        routes: dict[str, Tally],
        durations: HistogramChild,
        slow: CounterChild,
    ) -> None:
        self.statement = statement
        self.routes = routes
        self.alone = routes[""]
        self.durations = durations
        self.slow = slow
        self.sought = True


class SeriesTable:
    """The series of all statements, made when they are first sent; bounded.

    Args:
        meter: Where to record.
        ledger: What the statements cost.
        slow_after: Seconds, a bound of the histogram's besides its own.
    """

    def __init__(self, meter: Meter, ledger: Ledger, slow_after: float) -> None:
        self.fingerprints = Fingerprints()
        self._ledger = ledger
        self._durations = meter.histogram(DB_OPERATION_DURATION, extra_bounds=(slow_after,))
        self._slow = meter.counter(DB_SLOW_QUERIES)
        self._series: dict[tuple[str, str], Series] = {}

    def of(self, sql: str, dialect: str) -> Series:
        """The series of a statement: one for all strings that differ in literals only."""
        statement = self.fingerprints.of(sql, dialect)
        series = self._series.get((dialect, statement.text))
        if series is None:
            if len(self._series) >= KEPT:
                self._series.clear()
            series = self._series[dialect, statement.text] = Series(
                statement,
                self._ledger.routes(statement),
                self.durations(statement, dialect, ""),
                self._slow.bind(Fingerprint(statement.fingerprint)),
            )
        return series

    def durations(self, statement: Statement, dialect: str, error_type: str) -> HistogramChild:
        """Takes the seconds of the calls that ended so."""
        system = SYSTEMS.get(dialect, "other_sql")
        labels = Operation(
            system, statement.operation, statement.summary, statement.fingerprint, error_type
        )
        return self._durations.bind(labels)
