"""SLO status: compares a value with its target and names the series after the result.

Targets differ by service, so no fixed threshold can colour them; the query itself compares.
"""

from dashboards.panels.query import Query, instant_query
from dashboards.style import Colour, value_colour

SLO_STATUS = (
    value_colour("actual", Colour.GOOD),
    value_colour("missed", Colour.BAD),
    value_colour("target", Colour.MUTED),
)
"""Colours of the series: the actual value if it meets the target, or else the missed one."""


def at_most(value: str, target: str) -> tuple[Query, Query]:
    """Query a value that meets its target up to it, and the target."""
    return _compare(f"max({value})", "<=", f"max({target})")


def at_least(value: str, target: str) -> tuple[Query, Query]:
    """Query a value that meets its target from it on, and the target."""
    return _compare(f"min({value})", ">=", f"max({target})")


def _compare(value: str, meets: str, target: str) -> tuple[Query, Query]:
    query = (
        f'label_replace({value} {meets} {target}, "status", "actual", "", "") or '
        f'label_replace({value} {_OPPOSITE[meets]} {target}, "status", "missed", "", "")'
    )
    return instant_query(query, "{{status}}"), instant_query(target, "target")


_OPPOSITE = {"<=": ">", ">=": "<"}
