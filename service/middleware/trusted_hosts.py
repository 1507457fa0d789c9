"""Trusted hosts: refuses other ``Host`` headers, against mistakes and DNS rebinding."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.errors import BadRequestError


class TrustedHosts:
    """Refuses requests for other hosts (400).

    Args:
        app: Handles the others.
        hosts: Names without a port; ``*.example.com`` matches every name below example.com.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._names = frozenset(host for host in hosts if not host.startswith("*."))
        self._endings = tuple(host[1:] for host in hosts if host.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or refuse it."""
        if scope["type"] == "http" and not self._knows(Headers(scope=scope).get("host", "")):
            refusal = BadRequestError("The name in `Host` is not allowed.")
            await problems.to_response(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _knows(self, host: str) -> bool:
        name = host.lower()
        if not name.endswith("]"):  # an IPv6 address without a port
            name = name.rpartition(":")[0] or name
        return name in self._names or (bool(self._endings) and name.endswith(self._endings))
