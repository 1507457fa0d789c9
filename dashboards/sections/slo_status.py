"""Verdicts: whether a promise is kept, said in a word and a colour.

Every service promises its own figures, so no fixed threshold can colour them. The query itself
compares, and names the series after what it found.
"""

from dashboards.panels.query import Query, now
from dashboards.style import Colour, figure

VERDICT = (
    figure("kept", Colour.GOOD),
    figure("broken", Colour.BAD),
    figure("promised", Colour.QUIET),
)


def at_most(value: str, limit: str) -> tuple[Query, Query]:
    """Ask for a value that is kept up to its limit, and for the limit."""
    return _verdict(f"max({value})", "<=", f"max({limit})")


def at_least(value: str, limit: str) -> tuple[Query, Query]:
    """Ask for a value that is kept from its limit on, and for the limit."""
    return _verdict(f"min({value})", ">=", f"max({limit})")


def _verdict(value: str, kept: str, limit: str) -> tuple[Query, Query]:
    query = (
        f'label_replace({value} {kept} {limit}, "verdict", "kept", "", "") or '
        f'label_replace({value} {_OPPOSITE[kept]} {limit}, "verdict", "broken", "", "")'
    )
    return now(query, "{{verdict}}"), now(limit, "promised")


_OPPOSITE = {"<=": ">", ">=": "<"}
