"""A page for administrators only: by their token, or by a login in a browser."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from vitals.db.insight.page_login import Admin, AdminLogin, PageLogin, Refusal, set_cookie
from vitals.metrics.access import is_local
from vitals.metrics.endpoint import SECURITY_HEADERS

_SEE_OTHER = 303


class GuardedPage:
    """ASGI application of one page; a subclass shows it.

    Args:
        admin: Who may read; None for clients of this machine.
        admin_login: Checks a name and a password.
    """

    def __init__(self, admin: Admin | None, admin_login: AdminLogin | None) -> None:
        self._login = None if admin is None else PageLogin(admin, admin_login)

    async def show(self, request: Request) -> Response:
        """Answer a request that may read the page."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        response = await self._respond(Request(scope, receive))
        response.headers.update(SECURITY_HEADERS)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        login = self._login
        if request.method == "POST" and login is not None:
            return await self._log_in(request, login)
        if request.method not in {"GET", "HEAD"}:
            allowed = "GET" if login is None else "GET, POST"
            return PlainTextResponse("use GET, or POST to log in\n", 405, {"allow": allowed})
        if login is None:
            is_allowed = is_local(request.scope, request.headers)
            return await self.show(request) if is_allowed else PlainTextResponse(_LOCAL_ONLY, 403)
        refusal = await login.refuse(request)
        return await self.show(request) if refusal is None else _refused(refusal)

    @staticmethod
    async def _log_in(request: Request, login: PageLogin) -> Response:
        found = await login.log_in(request)
        if isinstance(found, Refusal):
            return _refused(found)
        query = request.url.query
        location = request.url.path + (f"?{query}" if query else "")
        response = Response(status_code=_SEE_OTHER, headers={"location": location})
        set_cookie(response, request, found)
        return response


_LOCAL_ONLY = (
    "this page is for clients on the service's own machine, unless instrument(app, admin=...) says "
    "who may read it\n"
)


def _refused(refusal: Refusal) -> Response:
    return PlainTextResponse(f"{refusal.message}\n", refusal.status, refusal.headers)
