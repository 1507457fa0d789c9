"""sqlcommenter: appends a comment with the application and the route to each statement.

pg_stat_activity, the database's log or a proxy then show where a statement comes from. The format
is sqlcommenter's (https://google.github.io/sqlcommenter/spec/). The tags are static: a trace ID
would make each statement a new one, and no prepared statement would ever be reused.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from vitals.asgi.request_context import CURRENT
from vitals.asgi.route_template import RouteTemplates
from vitals.db.dialect_hook import WITH_PARAMETERS, WITHOUT_PARAMETERS
from vitals.db.engines import AnyEngine, EngineWatchers, root_engine
from vitals.metrics.meter import Meter

COMMENTERS = "_vitals_commenters"
CACHE_SIZE = 1_000
"""Routes whose comment is cached."""


class SqlCommenter:
    """Builds the comment for the current request.

    Args:
        application: The application's name.
        routes: Find the route of a request that has not finished.
        meter: Counts comments that could not be built.

    Attributes:
        meter: The same.
    """

    def __init__(self, application: str, routes: RouteTemplates, meter: Meter) -> None:
        self.meter = meter
        self._application = application
        self._routes = routes
        self._comments: dict[str, str] = {}

    def current(self) -> str:
        """The comment for the current request, with a leading space."""
        try:
            route = self._route()
        except Exception:  # noqa: BLE001  # the host's statement is sent without a comment
            self.meter.dropped("query_comment")
            return ""
        comment = self._comments.get(route)
        if comment is None:
            comment = self._make(route)
            if len(self._comments) < CACHE_SIZE:
                self._comments[route] = comment
        return comment

    def _route(self) -> str:
        request = CURRENT.get()
        if request is None or request.duration:
            return ""
        return self._routes.of(request.http, request.outer_root)

    def _make(self, route: str) -> str:
        tags = {"application": self._application} | ({"route": route} if route else {})
        # URL-encoded, a value can end neither the comment nor the string.
        pairs = [f"{name}='{quote(tag, safe='')}'" for name, tag in tags.items()]
        return f" /*{','.join(pairs)}*/"


def add_comments(engine: AnyEngine, comments: SqlCommenter, *, keep: bool = True) -> None:
    """Add comments to an engine's statements, except those that have one already.

    Args:
        engine: The engine.
        comments: Builds the comments.
        keep: Whether the engine keeps it alive; else comments end with the application.
    """
    dialect: Any = root_engine(engine).dialect
    commenters: EngineWatchers[SqlCommenter] | None = vars(dialect).get(COMMENTERS)
    if commenters is not None:
        commenters.add(comments, keep=keep)
        return
    commenters = EngineWatchers()
    setattr(dialect, COMMENTERS, commenters)
    commenters.add(comments, keep=keep)
    # Drivers of these styles interpret a percent sign as a bind.
    percent = "%%" if dialect.paramstyle in {"format", "pyformat"} else "%"
    for name in WITH_PARAMETERS:
        setattr(dialect, name, _commented(getattr(dialect, name), commenters, percent))
    plain = getattr(dialect, WITHOUT_PARAMETERS)
    setattr(dialect, WITHOUT_PARAMETERS, _commented(plain, commenters, "%"))


def _commented(
    execute: Callable[..., Any], commenters: EngineWatchers[SqlCommenter], percent: str
) -> Callable[..., Any]:
    def commented(cursor: Any, statement: str, *others: Any, **named: Any) -> Any:
        comments = commenters.current()
        if comments is not None and "*/" not in statement:
            statement += comments.current().replace("%", percent)
        return execute(cursor, statement, *others, **named)

    return commented
