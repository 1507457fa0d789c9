"""Plans of real executions, which PostgreSQL tells of by itself: auto_explain's notices.

Nothing is asked and nothing is run again: a statement that is slow brings its plan along. Only
where the database loads ``auto_explain`` and the role has been granted its settings (see the docs),
which is a choice of whoever runs it; with asyncpg and psycopg. Behind a pooler nothing is set, for
the settings would reach its other clients; it is known by the process number, which it makes up.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.db.dialect_hook import AnyEngine
from vitals.db.statements.plans import Plan, of_postgres
from vitals.metrics.meter import Meter

_ASK = """
    SELECT set_config('auto_explain.log_min_duration', '{milliseconds:.0f}', false),
           set_config('auto_explain.log_format', 'json', false),
           set_config('auto_explain.log_level', 'notice', false)
    FROM (SELECT bool_and(current_setting(name, true) IS NOT NULL
                          AND has_parameter_privilege(name, 'SET')) AS granted
          FROM unnest(ARRAY['auto_explain.log_min_duration', 'auto_explain.log_format',
                            'auto_explain.log_level']) AS name) AS all_of_them
    WHERE granted AND pg_backend_pid() = {session}
"""
_TOLD = re.compile(r"duration: ([\d.]+) ms\s+plan:\s*(\{.*)", re.DOTALL)

Told = Callable[[str | None], None]
Question = Callable[[int], str]
"""What to ask a session of this process number."""
Keep = Callable[[str, Plan, float], None]
"""Takes the statement's text, its plan, and how many seconds it took."""


def listen(engine: AnyEngine, slow_after: float, keep: Keep, meter: Meter) -> None:
    """Have plans kept that the database tells of, where it does.

    Args:
        engine: Whose connections.
        slow_after: Seconds from which on a plan is of interest.
        keep: Takes a plan.
        meter: Counts what could not be read.
    """
    ask = _WAYS.get(engine.dialect.driver)
    if ask is None or not slow_after:
        return

    def question(session: int) -> str:
        return _ASK.format(milliseconds=slow_after * 1e3, session=session)

    def told(message: str | None) -> None:
        found = _TOLD.match(message or "")
        if found is None:
            return
        try:
            explained = json.loads(found[2])
            keep(explained["Query Text"], of_postgres([explained]), float(found[1]) / 1e3)
        except Exception:  # noqa: BLE001  # a plan is worth nobody's trouble
            meter.dropped("plan")

    refused: list[bool] = []

    @event.listens_for(engine.sync_engine if isinstance(engine, AsyncEngine) else engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        if not refused:
            try:
                ask(connection, question, told)
            except Exception:  # noqa: BLE001  # such as a PostgreSQL before 15: no notices then
                refused.append(True)


def _by_asyncpg(connection: Any, question: Question, told: Told) -> None:
    async def ask(driver: Any) -> None:
        if await driver.fetchrow(question(driver.get_server_pid())):
            driver.add_log_listener(lambda _driver, notice: told(notice.message))

    connection.run_async(ask)


def _by_psycopg(connection: Any, question: Question, told: Told) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(question(connection.info.backend_pid))
        if cursor.fetchone():
            connection.add_notice_handler(lambda notice: told(notice.message_primary))
        connection.commit()  # else the settings would go with the driver's transaction
    except Exception:
        connection.rollback()
        raise
    finally:
        cursor.close()


_WAYS: dict[str, Callable[[Any, Question, Told], None]] = {
    "asyncpg": _by_asyncpg,
    "psycopg": _by_psycopg,
}
