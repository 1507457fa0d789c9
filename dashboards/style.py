"""Colours with one meaning each, and how single series and columns differ from their panel.

The colours are those of Okabe and Ito, told apart by people with any colour vision.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dashboards.grafana import Json


class Colour(StrEnum):
    """What a colour says."""

    GOOD = "#009E73"
    WATCH = "#E69F00"
    BAD = "#D55E00"
    CALM = "#56B4E9"
    STRONG = "#0072B2"
    ODD = "#CC79A7"
    QUIET = "#8E8E8E"


@dataclass(frozen=True)
class Step:
    """From this value on, the colour; the first step has no value and reaches down without end."""

    colour: Colour
    value: float | None = None

    def draw(self) -> Json:
        """Write the step."""
        return {"color": self.colour.value, "value": self.value}


NEUTRAL = (Step(Colour.CALM),)


def rising(watch: float, bad: float) -> tuple[Step, ...]:
    """More is worse."""
    return Step(Colour.GOOD), Step(Colour.WATCH, watch), Step(Colour.BAD, bad)


def falling(bad: float, watch: float) -> tuple[Step, ...]:
    """Less is worse: bad below the first figure, worth watching below the second."""
    return Step(Colour.BAD), Step(Colour.WATCH, bad), Step(Colour.GOOD, watch)


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


def painted(name: str, colour: Colour, *, width: int = 1) -> Override:
    """Give a series a colour of its own; a wider line is the one to look at."""
    return Override(name, (("color", _fixed(colour)), ("custom.lineWidth", width)))


BY_STATUS = (
    painted("/^1/", Colour.QUIET),
    painted("/^2/", Colour.GOOD),
    painted("/^3/", Colour.CALM),
    painted("/^4/", Colour.WATCH),
    painted("/^5/", Colour.BAD),
)
"""Statuses, single or by class, as everybody reads them."""


def figure(name: str, colour: Colour) -> Override:
    """Give a figure a colour of its own."""
    return Override(name, (("color", _fixed(colour)),))


def promise(name: str = "promised") -> Override:
    """Draw a series as a dashed line: what was promised, not what happened."""
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
    """Shape a column of a table.

    Args:
        name: The column, as it is named after all transformations.
        unit: Grafana's name of its unit.
        width: Pixels; 0 shares what is left.
        steps: Thresholds that colour the text.
        link: Where a click on a cell leads.
        words: Texts and colours that stand for values.
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


def blank(name: str) -> Override:
    """Leave cells without a text empty; they would say what the panel says without an answer."""
    return Override(name, (("noValue", ""),))


def link(title: str, url: str) -> Json:
    """Write a data link; ``${__value.raw:percentencode}`` in it is the value clicked on."""
    return {"title": title, "url": url, "targetBlank": False}
