"""Database access of users."""

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from service.errors import ConflictError, FieldError, NotFoundError
from service.pagination import Cursors, Rows, Sort, descending, listing_id
from service.users.tables import Role, User
from service.users.user_rows import UserRow

NEWEST = Sort("newest", descending(User.id))


class EmailTakenError(ConflictError):
    """The e-mail address is already registered: log in instead."""

    slug, title = "email-taken", "E-mail address taken"

    def __init__(self) -> None:
        super().__init__("", FieldError("is taken", pointer="/email"))


class LastAdminError(ConflictError):
    """This is the last active admin: give another user the role first."""

    slug, title = "last-admin", "Last admin"


async def add(session: AsyncSession, user: User) -> User:
    """Store a new user.

    Raises:
        EmailTakenError: The address is already registered.
    """
    session.add(user)
    try:
        await session.flush()
    except IntegrityError as error:
        raise EmailTakenError from error
    return user


async def page(
    session: AsyncSession, cursors: Cursors, *, limit: int, cursor: str | None
) -> Rows[User]:
    """Return a page of all users, newest first.

    Raises:
        BadCursorError: The cursor belongs to another list.
    """
    where = listing_id("users", NEWEST, {})
    return await cursors.page(
        session, select(User), NEWEST, listing=where, limit=limit, cursor=cursor
    )


async def change_role(session: AsyncSession, user_id: int, role: Role) -> User:
    """Give a user a role.

    Raises:
        NotFoundError: There is no such user.
        LastAdminError: No admin would be left.
    """
    user = await _locked(session, user_id)
    if role != Role.ADMIN:
        await _keep_an_admin(session, user)
    user.role = role
    return user


async def deactivate(session: AsyncSession, user_id: int) -> User:
    """Deactivate a user and revoke all tokens. Idempotent.

    Raises:
        NotFoundError: There is no such user.
        LastAdminError: No admin would be left.
    """
    user = await _locked(session, user_id)
    if user.active:
        await _keep_an_admin(session, user)
        user.active = False
        user.token_version += 1
    return user


async def rehash(session: AsyncSession, user: UserRow, password_hash: str) -> None:
    """Store a newer hash of the same password, unless the password was changed meanwhile."""
    same = (User.id == user.id) & (User.password_hash == user.password_hash)
    await session.execute(update(User).where(same).values(password_hash=password_hash))


async def _locked(session: AsyncSession, user_id: int) -> User:
    # The admins are locked too, always in the order of ids: two admins who demote each other at
    # the same moment come one after the other, and the second sees what the first did.
    admins = (User.role == Role.ADMIN) & User.active
    statement = select(User).where(admins | (User.id == user_id)).order_by(User.id)
    users = await session.scalars(statement.with_for_update())
    user = next((user for user in users if user.id == user_id), None)
    if user is None:
        raise NotFoundError(f"There is no user {user_id}.")
    return user


async def _keep_an_admin(session: AsyncSession, user: User) -> None:
    others = (User.role == Role.ADMIN) & User.active & (User.id != user.id)
    if (
        user.role == Role.ADMIN
        and user.active
        and await session.scalar(select(User.id).where(others).limit(1)) is None
    ):
        raise LastAdminError
