"""Queries of rendered boards, with their variables filled in."""

import re
from collections.abc import Iterator, Mapping

from dashboards.grafana import Json

CHOICES: Mapping[str, str] = {
    "job": "api",
    "instance": ".+",
    "server": ".+",
    "redis": ".+",
    "route": "/api/products",
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "1h",
}
"""Example values of the variables, and the values that Grafana itself fills in."""

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")


def panels(board: Json) -> Iterator[Json]:
    """Every panel, those in collapsed rows included."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def fill_in(expr: str, choices: Mapping[str, str] = CHOICES) -> str:
    """Replace Grafana's variables by values."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in choices:
            raise LookupError(f"${name} in {expr}: no value; choices has {', '.join(choices)}")
        return choices[name]

    return _VARIABLE.sub(value, expr)
