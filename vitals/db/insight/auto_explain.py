"""Plans of actual executions, collected from the notices of PostgreSQL's auto_explain.

Nothing is queried and nothing runs again: a slow statement sends its plan along. This requires that
the database loads ``auto_explain`` and the role has been granted its settings (see the docs), which
the operator decides; asyncpg and psycopg only. Behind a pooler nothing is set, because the settings
would leak to its other clients; a pooler is recognised by the backend PID, which it makes up.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Engine, event

from vitals.db.engines import EngineWatchers
from vitals.db.side_connections import IS_SIDE
from vitals.db.statements.plans import Plan, parse_postgresql
from vitals.metrics.meter import Meter

_ENABLE_SQL = """
    SELECT set_config('auto_explain.log_min_duration', '{milliseconds:.0f}', false),
           set_config('auto_explain.log_format', 'json', false),
           set_config('auto_explain.log_level', 'notice', false)
    FROM (SELECT bool_and(current_setting(name, true) IS NOT NULL
                          AND has_parameter_privilege(name, 'SET')) AS granted
          FROM unnest(ARRAY['auto_explain.log_min_duration', 'auto_explain.log_format',
                            'auto_explain.log_level']) AS name) AS all_of_them
    WHERE granted AND pg_backend_pid() = {session}
"""
_NOTICE = re.compile(r"duration: ([\d.]+) ms\s+plan:\s*(\{.*)", re.DOTALL)

OnNotice = Callable[[str | None], None]
EnableSql = Callable[[int], str]
"""SQL that enables the notices in a session with this backend PID."""


COLLECTORS = "_vitals_plan_collectors"


class Collector(Protocol):
    """Records the plans of one application."""

    meter: Meter

    def record_plan(self, sql: str, plan: Plan, seconds: float) -> None:
        """Record a statement's plan; it took so many seconds."""


def collect_plans(engine: Engine, slow_threshold: float, collector: Collector) -> None:
    """Collect auto_explain's plans from an engine's connections, where the role may enable it.

    Args:
        engine: The engine; connections that it has opened already send none.
        slow_threshold: Seconds at or above which PostgreSQL sends a plan; of several applications
            that watch the engine, the first one's.
        collector: Receives each plan; held weakly.
    """
    subscribe = _SUBSCRIBE.get(engine.dialect.driver)
    if subscribe is None or not slow_threshold:
        return
    collectors: EngineWatchers[Collector] | None = vars(engine.dialect).get(COLLECTORS)
    if collectors is not None:
        collectors.add(collector)
        return
    collectors = EngineWatchers()
    setattr(engine.dialect, COLLECTORS, collectors)
    collectors.add(collector)
    _listen(engine, slow_threshold, subscribe, collectors)


def _listen(
    engine: Engine,
    slow_threshold: float,
    subscribe: "Subscribe",
    collectors: EngineWatchers[Collector],
) -> None:
    def enable_sql(session: int) -> str:
        return _ENABLE_SQL.format(milliseconds=slow_threshold * 1e3, session=session)

    def on_notice(message: str | None) -> None:
        found = _NOTICE.match(message or "")
        collector = collectors.current()
        if found is None or collector is None:
            return
        try:
            explained = json.loads(found[2])
            plan = parse_postgresql([explained])
            collector.record_plan(explained["Query Text"], plan, float(found[1]) / 1e3)
        except Exception:  # noqa: BLE001  # a failed plan must not fail the host
            collector.meter.dropped("plan")

    refused: list[bool] = []

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        if not refused and not IS_SIDE.get():
            try:
                subscribe(connection, enable_sql, on_notice)
            except Exception:  # noqa: BLE001  # such as PostgreSQL before 15: no notices
                refused.append(True)


def _by_asyncpg(connection: Any, enable_sql: EnableSql, on_notice: OnNotice) -> None:
    async def subscribe(driver: Any) -> None:
        if await driver.fetchrow(enable_sql(driver.get_server_pid())):
            driver.add_log_listener(lambda _driver, notice: on_notice(notice.message))

    connection.run_async(subscribe)


def _by_psycopg(connection: Any, enable_sql: EnableSql, on_notice: OnNotice) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(enable_sql(connection.info.backend_pid))
        if cursor.fetchone():
            connection.add_notice_handler(lambda notice: on_notice(notice.message_primary))
        connection.commit()  # else the settings are lost with the driver's transaction
    except Exception:
        connection.rollback()
        raise
    finally:
        cursor.close()


Subscribe = Callable[[Any, EnableSql, OnNotice], None]
_SUBSCRIBE: dict[str, Subscribe] = {
    "asyncpg": _by_asyncpg,
    "psycopg": _by_psycopg,
}
