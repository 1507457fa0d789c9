"""Dialect hook: times each statement where SQLAlchemy's dialect passes it to the driver.

Engine events would cost 7 µs a query before doing any work; wrapping ``dialect.do_execute*`` costs
a fraction, and covers executemany, insertmanyvalues, raw SQL, errors and cancellation alike. With
an async engine the time includes the wait for the server, since the dialect's call returns only
when the driver has a response. Of a streamed result only the opening is timed.

A later SQLAlchemy may bypass these methods. So the hook is tested on an in-memory database when the
first engine is instrumented; if it does not work, engine events are used instead.
"""

import logging
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any, Protocol

from sqlalchemy import Engine, create_engine, event

from vitals.asgi.request_context import CURRENT
from vitals.asgi.request_times import QUERY
from vitals.db.engines import AnyEngine, OwnEngine, root_engine

WITH_PARAMETERS = ("do_execute", "do_executemany")
WITHOUT_PARAMETERS = "do_execute_no_params"
ENDS = ("do_commit", "do_rollback")
"""What ends a transaction: no statement, but a part of the request's time like one."""
_STARTED = "vitals_started"
_log = logging.getLogger(__name__)


class OnExecuted(Protocol):
    """Callback for each statement that a driver has executed, failed ones included."""

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
        """Handle the statement; must not raise, because it runs between driver and host."""


def attach(engine: AnyEngine, on_executed: OnExecuted) -> None:
    """Time an engine's statements by the dialect hook, or else by engine events."""
    target = root_engine(engine)
    if is_supported():
        hook_dialect(target, on_executed)
    else:
        _log.warning(
            "dialect hook not supported by this SQLAlchemy version, falling back to engine events "
            "(more overhead per query)"
        )
        hook_events(target, on_executed)


@cache
def is_supported() -> bool:
    """Whether the hook covers every execution path of SQLAlchemy (tested once per process)."""
    seen: list[str] = []
    made = create_engine("sqlite://")
    engine = OwnEngine(made.pool, made.dialect, made.url)
    try:
        hook_dialect(engine, lambda *call: seen.append(call[3]))
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE TABLE hook (n)")
            connection.exec_driver_sql("INSERT INTO hook VALUES (?)", [(1,), (2,)])
            connection.exec_driver_sql("SELECT n FROM hook WHERE n = ?", (1,))
            options = {"no_parameters": True}
            connection.exec_driver_sql("SELECT n FROM hook", execution_options=options)
    except Exception:  # noqa: BLE001  # any failure means: use engine events
        return False
    finally:
        engine.dispose()
    return [statement.split()[0] for statement in seen] == ["CREATE", "INSERT", "SELECT", "SELECT"]


def hook_dialect(engine: Engine, on_executed: OnExecuted) -> None:
    """Time an engine's statements by wrapping methods of its dialect."""
    dialect: Any = engine.dialect
    for name in WITH_PARAMETERS:
        setattr(dialect, name, _timed(getattr(dialect, name), on_executed))
    for name in ENDS:
        setattr(dialect, name, _noted(getattr(dialect, name)))
    plain = getattr(dialect, WITHOUT_PARAMETERS)

    def execute(cursor: Any, statement: str, _parameters: Any, context: Any) -> Any:
        return plain(cursor, statement, context)

    timed = _timed(execute, on_executed)
    setattr(
        dialect,
        WITHOUT_PARAMETERS,
        lambda cursor, statement, context=None: timed(cursor, statement, None, context),
    )


def _noted(end: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def noted(connection: Any) -> Any:
        request = CURRENT.get()
        if request is None or (times := request.times) is None:
            return end(connection)
        started = perf_counter()
        try:
            return end(connection)
        finally:
            times.wait(QUERY, started, perf_counter())

    return noted


def _timed(execute: Callable[..., Any], on_executed: OnExecuted) -> Callable[..., Any]:
    def timed(cursor: Any, statement: str, parameters: Any, context: Any = None) -> Any:
        started = perf_counter()
        try:
            result = execute(cursor, statement, parameters, context)
        except BaseException as error:
            on_executed(perf_counter() - started, error, cursor, statement, parameters, context)
            raise
        on_executed(perf_counter() - started, None, cursor, statement, parameters, context)
        return result

    return timed


def hook_events(engine: Engine, on_executed: OnExecuted) -> None:
    """Time an engine's statements by engine events."""

    def before(  # SQLAlchemy's signature
        _connection: Any, _cursor: Any, _sql: str, _binds: Any, context: Any, _many: Any
    ) -> None:
        setattr(context, _STARTED, perf_counter())

    def after(
        _connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, _many: Any
    ) -> None:
        on_executed(_since_start(context), None, cursor, statement, parameters, context)

    def failed(exception: Any) -> None:
        context = exception.execution_context
        if hasattr(context, _STARTED):  # else nothing was sent, or its rows could not be read
            on_executed(
                _since_start(context),
                exception.original_exception,
                None,
                exception.statement,
                exception.parameters,
                context,
            )

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "handle_error", failed)


def _since_start(context: Any) -> float:
    seconds: float = perf_counter() - getattr(context, _STARTED)
    delattr(context, _STARTED)
    return seconds
