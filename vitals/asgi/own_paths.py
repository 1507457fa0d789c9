"""Paths whose requests are not measured: pages of the kit, and health checks of the application.

A page of the kit is served before the application, so it must not take a path that one of the
application's routes serves. Routes may be added at any time, so each request to such a path is
checked; there are few.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

READS = frozenset(("GET", "HEAD"))
NOWHERE = "/no-page/of-any/application"
"""A path that only routes of every path serve."""


class Page(NamedTuple):
    """A page of the kit.

    Attributes:
        paths: Where it may be served, the best first.
        app: What serves it at the first of them.
        displaced: What serves it at another.
    """

    paths: tuple[str, ...]
    app: ASGIApp
    displaced: ASGIApp


class OwnPaths:
    """The unmeasured paths of one application.

    Args:
        app: The application; a FastAPI or Starlette one.

    Attributes:
        pages: The kit's page by its possible paths; None for a health check of the application.
    """

    def __init__(self, app: Any) -> None:
        self.pages: dict[str, Page | None] = {}
        self._app = app
        self._reported: set[str] = set()

    def exclude(self, paths: Iterable[str]) -> None:
        """Do not measure health checks: GET and HEAD of exact paths."""
        for path in paths:
            self.pages.setdefault(path, None)

    def serve(
        self,
        path: str,
        app: ASGIApp,
        others: Sequence[str] = (),
        displaced: ASGIApp | None = None,
    ) -> None:
        """Serve a page of the kit at the first path that no route of the application serves.

        If there is none, it takes the first path that is served only by routes of every path, such
        as ``/{path:path}``.

        Args:
            path: Its exact path.
            app: What serves it there.
            others: Where it is served instead.
            displaced: What serves it instead; by default the same.
        """
        page = Page((path, *others), app, displaced or app)
        self.pages.update(dict.fromkeys(page.paths, page))

    def find(self, path: str, scope: Scope, inside: ASGIApp) -> ASGIApp | None:
        """What serves one of the paths without being measured; None if that request is measured.

        Args:
            path: The path below the root path.
            scope: The request's scope.
            inside: The application, which serves its health checks.
        """
        page = self.pages[path]
        if page is None:
            return inside if scope["method"] in READS else None
        if path != self._path_of(page):
            return None
        return page.app if path == page.paths[0] else page.displaced

    def report(self) -> None:
        """Say once in the log which pages are not at their first path."""
        for page in set(filter(None, self.pages.values())):
            wanted, path = page.paths[0], self._path_of(page)
            if path != wanted and wanted not in self._reported:
                self._reported.add(wanted)
                logging.getLogger(__name__).warning(
                    "a route of the application serves %s, so Vitals does not: its page is %s",
                    wanted,
                    f"at {path}" if path else "nowhere; name a path that no route serves",
                )

    def _path_of(self, page: Page) -> str:
        """Where a page is served now; empty for nowhere."""
        for path in page.paths:
            if not serves(self._app, path):
                return path
        # Of every path, the kit takes one that has its name; the first may be the application's.
        for path in page.paths[1:] or page.paths:
            if not serves(self._app, path, by_name=True):
                return path
        return ""


def serves(app: Any, path: str, *, by_name: bool = False) -> bool:
    """Whether a route of an application serves a path, in any method, or redirects from it.

    Args:
        app: A FastAPI or Starlette application.
        path: A path below its root path.
        by_name: Whether routes of every path, such as ``/{path:path}``, do not count.
    """
    slashed = path.rstrip("/") if path.endswith("/") else path + "/"
    paths = [path, slashed] if app.router.redirect_slashes else [path]
    routes = [*app.router.routes, *getattr(app.router, "_iter_low_priority_routes", list)()]
    return any(
        _matches(route, each) and not (by_name and _matches(route, NOWHERE))
        for route in routes
        for each in paths
        if each
    )


def _matches(route: Any, path: str) -> bool:
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": "",
        "headers": [],
        "query_string": b"",
        "path_params": {},
    }
    try:
        if route.matches(scope)[0] is Match.NONE:
            return False
        if isinstance(route, Mount) and type(route.app) is StaticFiles:
            file = path.removeprefix(route.path).strip("/")
            return route.app.lookup_path(file)[1] is not None
    except Exception:  # noqa: BLE001  # a route class of the application's own: it keeps the path
        return True
    return True
