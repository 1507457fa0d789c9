"""Attributes of a statement's span, by OpenTelemetry's stable conventions for databases.

https://opentelemetry.io/docs/specs/semconv/db/database-spans/
"""

from typing import Any

from sqlalchemy.engine import URL

from vitals.db.engines import AnyEngine
from vitals.db.statements.fingerprint import Statement

_MYSQL = {"mysql", "mariadb"}


def connection_attributes(engine: AnyEngine, system: str) -> dict[str, Any]:
    """Attributes of all spans of an engine: system, database, and server where its URL names it.

    Args:
        engine: The engine.
        system: ``db.system.name``.
    """
    url = engine.url
    attributes: dict[str, Any] = {"db.system.name": system}
    if url.database and url.database != ":memory:":
        # SQLite's is a path, which may tell a user's name.
        attributes["db.namespace"] = url.database.rsplit("/", 1)[-1]
    address = url.host or _host_parameter(url)
    if address:
        attributes["server.address"] = address
        if url.port is not None:
            attributes["server.port"] = url.port
    return attributes


def _host_parameter(url: URL) -> str:
    """The one host that is given as a query parameter: a socket's directory; of several, none."""
    host = url.query.get("host", "")
    return host if isinstance(host, str) and "," not in host and ":" not in host else ""


def statement_attributes(statement: Statement) -> dict[str, str]:
    """Attributes of all spans of a statement."""
    attributes = {
        "db.operation.name": statement.operation,
        "db.query.summary": statement.summary,
        "db.query.text": statement.text,
        "vitals.db.query.fingerprint": statement.fingerprint,
    }
    _, *tables = statement.summary.split(" ")
    if len(tables) == 1:  # the conventions name a table only where there is one
        attributes["db.collection.name"] = tables[0]
    return attributes


def response_status_code(error: BaseException, dialect: str) -> str:
    """``db.response.status_code``: SQLSTATE, SQLite's name or MySQL's number; else empty.

    Args:
        error: What the driver raised.
        dialect: SQLAlchemy's name of the database.
    """
    if dialect in _MYSQL and error.args and isinstance(error.args[0], int):
        return str(error.args[0])
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        code = getattr(error, name, None)
        if isinstance(code, str):
            return code
    return ""
