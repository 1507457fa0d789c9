"""How many parameters a query may have: each is decoded, checked and measured on the event loop."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.errors import BadRequestError

MOST = 200


class FewParameters:
    """Refuses requests whose query has more than ``MOST`` parameters (400).

    Args:
        app: What answers the others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "http" and scope["query_string"].count(b"&") >= MOST:
            refusal = BadRequestError(f"The query has more than {MOST} parameters.")
            await problems.answer(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)
