"""Runs a query on Prometheus as a board does, with its cost."""

import json
import time
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen


class QueryResult(NamedTuple):
    """The result of a query, its duration in seconds, and the number of samples read."""

    result: list[Any]
    seconds: float
    samples: int


def run_query(
    url: str, promql: str, *, at: float, back: float = 0, step: float = 15
) -> QueryResult:
    """Run a query once.

    Args:
        url: Base URL of Prometheus, without a trailing slash.
        promql: The query.
        at: Unix time of the evaluation.
        back: Seconds of the range that ends there; 0 for an instant query.
        step: Seconds between two points of a range.
    """
    parameters: dict[str, Any] = {"query": promql, "stats": "all"}
    path, more = "query", {"time": at}
    if back:
        path, more = "query_range", {"start": at - back, "end": at, "step": step}
    begun = time.perf_counter()
    with urlopen(f"{url}/api/v1/{path}", urlencode(parameters | more).encode(), 600) as response:  # noqa: S310
        body = response.read()
    taken = time.perf_counter() - begun
    data = json.loads(body)["data"]
    return QueryResult(data["result"], taken, data["stats"]["samples"]["totalQueryableSamples"])
