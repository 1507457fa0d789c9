"""SLO status: compares a value with what its objective asks for, and names the result.

Objectives differ by service, so no fixed threshold can colour them; the query itself compares.
"""

from typing import Literal, get_args

from dashboards.panels.query import Query, instant_query
from dashboards.style import Colour, value_colour

Limit = Literal["target", "threshold", "allowed"]
"""What a value is compared with: a ratio, seconds, or the share of bad events."""

SLO_STATUS = (
    value_colour("actual", Colour.GOOD),
    value_colour("missed", Colour.BAD),
    *(value_colour(name, Colour.MUTED) for name in get_args(Limit)),
)
"""Colours of the series: the actual value if it is good enough, or else the missed one."""


def at_most(value: str, name: Limit, limit: str) -> tuple[Query, Query]:
    """Query a value that is good up to a limit, and the limit."""
    return _compare(f"max({value})", "<=", name, f"max({limit})")


def judged(value: str, name: Limit, limit: str, missed: str) -> tuple[Query, Query]:
    """Query a value that a condition judges, and the limit.

    A p95 above its threshold misses only an objective of 95 %.

    Args:
        value: The value.
        name: What the limit is.
        limit: The limit.
        missed: Returns series while the objective is missed.
    """
    query = (
        f'label_replace(max({value}) unless on () ({missed}), "status", "actual", "", "") or '
        f'label_replace(max({value}) and on () ({missed}), "status", "missed", "", "")'
    )
    return instant_query(query, "{{status}}"), instant_query(f"max({limit})", name)


def at_least(value: str, name: Limit, limit: str) -> tuple[Query, Query]:
    """Query a value that is good from a limit on, and the limit."""
    return _compare(f"min({value})", ">=", name, f"max({limit})")


def _compare(value: str, meets: str, name: Limit, limit: str) -> tuple[Query, Query]:
    query = (
        f'label_replace({value} {meets} {limit}, "status", "actual", "", "") or '
        f'label_replace({value} {_OPPOSITE[meets]} {limit}, "status", "missed", "", "")'
    )
    return instant_query(query, "{{status}}"), instant_query(limit, name)


_OPPOSITE = {"<=": ">", ">=": "<"}
