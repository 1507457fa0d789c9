"""How the database would carry out one statement, asked by EXPLAIN, with what to do about it."""

import json
from typing import Any, Literal

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from vitals.db.indexes import schema_clone, sqlite_advisor
from vitals.db.indexes.postgresql_advisor import Advice, advise
from vitals.db.statements.fingerprint import LONGEST, Statement
from vitals.db.statements.plannable import refuse_code
from vitals.db.statements.plans import Node, Plan, of_postgres, of_sqlite
from vitals.db.statements.side_effect_check import is_harmless
from vitals.metrics.catalogue import OTHER

Explain = bool | Literal["analyze"]
"""Whether slow statements are explained; by executing them again where that is harmless."""

_EXPLAINED = frozenset(("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES"))
CAREFULLY = (
    "SET TRANSACTION READ ONLY",
    "SET LOCAL statement_timeout = '2s'",
    "SET LOCAL lock_timeout = '100ms'",
    "SET LOCAL jit = off",  # compiling takes longer than our own questions
)
"""How a question to PostgreSQL begins: it must change nothing, and hold up nobody."""


def may_explain(statement: Statement, sql: str, parameters: Any) -> bool:
    """Whether EXPLAIN can be put before a statement: it must be one, and be about rows."""
    return (
        statement.operation in _EXPLAINED
        and statement.fingerprint != OTHER
        and not isinstance(parameters, list)
        and len(sql) <= LONGEST
        # A second statement would be executed; the text has no literals that could hold one.
        and ";" not in statement.text.rstrip("; ")
    )


def explain(connection: Connection, sql: str, parameters: Any, *, analyze: bool = False) -> Plan:
    """Ask for the plan of a statement, in a transaction that is rolled back.

    Args:
        connection: To PostgreSQL or SQLite.
        sql: The statement as the driver got it.
        parameters: Its values, likewise.
        analyze: Whether PostgreSQL executes it, if that is certain to change nothing.

    Raises:
        ValueError: The database is another one, or planning might run code of its own.
        sqlalchemy.exc.DBAPIError: The database refuses.
    """
    try:
        match connection.dialect.name:
            case "postgresql":
                plan = _of_postgres(connection, sql, parameters, analyze=analyze)
                connection.rollback()
                return plan._replace(notes=[*plan.notes, *_advice(connection, sql, parameters)])
            case "sqlite":
                return advised(*ask_sqlite(connection, sql, parameters), sql, parameters)
            case other:
                raise ValueError(f"plans of {other} cannot be read")
    finally:
        connection.rollback()


def _of_postgres(connection: Connection, sql: str, parameters: Any, *, analyze: bool) -> Plan:
    for setting in CAREFULLY:
        connection.exec_driver_sql(setting)
    refuse_code(connection, sql)
    explained = connection.exec_driver_sql("EXPLAIN (FORMAT JSON) " + sql, parameters).scalar_one()
    tree: list[Node] = json.loads(explained) if isinstance(explained, str) else explained
    plan = of_postgres(tree)
    if not analyze:
        return plan
    try:
        if not is_harmless(connection, sql, parameters, tree[0]["Plan"]):
            return plan
        question = "EXPLAIN (ANALYZE, FORMAT JSON) " + sql
        return of_postgres(connection.exec_driver_sql(question, parameters).scalar_one())
    except DBAPIError:  # such as one that takes too long this time
        return plan


def ask_sqlite(
    connection: Connection, sql: str, parameters: Any
) -> tuple[Plan, schema_clone.Schema | None]:
    """A statement's plan, and what is needed to advise on it."""
    rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + sql, parameters)
    plan = of_sqlite([(row[0], row[1], row[3]) for row in rows])
    try:
        return plan, schema_clone.read(connection, sql)
    except (ValueError, DBAPIError):
        return plan, None


def advised(plan: Plan, schema: schema_clone.Schema | None, sql: str, parameters: Any) -> Plan:
    """SQLite's plan with what its advisor says; takes milliseconds of the processor."""
    if schema is None:
        return plan
    return plan._replace(
        notes=[*plan.notes, *_told(sqlite_advisor.on_clone(schema, sql, parameters))]
    )


def _advice(connection: Connection, sql: str, parameters: Any) -> list[str]:
    """What the advisor says, where HypoPG is installed."""
    try:
        return _told(advise(connection, sql, parameters))
    except (ValueError, DBAPIError):
        return []


def _told(advice: Advice) -> list[str]:
    if not advice.indexes:
        return advice.notes
    saved = f"the planner would pay {advice.cost_after:.0f} instead of {advice.cost_before:.0f}"
    return [f"{saved} with {'; '.join(advice.indexes)}", *advice.notes]
