"""Statements that say who sends them: a comment with the application and the route.

What looks at the database's side, such as pg_stat_activity, its log or a proxy, then knows whom
to ask. The form is sqlcommenter's (https://google.github.io/sqlcommenter/spec/). The tags are
static: a trace's id would make each statement a new one, and no prepared statement would ever be
used again.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.asgi.request_context import CURRENT
from vitals.asgi.route_template import RouteTemplates
from vitals.db.dialect_hook import WITH_PARAMETERS, WITHOUT_PARAMETERS, AnyEngine
from vitals.metrics.meter import Meter

MOST = 1_000
"""Routes whose comment is kept."""


class Comments:
    """Makes the comment of the request in hand.

    Args:
        application: Its name.
        routes: Tell the route of a request that is still going on.
        meter: Counts the comments that could not be made.
    """

    def __init__(self, application: str, routes: RouteTemplates, meter: Meter) -> None:
        self._meter = meter
        self._application = application
        self._routes = routes
        self._made: dict[str, str] = {}

    def of_now(self) -> str:
        """The comment, with a space before it."""
        try:
            route = self._route()
        except Exception:  # noqa: BLE001  # the statement is the host's, and goes without
            self._meter.dropped("query_comment")
            return ""
        comment = self._made.get(route)
        if comment is None:
            comment = self._make(route)
            if len(self._made) < MOST:
                self._made[route] = comment
        return comment

    def _route(self) -> str:
        request = CURRENT.get()
        if request is None or request.duration:
            return ""
        return self._routes.of(request.http, request.outer_root)

    def _make(self, route: str) -> str:
        tags = {"application": self._application} | ({"route": route} if route else {})
        # Encoded, nothing can end the comment or the string.
        said = [f"{name}='{quote(tag, safe='')}'" for name, tag in tags.items()]
        return f" /*{','.join(said)}*/"


def add(engine: AnyEngine, comments: Comments) -> None:
    """Have an engine send its statements with comments, but those that have one already."""
    target = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    dialect: Any = target.dialect
    # Drivers of these styles take each percent sign for a place where a value goes.
    percent = "%%" if dialect.paramstyle in {"format", "pyformat"} else "%"
    for name in WITH_PARAMETERS:
        setattr(dialect, name, _commented(getattr(dialect, name), comments, percent))
    plain = getattr(dialect, WITHOUT_PARAMETERS)
    setattr(dialect, WITHOUT_PARAMETERS, _commented(plain, comments, "%"))


def _commented(execute: Callable[..., Any], comments: Comments, percent: str) -> Callable[..., Any]:
    def commented(cursor: Any, statement: str, *others: Any, **named: Any) -> Any:
        if "*/" not in statement:
            statement += comments.of_now().replace("%", percent)
        return execute(cursor, statement, *others, **named)

    return commented
