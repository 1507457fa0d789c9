"""Finds the template of the route that served a request, without matching a second time.

Other libraries match each route again to find the template, which costs 85 to 260 µs a request with
fifty routes. The router has already matched and recorded the result in the ASGI scope:

- FastAPI sets ``scope["route"]``. Since FastAPI 0.137 the path of a route in an included router
  lacks the router's prefix; the effective one is in ``scope["fastapi"]``. These keys are private
  to FastAPI: the version is pinned, and the tests cover every kind of route.
- Starlette's own routes and mounts set ``scope["endpoint"]`` only, and a mount adds what it
  matched to ``root_path``: with ``/shops/{shop}`` that is a client's text, so the mounts' templates
  are looked up, and ``root_path`` itself is never part of a label.
- FastAPI's frontends set only the path of the file.

A mount or frontend has the template ``/static/{path}``, unless its status says that nothing below
it matched.
"""

import re
from collections.abc import Iterable
from typing import Any

from starlette.routing import Host, Mount, WebSocketRoute
from starlette.types import Scope

from vitals.asgi.root_path import below_root
from vitals.asgi.route_contexts import iter_route_contexts

UNMATCHED = ""
"""The route of a request that no route matched."""

_UNMATCHED_STATUSES = frozenset((307, 404, 405))
"""What routers, and static files, respond where nothing matches: also a redirect to a slash."""
_MAX_WRAPPERS = 20
"""Most middleware around a mounted application that is looked through."""
_NOTHING: dict[str, Any] = {}
_PARAMETER = re.compile(r"{[^{}]*+}")


class RouteTemplates:
    """The templates of one application.

    Args:
        app: A FastAPI or Starlette application.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._size = -1
        self._by_endpoint: dict[int, list[str]] = {}
        self._mounts: list[tuple[re.Pattern[str], str]] = []
        self._mounted: set[int] = set()
        self._templates: set[str] = set()

    def of(self, scope: Scope, outer_root: str, status: int = 200) -> str:
        """The template of the route that served a request.

        Args:
            scope: The ASGI scope, as the router left it.
            outer_root: ``root_path`` as it was before the application saw the request.
            status: The response's; below a mount it tells what no route matched.
        """
        matched = self.matched(scope)
        inner_root = scope.get("root_path", "")[len(outer_root) :]
        if matched is not None:
            template: str = getattr(matched, "path_format", UNMATCHED)
            return self._of_mount(inner_root) + template if inner_root else template
        path = below_root(scope["path"], outer_root)
        file = scope.get("fastapi", _NOTHING).get("frontend_path")
        if file is not None and status not in _UNMATCHED_STATUSES:
            base = below_root(path, inner_root).removesuffix(file).rstrip("/")
            return self._of_mount(inner_root) + base + "/{path}"
        endpoint = scope.get("endpoint")
        return UNMATCHED if endpoint is None else self._of_endpoint(endpoint, path, status)

    def all(self) -> list[str]:
        """The templates of all HTTP routes, each once."""
        self._size = -1  # a router that is included already may have got more
        self._refresh()
        return sorted(self._templates)

    @staticmethod
    def matched(scope: Scope) -> Any:
        """The matched FastAPI route, or its context in an included router; or None.

        Below the same mount, the same object always means the same template.
        """
        route = scope.get("route")
        if route is None:
            return None
        context = scope.get("fastapi", _NOTHING).get("effective_route_context")
        return context if context is not None and context.original_route is route else route

    def media_type(self, scope: Scope) -> str:
        """The media type that the matched route declares for its body; empty without one."""
        field = getattr(self.matched(scope), "body_field", None)
        return "" if field is None else str(field.field_info.media_type)

    def has_mounted(self, app: Any) -> bool:
        """Whether an application is mounted in this one, at any depth."""
        return app is self._app or _is_mounted(app, self._app.routes)

    def _of_endpoint(self, endpoint: Any, path: str, status: int) -> str:
        self._refresh()
        if status in _UNMATCHED_STATUSES and id(endpoint) in self._mounted:
            return UNMATCHED
        templates = self._by_endpoint.get(id(endpoint), [UNMATCHED])
        if len(templates) == 1:
            return templates[0]
        return next((t for t in templates if _pattern(t, ".*").fullmatch(path)), UNMATCHED)

    def _of_mount(self, root: str) -> str:
        self._refresh()
        return next((path for pattern, path in self._mounts if pattern.fullmatch(root)), "")

    def _refresh(self) -> None:
        """Walk the routes again if some were added; only mounts and plain routes need it."""
        if len(self._app.routes) == self._size:
            return
        self._size = len(self._app.routes)
        self._by_endpoint, self._mounts = {}, []
        self._mounted, self._templates = set(), set()
        self._walk(self._app, self._app.routes, "")

    def _walk(self, app: Any, routes: Iterable[Any], prefix: str) -> None:
        # A context gives a route in an included router its effective path, prefix included.
        for context in iter_route_contexts(list(routes)):
            route, path = context.original_route, prefix + (context.path_format or "")
            if isinstance(route, Mount):
                base = path.removesuffix("/{path}")
                self._mounts.append((_pattern(base, "[^/]+"), base))
                self._mounted.add(id(route.app))
                self._add(route.app, base + "/{path}")
                self._walk(*_mounted(route), base)
            elif isinstance(route, Host):
                self._walk(*_mounted(route), prefix)
            elif isinstance(route, WebSocketRoute):
                self._by_endpoint.setdefault(id(context.endpoint), []).append(path)
            else:
                self._add(context.endpoint, path)
        self._templates.update(prefix + path for path in _frontends(app))

    def _add(self, endpoint: Any, template: str) -> None:
        self._by_endpoint.setdefault(id(endpoint), []).append(template)
        self._templates.add(template)


def _mounted(route: Mount | Host) -> tuple[Any, list[Any]]:
    """The application below a mount and its routes, also where middleware wraps it."""
    app: Any = route.app
    for _ in range(_MAX_WRAPPERS):
        routes = getattr(app, "routes", None)
        if routes is not None:
            return app, routes
        app = getattr(app, "app", None)
    return route.app, route.routes or []


def _frontends(app: Any) -> Iterable[str]:
    """The templates of a FastAPI application's frontends, which are no routes of its own list."""
    router = getattr(app, "router", app)
    for held in getattr(router, "_iter_low_priority_routes", list)():
        prefix = getattr(held, "frontend_prefix", "")
        for route in getattr(getattr(held, "original_route", held), "routes", ()):
            yield (prefix + route.path).rstrip("/") + "/{path}"


def _is_mounted(app: Any, routes: Iterable[Any]) -> bool:
    return any(
        isinstance(route, Mount | Host)
        and (route.routes is app.routes or _is_mounted(app, route.routes or ()))
        for route in routes
    )


def _pattern(template: str, parameter: str) -> re.Pattern[str]:
    """The regular expression of a template, with a pattern for its parameters."""
    return re.compile(parameter.join(re.escape(text) for text in _PARAMETER.split(template)))
