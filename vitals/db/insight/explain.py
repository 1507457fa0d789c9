"""Explains one statement: its plan with findings and index advice."""

import json
from typing import Any, Literal

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from vitals.db.indexes import schema_clone, sqlite_advisor
from vitals.db.indexes.postgresql_advisor import Advice, advise
from vitals.db.statements.fingerprint import MAX_LENGTH, Statement
from vitals.db.statements.plannable import check_plannable
from vitals.db.statements.plans import Node, Plan, parse_postgresql, parse_sqlite
from vitals.db.statements.side_effect_check import is_side_effect_free
from vitals.metrics.catalogue import OTHER

Explain = bool | Literal["analyze"]
"""Whether to explain slow statements; ``"analyze"``: by executing those without side effects."""

_EXPLAINABLE = frozenset(("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES"))
TRANSACTION_SETTINGS = (
    "SET TRANSACTION READ ONLY",
    "SET LOCAL statement_timeout = '2s'",
    "SET LOCAL lock_timeout = '100ms'",
    "SET LOCAL jit = off",  # compiling takes longer than our queries
)
"""Settings of each transaction on PostgreSQL, so that it changes and blocks nothing."""


def may_explain(statement: Statement, sql: str, parameters: Any) -> bool:
    """Whether a statement can be explained: a single one that reads or writes rows."""
    return (
        statement.operation in _EXPLAINABLE
        and statement.fingerprint != OTHER
        and not isinstance(parameters, list)
        and len(sql) <= MAX_LENGTH
        # A second statement would be executed; the text has no literals that could hold one.
        and ";" not in statement.text.rstrip("; ")
    )


def explain(connection: Connection, sql: str, parameters: Any, *, analyze: bool = False) -> Plan:
    """Explain a statement in a transaction that is rolled back.

    Args:
        connection: To PostgreSQL or SQLite.
        sql: The statement as sent to the driver.
        parameters: Its values, as sent to the driver.
        analyze: Whether PostgreSQL executes it, if it certainly has no side effects.

    Raises:
        ValueError: The database is not supported, or planning might run user-defined code.
        sqlalchemy.exc.DBAPIError: The database refuses.
    """
    try:
        match connection.dialect.name:
            case "postgresql":
                plan = _explain_postgresql(connection, sql, parameters, analyze=analyze)
                connection.rollback()
                return plan._replace(
                    notes=[*plan.notes, *_postgresql_advice(connection, sql, parameters)]
                )
            case "sqlite":
                return with_sqlite_advice(
                    *explain_sqlite(connection, sql, parameters), sql, parameters
                )
            case other:
                raise ValueError(f"plans of {other} are not supported")
    finally:
        connection.rollback()


def _explain_postgresql(
    connection: Connection, sql: str, parameters: Any, *, analyze: bool
) -> Plan:
    for setting in TRANSACTION_SETTINGS:
        connection.exec_driver_sql(setting)
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() != "on":
        raise ValueError("the transaction cannot be made read-only")  # such as in autocommit mode
    check_plannable(connection, sql)
    explained = connection.exec_driver_sql("EXPLAIN (FORMAT JSON) " + sql, parameters).scalar_one()
    tree: list[Node] = json.loads(explained) if isinstance(explained, str) else explained
    plan = parse_postgresql(tree)
    if not analyze:
        return plan
    try:
        if not is_side_effect_free(connection, sql, parameters, tree[0]["Plan"]):
            return plan
        question = "EXPLAIN (ANALYZE, FORMAT JSON) " + sql
        return parse_postgresql(connection.exec_driver_sql(question, parameters).scalar_one())
    except DBAPIError:  # such as a statement timeout
        return plan


def explain_sqlite(
    connection: Connection, sql: str, parameters: Any
) -> tuple[Plan, schema_clone.Schema | None]:
    """Explain a statement on SQLite and read the schema that the advisor needs."""
    rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + sql, parameters)
    plan = parse_sqlite([(row[0], row[1], row[3]) for row in rows])
    try:
        return plan, schema_clone.read(connection, sql)
    except (ValueError, DBAPIError):
        return plan, None


def with_sqlite_advice(
    plan: Plan, schema: schema_clone.Schema | None, sql: str, parameters: Any
) -> Plan:
    """Add the SQLite advisor's advice to a plan; takes milliseconds of CPU time."""
    if schema is None:
        return plan
    return plan._replace(
        notes=[
            *plan.notes,
            *_advice_notes(sqlite_advisor.advise_on_schema(schema, sql, parameters)),
        ]
    )


def _postgresql_advice(connection: Connection, sql: str, parameters: Any) -> list[str]:
    """The advisor's advice, if HypoPG is installed."""
    try:
        return _advice_notes(advise(connection, sql, parameters))
    except (ValueError, DBAPIError):
        return []


def _advice_notes(advice: Advice) -> list[str]:
    if not advice.indexes:
        return advice.notes
    saved = f"estimated cost {advice.cost_after:.0f} instead of {advice.cost_before:.0f}"
    return [f"{saved} with {'; '.join(advice.indexes)}", *advice.notes]
