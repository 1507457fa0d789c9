"""Routes with their effective path, on every version of FastAPI.

Since FastAPI 0.137 an included router is one route of the application, and
``fastapi.routing.iter_route_contexts`` gives what is in it with its prefix. Before, including a
router copied its routes, so each has its whole path itself.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fastapi import routing


class RouteContext(NamedTuple):
    """What the kit reads of a FastAPI route context.

    Attributes:
        original_route: The route.
        path_format: Its template; None for a route without a path.
        endpoint: What serves it; None for a mount.
    """

    original_route: Any
    path_format: str | None
    endpoint: Any


def iter_copied_routes(routes: Iterable[Any]) -> Iterator[RouteContext]:
    """The routes of an application whose routers were copied into it."""
    for route in routes:
        yield RouteContext(
            route, getattr(route, "path_format", None), getattr(route, "endpoint", None)
        )


iter_route_contexts: Any = getattr(routing, "iter_route_contexts", iter_copied_routes)
