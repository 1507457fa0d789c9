"""Limit on the number of query parameters, which are decoded and validated on the event loop."""

from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.errors import BadRequestError

MAX_PARAMETERS = 200


class QueryParameterLimit:
    """Refuses requests whose query has more than ``MAX_PARAMETERS`` parameters (400).

    Args:
        app: Handles the others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or refuse it."""
        if scope["type"] == "http" and scope["query_string"].count(b"&") >= MAX_PARAMETERS:
            refusal = BadRequestError(f"The query has more than {MAX_PARAMETERS} parameters.")
            await problems.to_response(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)
