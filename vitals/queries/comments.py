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

from vitals.queries.seam import WITH_PARAMETERS, WITHOUT_PARAMETERS, AnyEngine
from vitals.routes import RouteTemplates
from vitals.scope import CURRENT

MOST = 1_000
"""Routes whose comment is kept."""


class Comments:
    """Makes the comment of the request in hand.

    Args:
        application: Its name.
        routes: Tell the route of a request that is still going on.
    """

    def __init__(self, application: str, routes: RouteTemplates) -> None:
        self._application = application
        self._routes = routes
        self._made: dict[str, str] = {}

    def of_now(self) -> str:
        """The comment, with a space before it."""
        request = CURRENT.get()
        if request is None or request.duration:
            route = ""
        else:
            route = self._routes.of(request.http, request.outer_root)
        comment = self._made.get(route)
        if comment is None:
            comment = self._make(route)
            if len(self._made) < MOST:
                self._made[route] = comment
        return comment

    def _make(self, route: str) -> str:
        tags = {"application": self._application} | ({"route": route} if route else {})
        # Encoded, nothing can end the comment or the string.
        said = [f"{name}='{quote(tag, safe='')}'" for name, tag in tags.items()]
        return f" /*{','.join(said)}*/"


def add(engine: AnyEngine, comments: Comments) -> None:
    """Have an engine send its statements with comments, but those that have one already."""
    target = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    dialect: Any = target.dialect
    for name in (*WITH_PARAMETERS, WITHOUT_PARAMETERS):
        setattr(dialect, name, _commented(getattr(dialect, name), comments))


def _commented(execute: Callable[..., Any], comments: Comments) -> Callable[..., Any]:
    def commented(cursor: Any, statement: str, *others: Any, **named: Any) -> Any:
        if "*/" not in statement:
            statement += comments.of_now()
        return execute(cursor, statement, *others, **named)

    return commented
