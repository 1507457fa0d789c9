"""Board: rows of panels, variables, annotations."""

from collections.abc import Iterator
from dataclasses import dataclass

from grafanalib import core

from dashboards.annotations import Annotation
from dashboards.grafana import BOARD_KEYS, ROW_KEYS, SCHEMA_VERSION, Json, to_grafana_json
from dashboards.panels.panel import COLUMNS, Panel
from dashboards.variables import Variable

TAG = "vitals"
"""Boards with this tag link to one another."""


@dataclass(frozen=True)
class Row:
    """A row of panels, laid out from left to right and wrapped, optionally under a header.

    Attributes:
        panels: In reading order.
        title: The header that collapses the row; none if empty.
        id: The header's number among the board's panels.
        collapsed: Collapsed by default; its queries run only when it is opened.
    """

    panels: tuple[Panel, ...]
    title: str = ""
    id: int = 0
    collapsed: bool = False

    def __post_init__(self) -> None:
        if bool(self.title) != bool(self.id) or (self.collapsed and not self.title):
            raise ValueError(f"row {self.title!r}: a header has a title and an id, or neither")

    def draw(self, top: int) -> tuple[list[Json], int]:
        """Write the panels from a line of the grid on; return them and the next free line."""
        if not self.title:
            return self._layout(top)
        panels, end = self._layout(top + 1)
        header = to_grafana_json(
            core.RowPanel(
                id=self.id,
                title=self.title,
                collapsed=self.collapsed,
                gridPos=core.GridPos(h=1, w=COLUMNS, x=0, y=top),
                panels=panels if self.collapsed else [],
            ),
            ROW_KEYS,
        )
        return ([header], top + 1) if self.collapsed else ([header, *panels], end)

    def _layout(self, top: int) -> tuple[list[Json], int]:
        drawn: list[Json] = []
        left, bottom = 0, top
        for panel in self.panels:
            if left + panel.width > COLUMNS:
                left, top = 0, bottom
            drawn.append(panel.draw(left, top))
            left, bottom = left + panel.width, max(bottom, top + panel.height)
        return drawn, bottom


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board.

    Attributes:
        uid: Its identifier in URLs; never changed, for links, alerts and bookmarks use it.
        title: Its name.
        description: The question that it answers.
        rows: Its panels, from the summary to the details.
        variables: The selectors at its top.
        annotations: Marks across its graphs.

    Raises:
        ValueError: Two panels have the same id.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...] = ()

    def __post_init__(self) -> None:
        seen: dict[int, str] = {}
        for number, title in self._numbers():
            if number in seen:
                raise ValueError(
                    f"board {self.uid}: {title!r} and {seen[number]!r} both have the id {number}; "
                    "give the newer one the next free number"
                )
            seen[number] = title

    def _numbers(self) -> Iterator[tuple[int, str]]:
        for row in self.rows:
            if row.id:
                yield row.id, row.title
            yield from ((panel.id, panel.title) for panel in row.panels)

    def draw(self) -> Json:
        """Write the board as Grafana reads it."""
        panels: list[Json] = []
        top = 0
        for row in self.rows:
            drawn, top = row.draw(top)
            panels += drawn
        board = core.Dashboard(
            uid=self.uid,
            title=self.title,
            description=self.description,
            annotations=core.Annotations([annotation.draw() for annotation in self.annotations]),
            editable=False,
            graphTooltip=core.GRAPH_TOOLTIP_MODE_SHARED_CROSSHAIR,
            links=[_board_links()],
            panels=panels,
            refresh="30s",
            schemaVersion=SCHEMA_VERSION,
            tags=[TAG],
            templating=core.Templating([variable.draw() for variable in self.variables]),
            time=core.Time("now-1h", "now"),
            timezone="utc",  # as messages and logs are
            version=1,
        )
        drawn_board = to_grafana_json(board, BOARD_KEYS)
        drawn_board["timepicker"] = {"refresh_intervals": ["10s", "30s", "1m", "5m", "15m"]}
        return drawn_board


def _board_links() -> core.DashboardLink:
    """Link to the other boards, keeping variables and the time range."""
    return core.DashboardLink(
        title="Boards", type="dashboards", tags=[TAG], includeVars=True, keepTime=True
    )
