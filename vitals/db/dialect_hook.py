"""Every statement is timed where the dialect hands it to the driver.

Engine events would cost 7 µs a query before doing any work; wrapping ``dialect.do_execute*`` costs
a fraction, and sees executemany, insertmanyvalues, raw SQL, errors and cancellation alike. With an
async engine the time includes the wait for the server, since the dialect's call returns only when
the driver has answered. Of a streamed result only the opening is timed.

These methods are SQLAlchemy's, and a later one may go round them. So the seam is tried out on a
database in memory when the first engine is watched; where it does not hold, engine events do.
"""

import logging
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any, Protocol

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import AsyncEngine

AnyEngine = AsyncEngine | Engine

WITH_PARAMETERS = ("do_execute", "do_executemany")
WITHOUT_PARAMETERS = "do_execute_no_params"
_STARTED = "vitals_started"
_log = logging.getLogger(__name__)


class Executed(Protocol):
    """Told of each statement that a driver has executed, failed ones included."""

    def __call__(  # noqa: PLR0917  # an object for it would cost
        self,
        seconds: float,
        error: BaseException | None,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        /,
    ) -> None:
        """Take note; must not raise, for it stands between the driver and the host."""


def attach(engine: AnyEngine, tell: Executed) -> None:
    """Time what an engine executes, in the cheapest way that works."""
    target = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    if holds():
        wrap(target, tell)
    else:
        _log.warning(
            "this SQLAlchemy does not execute by way of its dialect: queries are timed by engine "
            "events, which cost more"
        )
        listen(target, tell)


@cache
def holds() -> bool:
    """Whether a wrapped dialect sees every way to execute (tried once per process)."""
    seen: list[str] = []
    engine = create_engine("sqlite://")
    try:
        wrap(engine, lambda *told: seen.append(told[3]))
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE seam (n)")
            connection.exec_driver_sql("INSERT INTO seam VALUES (?)", [(1,), (2,)])
            connection.exec_driver_sql("SELECT n FROM seam WHERE n = ?", (1,))
            options = {"no_parameters": True}
            connection.exec_driver_sql("SELECT n FROM seam", execution_options=options)
    except Exception:  # noqa: BLE001  # whatever it is, events do without
        return False
    finally:
        engine.dispose()
    return [statement.split()[0] for statement in seen] == ["CREATE", "INSERT", "SELECT", "SELECT"]


def wrap(engine: Engine, tell: Executed) -> None:
    """Time an engine at its dialect."""
    dialect: Any = engine.dialect
    for name in WITH_PARAMETERS:
        setattr(dialect, name, _timed(getattr(dialect, name), tell))
    plain = getattr(dialect, WITHOUT_PARAMETERS)

    def execute(cursor: Any, statement: str, _parameters: Any, context: Any) -> Any:
        return plain(cursor, statement, context)

    timed = _timed(execute, tell)
    setattr(
        dialect,
        WITHOUT_PARAMETERS,
        lambda cursor, statement, context=None: timed(cursor, statement, None, context),
    )


def _timed(execute: Callable[..., Any], tell: Executed) -> Callable[..., Any]:
    if _only_calls_the_cursor(execute):
        return _timed_cursor(tell)

    def timed(cursor: Any, statement: str, parameters: Any, context: Any = None) -> Any:
        started = perf_counter()
        try:
            result = execute(cursor, statement, parameters, context)
        except BaseException as error:
            tell(perf_counter() - started, error, cursor, statement, parameters, context)
            raise
        tell(perf_counter() - started, None, cursor, statement, parameters, context)
        return result

    return timed


def _only_calls_the_cursor(execute: Any) -> bool:
    """Whether a method is SQLAlchemy's own, and that does no more than it does today."""
    own = getattr(execute, "__func__", None) is DefaultDialect.do_execute
    return own and execute.__code__.co_names == ("execute",)


def _timed_cursor(tell: Executed) -> Callable[..., Any]:
    """In the place of a method that only calls the cursor: a call less for each query."""

    def timed(cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        started = perf_counter()
        try:
            cursor.execute(statement, parameters)
        except BaseException as error:
            tell(perf_counter() - started, error, cursor, statement, parameters, context)
            raise
        tell(perf_counter() - started, None, cursor, statement, parameters, context)

    return timed


def listen(engine: Engine, tell: Executed) -> None:
    """Time an engine by its events."""

    def before(  # SQLAlchemy's signature
        _connection: Any, _cursor: Any, _sql: str, _binds: Any, context: Any, _many: Any
    ) -> None:
        setattr(context, _STARTED, perf_counter())

    def after(
        _connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, _many: Any
    ) -> None:
        tell(_since_start(context), None, cursor, statement, parameters, context)

    def failed(trouble: Any) -> None:
        context = trouble.execution_context
        if hasattr(context, _STARTED):  # else nothing was sent, or its rows could not be read
            tell(
                _since_start(context),
                trouble.original_exception,
                None,
                trouble.statement,
                trouble.parameters,
                context,
            )

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)


def _since_start(context: Any) -> float:
    seconds: float = perf_counter() - getattr(context, _STARTED)
    delattr(context, _STARTED)
    return seconds
