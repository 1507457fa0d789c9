"""Authentication by access tokens, and authorisation by the user's current row.

A token proves the identity. The rights are read from the database on every request, never from the
token or a cache: a deactivated user is locked out at once.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex
from time import time
from typing import Annotated

import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jwt.algorithms import HMACAlgorithm

from service.db.database import DatabaseOf
from service.errors import ForbiddenError, UnauthorizedError
from service.param_types import MAX_ID
from service.secret_files import SecretError
from service.users import user_rows
from service.users.tables import Role, User
from service.users.user_rows import UserRow

ALGORITHM = "HS256"
ISSUER = "service"
CLOCK_SKEW_SECONDS = 60
"""Tolerance for tokens issued in the future, by a machine whose clock is ahead."""
_CLAIMS = ["exp", "iat", "iss", "jti", "sub", "ver"]

_bearer = HTTPBearer(
    scheme_name="accessToken",
    auto_error=False,
    bearerFormat="JWT",
    description="the `access_token` of `log_in`",
)


def key_id(key: str) -> str:
    """Return the id of a key (``kid``), which reveals nothing of it: 16 hex digits."""
    return hmac.digest(key.encode(), b"key id", sha256)[:8].hex()


class InvalidTokenError(UnauthorizedError):
    """The token is not valid (any more): log in again."""

    slug = "invalid-token"
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}  # noqa: RUF012 - read only


@dataclass(frozen=True)
class Claims:
    """Claims of a token: the user, and the token version."""

    user_id: int
    version: int


_SIGNATURE = HMACAlgorithm(HMACAlgorithm.SHA256)


class AccessTokens:
    """Issues and verifies access tokens (JWT, HS256).

    Args:
        keys: Signing keys, at least 32 bytes each; each allows to log in as any user. The first
            one signs; tokens of the others, which are being retired, are valid until they expire.
        lifetime: Seconds until a token expires.

    Raises:
        SecretError: A key is a certificate, or a key of another kind.
    """

    def __init__(self, keys: Sequence[str], lifetime: int) -> None:
        try:
            self._keys = {key_id(key): _SIGNATURE.prepare_key(key) for key in keys}
        except jwt.InvalidKeyError as error:
            raise SecretError(f"tokens cannot be signed with this JWT key: {error}") from error
        self._current = key_id(keys[0])
        self.lifetime = lifetime

    def issue(self, user: User | UserRow) -> str:
        """Issue a token for a user."""
        issued = int(time())
        claims = {
            "iss": ISSUER,
            "sub": str(user.id),
            "ver": user.token_version,
            "jti": token_hex(16),
            "iat": issued,
            "exp": issued + self.lifetime,
        }
        key, headers = self._keys[self._current], {"kid": self._current}
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers=headers)

    def read(self, token: str) -> Claims:
        """Verify a token's signature, age and claims.

        Raises:
            InvalidTokenError: It has another issuer, has expired or was changed.
        """
        try:
            # Tokens of the release before named no key.
            key = self._keys[jwt.get_unverified_header(token).get("kid", self._current)]
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                # PyJWT's leeway would also prolong every token.
                options={"require": _CLAIMS, "verify_iat": False},
            )
            user_id, version = int(claims["sub"]), int(claims["ver"])
            issued = int(claims["iat"])
        except (jwt.PyJWTError, LookupError, ValueError, TypeError, OverflowError) as error:
            raise InvalidTokenError from error
        if not 0 < user_id <= MAX_ID or issued > time() + CLOCK_SKEW_SECONDS:
            raise InvalidTokenError
        return Claims(user_id, version)


async def _caller(
    request: Request,
    database: DatabaseOf,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> UserRow:
    if credentials is None:
        raise UnauthorizedError
    tokens: AccessTokens = request.app.state.tokens
    claims = tokens.read(credentials.credentials)
    user = await user_rows.by_id(database, claims.user_id)
    if user is None or not user.active or user.token_version != claims.version:
        raise InvalidTokenError
    return user


CallerOf = Annotated[UserRow, Depends(_caller)]
"""The user who sent the request; 401 without a valid token."""


async def _admin(caller: CallerOf) -> UserRow:
    if caller.role != Role.ADMIN:
        raise ForbiddenError
    return caller


AdminOf = Annotated[UserRow, Depends(_admin)]
"""The admin who sent the request; 401 without a valid token, 403 for other users."""


async def is_admin(request: Request) -> bool:
    """Return whether a request is an admin's, outside of endpoints.

    Raises:
        UnavailableError: The database does not answer.
    """
    try:
        await _admin(await _caller(request, request.app.state.database, await _bearer(request)))
    except (UnauthorizedError, ForbiddenError):
        return False
    return True
