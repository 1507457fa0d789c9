"""Colours, thresholds and overrides of single series and columns.

The colours are the Okabe-Ito palette, which is safe for colour-blind readers.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dashboards.grafana import Json


class Colour(StrEnum):
    """Colours by meaning."""

    GOOD = "#009E73"
    WARNING = "#E69F00"
    BAD = "#D55E00"
    INFO = "#56B4E9"
    PRIMARY = "#0072B2"
    ACCENT = "#CC79A7"
    MUTED = "#8E8E8E"


@dataclass(frozen=True)
class Step:
    """A threshold: the colour from this value on; the base step has no value."""

    colour: Colour
    value: float | None = None

    def draw(self) -> Json:
        """Write the step."""
        return {"color": self.colour.value, "value": self.value}


NEUTRAL = (Step(Colour.INFO),)


def rising(warning: float, bad: float) -> tuple[Step, ...]:
    """Thresholds of a value where more is worse."""
    return Step(Colour.GOOD), Step(Colour.WARNING, warning), Step(Colour.BAD, bad)


def falling(bad: float, warning: float) -> tuple[Step, ...]:
    """Thresholds of a value where less is worse: bad below ``bad``, a warning below ``warning``."""
    return Step(Colour.BAD), Step(Colour.WARNING, bad), Step(Colour.GOOD, warning)


@dataclass(frozen=True)
class Override:
    """Properties of the series or column of one name (the legend, or the renamed column).

    A name written as ``/^2/`` stands for all that match the regular expression.
    """

    name: str
    properties: tuple[tuple[str, Any], ...]

    def draw(self) -> Json:
        """Write the override."""
        kind = "byRegexp" if self.name.startswith("/") else "byName"
        return {
            "matcher": {"id": kind, "options": self.name},
            "properties": [{"id": key, "value": value} for key, value in self.properties],
        }


def _fixed(colour: Colour) -> Json:
    return {"mode": "fixed", "fixedColor": colour.value}


def series_colour(name: str, colour: Colour, *, width: int = 1) -> Override:
    """Set the colour of a series; a wider line marks the main one."""
    return Override(name, (("color", _fixed(colour)), ("custom.lineWidth", width)))


PERCENTILES = (
    series_colour("p50", Colour.MUTED),
    series_colour("p95", Colour.PRIMARY, width=2),
    series_colour("p99", Colour.ACCENT),
)
"""Colours of percentiles: the two blues of the palette are alike on a dark ground."""

BY_STATUS = (
    series_colour("/^1/", Colour.MUTED),
    series_colour("/^2/", Colour.GOOD),
    series_colour("/^3/", Colour.INFO),
    series_colour("/^4/", Colour.WARNING),
    series_colour("/^5/", Colour.BAD),
)
"""Colours of HTTP statuses, single or by class."""


def value_colour(name: str, colour: Colour) -> Override:
    """Set the colour of a value of a stat panel."""
    return Override(name, (("color", _fixed(colour)),))


def limit_line(name: str) -> Override:
    """Draw a series as a dashed line: what an objective asks for or allows, no measurement."""
    return Override(
        name,
        (
            ("color", _fixed(Colour.BAD)),
            ("custom.lineStyle", {"fill": "dash", "dash": [10, 8]}),
        ),
    )


def column(
    name: str,
    unit: str = "",
    *,
    width: int = 0,
    steps: tuple[Step, ...] = (),
    link: Json | None = None,
    words: dict[str, tuple[str, Colour]] | None = None,
) -> Override:
    """Format a column of a table.

    Args:
        name: The column's name after all transformations.
        unit: Grafana's name of its unit.
        width: Pixels; 0 shares the remaining width.
        steps: Thresholds that colour the text.
        link: Where a click on a cell leads.
        words: Value mappings: texts and colours by value.
    """
    properties: list[tuple[str, Any]] = []
    if unit:
        properties.append(("unit", unit))
    if width:
        properties.append(("custom.width", width))
    if steps:
        thresholds = {"mode": "absolute", "steps": [step.draw() for step in steps]}
        properties.append(("thresholds", thresholds))
    if words:
        options = {
            value: {"text": text, "color": colour.value, "index": index}
            for index, (value, (text, colour)) in enumerate(words.items())
        }
        properties.append(("mappings", [{"type": "value", "options": options}]))
    if steps or words:
        properties.append(("custom.cellOptions", {"type": "color-text"}))
    if link:
        properties.append(("links", [link]))
    return Override(name, tuple(properties))


def missing(name: str, text: str) -> Override:
    """Write why a column's cell has no value, in grey: the panel's text would be coloured as 0."""
    result = {"text": text, "color": Colour.MUTED.value, "index": 0}
    options = {"match": "null", "result": result}
    return Override(name, (("mappings", [{"type": "special", "options": options}]),))


def blank_cells(name: str) -> Override:
    """Leave empty cells blank instead of showing the panel's text for no data."""
    return Override(name, (("noValue", ""),))


def link(title: str, url: str) -> Json:
    """Write a data link; ``${__value.raw:percentencode}`` in it is the clicked value."""
    return {"title": title, "url": url, "targetBlank": False}
