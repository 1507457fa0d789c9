"""Which names we answer to: a request for another is a mistake, or a page that tricks a browser."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.errors import BadRequestError


class KnownHosts:
    """Refuses requests for other hosts (400).

    Args:
        app: What answers the others.
        hosts: Names without a port; ``*.example.com`` stands for every name below example.com.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._names = frozenset(host for host in hosts if not host.startswith("*."))
        self._endings = tuple(host[1:] for host in hosts if host.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] == "http" and not self._knows(Headers(scope=scope).get("host", "")):
            refusal = BadRequestError("This service does not answer to the name in `Host`.")
            await problems.answer(refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _knows(self, host: str) -> bool:
        name = host.lower()
        if not name.endswith("]"):  # an IPv6 address without a port
            name = name.rpartition(":")[0] or name
        return name in self._names or (bool(self._endings) and name.endswith(self._endings))
