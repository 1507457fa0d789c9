"""Names of the series that a query reads, by the parser of PromQL."""

from collections.abc import Iterator
from typing import Any

import promql_parser

_CHILDREN = ("expr", "lhs", "rhs", "param", "vector_selector")


def series_in(query: str) -> frozenset[str]:
    """The names of the series that a query reads.

    Raises:
        ValueError: The query is not valid PromQL.
    """
    selectors = (
        node
        for node in nodes(promql_parser.parse(query))
        if isinstance(node, promql_parser.VectorSelector)
    )
    return frozenset(selector.name for selector in selectors if selector.name)


def nodes(node: Any) -> Iterator[Any]:
    """The nodes of a parsed query, from the outside in."""
    yield node
    for child in (*(getattr(node, name, None) for name in _CHILDREN), *getattr(node, "args", ())):
        if child is not None:
            yield from nodes(child)
