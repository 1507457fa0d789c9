"""Login of the bottlenecks page: who is an administrator, by token, or by a form in a browser.

A browser sends no bearer token of its own, so it gets a form. What is entered there is checked as
a token in a request would be, and kept in a cookie of this page: for the browser's session only,
out of reach of scripts, and not sent with requests that other sites make in the background.
"""

import hmac
import inspect
from collections.abc import Awaitable, Callable
from hashlib import sha256
from time import time
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

Admin = str | Callable[[Request], bool | Awaitable[bool]]
"""A bearer token, or a function that decides whether a request is an administrator's."""

AdminLogin = Callable[[Request, str, str], Awaitable[str | None] | str | None]
"""Returns the bearer token of the user with a name and a password; None if they are wrong."""

COOKIE = "vitals_admin"
MAX_FORM = 8_192
"""Bytes of a form that are read."""
SESSION_SECONDS = 8 * 3_600
"""Seconds for which a login by the admin token lasts; other tokens expire as the host decides."""
_NO_COOKIE = frozenset(' ";,\\')
"""Characters that a cookie's value cannot have (RFC 6265)."""
_FORM_TYPE = "application/x-www-form-urlencoded"


class Refusal(NamedTuple):
    """Why a request is refused.

    Attributes:
        status: 401 without credentials, 403 for others than administrators, or the host's own.
        message: For the client.
        headers: Of the response.
    """

    status: int
    message: str
    headers: dict[str, str]


class PageLogin:
    """Decides who may read the page.

    Args:
        admin: Who may read.
        log_in: Checks a name and a password; None where the form asks for a token.

    Attributes:
        asks_for_password: Whether the form asks for a name and a password.

    Raises:
        ValueError: The token is empty.
    """

    def __init__(self, admin: Admin, log_in: AdminLogin | None = None) -> None:
        if isinstance(admin, str) and not admin.strip():
            raise ValueError("admin must not be an empty token, which anyone could send; use None")
        self._admin = admin
        self._log_in = log_in
        self.asks_for_password = log_in is not None

    async def refuse(self, request: Request) -> Refusal | None:
        """Why the request is refused; None if it is an administrator's."""
        if isinstance(self._admin, str):
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() == "bearer" and _equal(given.strip(), self._admin):
                return None
            if self._is_session(request.cookies.get(COOKIE, ""), self._admin):
                return None
            message = "send the admin token as 'Authorization: Bearer ...'"
            return Refusal(401, message, {"www-authenticate": "Bearer"})
        token = request.cookies.get(COOKIE)
        if token and "authorization" not in request.headers:
            request = _with_token(request, token)
        return await self._ask(self._admin, request)

    async def log_in(self, request: Request) -> str | Refusal:
        """Check the form; returns the value of the cookie, or why it is refused."""
        if not _is_same_origin(request):
            return Refusal(403, "log in from the page itself", {})
        fields = await _form(request)
        if fields is None:
            return Refusal(400, "send the form of the page", {})
        found = await self._token(request, fields)
        return found if isinstance(found, Refusal) else await self._check(request, found)

    async def _token(self, request: Request, fields: dict[str, str]) -> str | Refusal:
        """The bearer token of the user who filled in the form."""
        if self._log_in is None:
            return fields.get("token", "").strip()
        try:
            found = self._log_in(request, fields.get("name", ""), fields.get("password", ""))
            token = await found if inspect.isawaitable(found) else found
        except HTTPException as error:
            return Refusal(error.status_code, str(error.detail), dict(error.headers or {}))
        except Exception:  # noqa: BLE001  # the host's check failed: no access
            return Refusal(503, "authorization check failed", {})
        return token or Refusal(401, "wrong name or password", {})

    async def _check(self, request: Request, token: str) -> str | Refusal:
        """The value of the cookie, if the token is an administrator's."""
        if isinstance(self._admin, str):
            if not _equal(token, self._admin):
                return Refusal(401, "wrong token", {})
            return _session(self._admin, int(time()) + SESSION_SECONDS)
        if not token or not token.isascii() or not token.isprintable() or set(token) & _NO_COOKIE:
            return Refusal(401, "wrong token", {})
        refusal = await self._ask(self._admin, _with_token(request, token))
        return token if refusal is None else refusal

    @staticmethod
    async def _ask(
        admin: Callable[[Request], bool | Awaitable[bool]], request: Request
    ) -> Refusal | None:
        try:
            allowed = admin(request)
            if (await allowed if inspect.isawaitable(allowed) else allowed) is True:
                return None
        except HTTPException as error:
            return Refusal(error.status_code, str(error.detail), dict(error.headers or {}))
        except Exception:  # noqa: BLE001  # the host's check failed: access is denied
            return Refusal(503, "authorization check failed", {})
        return Refusal(403, "this page is for administrators only", {})

    @staticmethod
    def _is_session(cookie: str, token: str) -> bool:
        ends, _, _ = cookie.partition(".")
        if not ends.isascii() or not ends.isdecimal() or len(ends) > 12:  # noqa: PLR2004
            return False
        return int(ends) > time() and _equal(cookie, _session(token, int(ends)))


def has_credentials(request: Request) -> bool:
    """Whether a request says who sends it."""
    return "authorization" in request.headers or COOKIE in request.cookies


def set_cookie(response: Response, request: Request, value: str) -> None:
    """Keep a login in the browser; an empty value ends it."""
    options = {
        "path": request.url.path,
        "secure": request.url.scheme == "https",
        "httponly": True,
    }
    if value:
        # Lax: a link from a board on another site has it too; what it opens changes nothing.
        response.set_cookie(COOKIE, value, samesite="lax", **options)  # type: ignore[arg-type]
    else:
        response.delete_cookie(COOKIE, samesite="lax", **options)  # type: ignore[arg-type]


def _session(token: str, ends: int) -> str:
    """The cookie of a login by the admin token, which cannot be found out from it."""
    return f"{ends}.{hmac.digest(token.encode(), f'vitals page {ends}'.encode(), sha256).hex()}"


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def _with_token(request: Request, token: str) -> Request:
    """The request as a client with this bearer token would send it."""
    header = (b"authorization", f"Bearer {token}".encode("latin-1", errors="replace"))
    kept = [each for each in request.scope["headers"] if each[0] != b"authorization"]
    return Request({**request.scope, "headers": [*kept, header]}, request.receive)


def _is_same_origin(request: Request) -> bool:
    """Whether a form was sent by the page itself; clients that are no browser say nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:  # which browsers send where they trust the connection
        return site in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


async def _form(request: Request) -> dict[str, str] | None:
    if not request.headers.get("content-type", "").startswith(_FORM_TYPE):
        return None
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM:
                return None
    except ClientDisconnect:
        return None
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        return None
    return {name: values[-1] for name, values in fields.items()}
