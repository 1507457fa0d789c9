"""304 before anything is parsed, for who asks again.

Which cached value answers an address never changes, so it is remembered; what the value is, is
looked up each time. Reading the parameters of a list costs several times as much as the rest.
"""

from collections import OrderedDict
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.conditional_requests import SLOT, Recall, has, unchanged

MOST_ADDRESSES = 2000
LONGEST_ADDRESS = 1000
"""Bytes. What nobody reads of a query may be as long as a client likes."""
_Address = tuple[str, bytes]


class Revalidation:
    """Answers who has the cached value already; everybody else goes the long way.

    Args:
        app: The long way. Its :func:`service.conditional_requests.answer` says what answered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._known: OrderedDict[_Address, tuple[Recall, Any]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 304, or pass the request on."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        header = ",".join(Headers(scope=scope).getlist("if-none-match"))
        if not header:
            await self._app(scope, receive, send)
            return
        address = scope["path"], scope["query_string"]
        if address in self._known:
            self._known.move_to_end(address)
            recall, endpoint = self._known[address]
            rendered = await recall.again()
            if rendered is not None and has(header, rendered.etag):
                scope["endpoint"] = endpoint  # measured as what would have answered
                await unchanged(rendered, recall.caching)(scope, receive, send)
                return
        slot = scope[SLOT] = []
        await self._app(scope, receive, send)
        if slot and len(scope["path"]) + len(scope["query_string"]) <= LONGEST_ADDRESS:
            self._known[address] = slot[0], scope.get("endpoint")
            if len(self._known) > MOST_ADDRESSES:
                self._known.popitem(last=False)
