"""Classification of driver errors: outage of the database, or error of the statement.

Drivers and SQLAlchemy report an outage in many ways: before a connection exists errors are not
wrapped, afterwards they are, and a frozen server is a timeout of the client.
"""

from asyncpg.exceptions import InterfaceError, InternalClientError, PostgresError
from sqlalchemy import exc

from service.db.postgresql import is_stale

TRANSIENT_SQLSTATES = (
    "08",  # connection exceptions
    "28",  # invalid authorization
    "26000",  # a prepared statement is gone
    "3D",  # the database does not exist (yet)
    "40",  # deadlock, serialization failure
    "53",  # out of connections, memory, disk
    "55P03",  # lock not available
    "57",  # statement timeout, shutdown, starting up
    "58",  # system error of the server
)
"""Prefixes of PostgreSQL's SQLSTATE codes after which the same request may succeed."""

_SQLITE_BUSY = (
    "interrupted",
    "locked",
    "busy",
    "unable to open",
    "disk i/o",
    "database or disk is full",
)


def is_outage(error: BaseException) -> bool:
    """Return whether the same request may succeed later, without a change of code or data."""
    if isinstance(error, exc.DBAPIError):
        return error.connection_invalidated or _is_transient(error.orig)
    if isinstance(error, exc.TimeoutError | OSError | InterfaceError | InternalClientError):
        return True  # pool timeout, no route, response timeout, connection closed meanwhile
    return isinstance(error, PostgresError) and _is_transient(error)


def _ended_session(error: BaseException | None) -> bool:
    """Return whether the server ended the connection, as on a full disk at login."""
    errors = (error, getattr(error, "__cause__", 0))
    severities = (getattr(each, "severity_en", None) for each in errors)
    return not {"FATAL", "PANIC"}.isdisjoint(severities)


def _is_transient(error: BaseException | None) -> bool:
    state = getattr(error, "sqlstate", None)
    if state:
        return str(state).startswith(TRANSIENT_SQLSTATES) or _ended_session(error)
    cause = error.__cause__ if error else None
    if isinstance(cause, InterfaceError | InternalClientError) or is_stale(cause):
        return True
    text = str(error).casefold()
    return any(sign in text for sign in _SQLITE_BUSY)
