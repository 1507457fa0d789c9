"""Read-only user rows, for logins and authentication."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, select

from service.db.database import Database
from service.users.tables import User


@dataclass(frozen=True, slots=True)
class UserRow:
    """A row of the table of `User`."""

    id: int
    email: str
    name: str
    password_hash: str = field(repr=False)
    role: str
    active: bool
    token_version: int
    created_at: datetime


_COLUMNS = [User.__table__.c[column.name] for column in fields(UserRow)]
_BY_ID = select(*_COLUMNS).where(User.id == bindparam("id"))
_BY_EMAIL = select(*_COLUMNS).where(User.email == bindparam("email"))


async def by_id(database: Database, user_id: int) -> UserRow | None:
    """Return the user with this id, active or not.

    Raises:
        UnavailableError: The database does not answer.
    """
    return _user_row(await database.row(_BY_ID, id=user_id))


async def by_email(database: Database, email: str) -> UserRow | None:
    """Return the user with this e-mail address (in lower case), active or not.

    Raises:
        UnavailableError: The database does not answer.
    """
    return _user_row(await database.row(_BY_EMAIL, email=email))


def _user_row(row: Row[Any] | None) -> UserRow | None:
    return None if row is None else UserRow(*tuple(row))
