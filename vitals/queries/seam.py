"""Every statement is timed where the dialect hands it to the driver.

Engine events would cost 7 µs a query before doing any work; wrapping ``dialect.do_execute*`` costs
3 to 5 µs in all, and sees executemany, insertmanyvalues, raw SQL, errors and cancellation alike.
With an async engine the time includes the wait for the server, since the dialect's call returns
only when the driver has answered.
"""

from collections.abc import Callable
from time import perf_counter, time_ns
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.catalogue import (
    DB_OPERATION_DURATION,
    DB_SLOW_QUERIES,
    DB_SLOW_QUERY_THRESHOLD,
    Fingerprint,
    Operation,
)
from vitals.meter import Meter
from vitals.metric import NoLabels
from vitals.objectives import Objectives, Slo
from vitals.queries.fingerprint import Fingerprints, Statement
from vitals.scope import CURRENT, MakeSpan
from vitals.series import CounterChild, HistogramChild

AnyEngine = AsyncEngine | Engine

SYSTEMS = {"postgresql": "postgresql", "sqlite": "sqlite", "mysql": "mysql", "mariadb": "mariadb"}
"""db.system.name of the OpenTelemetry semantic conventions by SQLAlchemy dialect."""

METHODS = ("do_execute", "do_executemany", "do_execute_no_params")
MARK = "_vitals_watched"


class QueryProbe:
    """Times the statements of any number of engines.

    Args:
        meter: Where to record.
        objectives: Say from when on a query is slow.
        span: Makes a span of each operation; None when there is no tracing.
    """

    def __init__(self, meter: Meter, objectives: Objectives, span: MakeSpan | None = None) -> None:
        self.fingerprints = Fingerprints()
        self._meter = meter
        self._span = span
        self._slow_after = objectives.of(Slo.QUERIES).within or 0.0
        self._durations = meter.histogram(DB_OPERATION_DURATION, also=(self._slow_after,))
        self._slow = meter.counter(DB_SLOW_QUERIES)
        self._bound: dict[tuple[str, Statement, str], tuple[HistogramChild, CounterChild]] = {}
        meter.gauge(DB_SLOW_QUERY_THRESHOLD).bind(NoLabels()).set(self._slow_after)

    def watch(self, engine: AnyEngine) -> None:
        """Time what this engine executes; a second call for the same engine changes nothing."""
        dialect = (engine.sync_engine if isinstance(engine, AsyncEngine) else engine).dialect
        watched = vars(dialect).setdefault(MARK, [])
        if self in watched:
            return
        watched.append(self)
        system = SYSTEMS.get(dialect.name, "other_sql")
        for method in METHODS:
            setattr(dialect, method, self._timed(getattr(dialect, method), system))

    def _timed(self, execute: Callable[..., Any], system: str) -> Callable[..., Any]:
        def timed(cursor: Any, statement: str, *rest: Any, **more: Any) -> Any:
            began = time_ns() if self._span is not None else 0
            started = perf_counter()
            try:
                result = execute(cursor, statement, *rest, **more)
            except BaseException as error:
                seconds = perf_counter() - started
                self._record(statement, system, seconds, began, type(error).__qualname__)
                raise
            self._record(statement, system, perf_counter() - started, began, "")
            return result

        return timed

    def _record(self, sql: str, system: str, seconds: float, began: int, error_type: str) -> None:
        try:
            statement = self.fingerprints.of(sql)
            request = CURRENT.get()
            duration, slow = self._bound.get((system, statement, error_type)) or self._bind(
                system, statement, error_type
            )
            if request is None:
                duration.observe(seconds)
            else:
                request.queries += 1
                request.db_seconds += seconds
                duration.observe(seconds, request.exemplar)
            if seconds > self._slow_after:
                slow.inc()
            if self._span is not None:
                attributes = {
                    "db.system.name": system,
                    "db.operation.name": statement.operation,
                    "db.query.summary": statement.summary,
                    "db.query.text": statement.text,
                    "vitals.db.query.fingerprint": statement.fingerprint,
                }
                self._span(statement.summary, began, error_type, attributes)
        except Exception:  # noqa: BLE001  # the query is the host's; measuring it must not fail it
            self._meter.dropped("query_probe")

    def _bind(
        self, system: str, statement: Statement, error_type: str
    ) -> tuple[HistogramChild, CounterChild]:
        labels = Operation(
            system, statement.operation, statement.summary, statement.fingerprint, error_type
        )
        bound = (
            self._durations.bind(labels),
            self._slow.bind(Fingerprint(statement.fingerprint)),
        )
        if len(self._bound) < _BOUND:
            self._bound[(system, statement, error_type)] = bound
        return bound


_BOUND = 2_000
"""Kinds of operation kept bound; further ones are looked up each time."""
