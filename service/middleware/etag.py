"""Middleware that answers conditional requests with 304 before parameters are parsed.

The cache entry behind a URL never changes, so it is remembered; the value is looked up each time.
Parsing the parameters of a list costs several times as much as the rest.
"""

from collections import OrderedDict
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.conditional_requests import SLOT, CachedResource, matches, not_modified

MAX_URLS = 2000
MAX_URL_LENGTH = 1000
"""Bytes: unknown query parameters can make a URL arbitrarily long."""
_Url = tuple[str, bytes]


class Revalidation:
    """Responds with 304 if the cached value's ETag matches; passes other requests on.

    Args:
        app: Its :func:`service.conditional_requests.respond` reports the cache entry.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._known: OrderedDict[_Url, tuple[CachedResource, Any]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with 304, or pass the request on."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        header = ",".join(Headers(scope=scope).getlist("if-none-match"))
        if not header:
            await self._app(scope, receive, send)
            return
        url = scope["path"], scope["query_string"]
        if url in self._known:
            self._known.move_to_end(url)
            resource, endpoint = self._known[url]
            rendered = await resource.peek()
            if rendered is not None and matches(header, rendered.etag):
                scope["endpoint"] = endpoint  # so that the metrics have the route
                await not_modified(rendered, resource.cache_control)(scope, receive, send)
                return
        slot = scope[SLOT] = []
        await self._app(scope, receive, send)
        if slot and len(scope["path"]) + len(scope["query_string"]) <= MAX_URL_LENGTH:
            self._known[url] = slot[0], scope.get("endpoint")
            if len(self._known) > MAX_URLS:
                self._known.popitem(last=False)
