"""Tables of users."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from service.db.database import Base, Id, now


class Role(StrEnum):
    """What a user may do: an admin manages users and products."""

    USER = "user"
    ADMIN = "admin"


class User(Base):
    """A user account.

    ``email`` is stored in lower case, so it is unique regardless of case. ``token_version`` is a
    claim of every access token: raising it revokes all of them.
    """

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("role IN ('user', 'admin')", name="role"),)

    id: Mapped[Id]
    email: Mapped[str] = mapped_column(String(254), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16), default=Role.USER)
    active: Mapped[bool] = mapped_column(default=True)
    token_version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=now)
