"""Users over HTTP: register, log in, and manage."""

from collections.abc import Mapping

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import ValidationError

from service.auth import AccessTokens, AdminOf, CallerOf
from service.db.database import Database, DatabaseOf
from service.errors import ServiceError, UnauthorizedError
from service.openapi import documented
from service.pagination import CursorsOf, Page, link_next
from service.param_types import Cursor, Limit, PathId
from service.users import repository, user_rows
from service.users.login_throttle import LoginThrottleOf
from service.users.passwords import Passwords, PasswordsOf
from service.users.schemas import Login, Registration, RoleChange, Token, UserOut
from service.users.tables import User
from service.users.user_rows import UserRow

router = APIRouter(prefix="/users", tags=["users"])


class WrongLoginError(UnauthorizedError):
    """E-mail address or password is wrong."""

    slug, title = "wrong-login", "Wrong login"

    def __init__(self, state: Mapping[str, str]) -> None:
        super().__init__()
        self.headers = {**self.headers, **state}


@router.post("", status_code=201, responses=documented(409, 429))
async def register_user(
    registration: Registration,
    request: Request,
    database: DatabaseOf,
    passwords: PasswordsOf,
    throttle: LoginThrottleOf,
) -> UserOut:
    """Create a user account."""
    await throttle.register(request)
    async with passwords.slot():
        if await user_rows.by_email(database, registration.email):
            raise repository.EmailTakenError
        # No connection is held while the password is hashed.
        hashed = await passwords.hash(registration.password)
    user = User(email=registration.email, name=registration.name, password_hash=hashed)
    async with database.writing() as session:
        await repository.add(session, user)
    return UserOut.model_validate(user)


@router.post("/login", responses=documented(401, 429))
async def log_in(
    *,
    login: Login,
    request: Request,
    response: Response,
    database: DatabaseOf,
    passwords: PasswordsOf,
    throttle: LoginThrottleOf,
) -> Token:
    """Get a token.

    Attempts are limited by account and by address; `RateLimit` says how many are left.
    """
    state = await throttle.log_in(request, login.email)
    user = await _verified(login, database, passwords)
    if user is None:
        raise WrongLoginError(state)
    tokens: AccessTokens = request.app.state.tokens
    response.headers.update(state)
    return Token(access_token=tokens.issue(user), expires_in=tokens.lifetime)


async def token_of(request: Request, email: str, password: str) -> str | None:
    """Return the token of a user who logs in outside of endpoints; None if that is wrong.

    Raises:
        HTTPException: There were too many attempts, or the database does not answer.
    """
    state = request.app.state
    try:
        login = Login(email=email, password=password)
        await state.login_throttle.log_in(request, login.email)
        user = await _verified(login, state.database, state.passwords)
    except ValidationError:
        return None
    except ServiceError as error:
        raise HTTPException(error.status, error.detail, error.headers) from error
    tokens: AccessTokens = state.tokens
    return None if user is None else tokens.issue(user)


async def _verified(login: Login, database: Database, passwords: Passwords) -> UserRow | None:
    """The active user with this password; their hash is renewed if its parameters are old."""
    async with passwords.slot():
        user = await user_rows.by_email(database, login.email)
        check = await passwords.check(login.password, user.password_hash if user else None)
    if user is None or not check.matches or not user.active:
        return None
    if check.new_hash is not None:
        async with database.writing() as session:
            await repository.rehash(session, user, check.new_hash)
    return user


@router.get("/me", responses=documented(401))
async def get_current_user(caller: CallerOf) -> UserOut:
    """Return the user who is logged in."""
    return UserOut.model_validate(caller)


@router.get("", responses=documented(400, 401, 403))
async def list_users(
    *,
    request: Request,
    response: Response,
    _admin: AdminOf,
    database: DatabaseOf,
    cursors: CursorsOf,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Page[UserOut]:
    """List all users, newest first (admin)."""
    async with database.reading() as session:
        rows = await repository.page(session, cursors, limit=limit, cursor=cursor)
    page = rows.as_page(UserOut)
    link_next(request, response, page)
    return page


@router.put("/{user_id}/role", responses=documented(401, 403, 404, 409))
async def change_user_role(
    user_id: PathId, change: RoleChange, _admin: AdminOf, database: DatabaseOf
) -> UserOut:
    """Change the role of a user (admin)."""
    async with database.writing() as session:
        user = await repository.change_role(session, user_id, change.role)
    return UserOut.model_validate(user)


@router.post("/{user_id}/deactivate", responses=documented(401, 403, 404, 409))
async def deactivate_user(user_id: PathId, _admin: AdminOf, database: DatabaseOf) -> UserOut:
    """Deactivate a user; their tokens become invalid at once (admin)."""
    async with database.writing() as session:
        user = await repository.deactivate(session, user_id)
    return UserOut.model_validate(user)
