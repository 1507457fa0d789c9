"""Ask Prometheus as a board does, and hear what it cost."""

import json
import time
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen


class Answer(NamedTuple):
    """An answer, the seconds until it was there, and how many samples were read for it."""

    result: list[Any]
    seconds: float
    samples: int


def ask(url: str, promql: str, *, at: float, back: float = 0, step: float = 15) -> Answer:
    """Ask once.

    Args:
        url: Prometheus, without a slash at the end.
        promql: The query.
        at: The moment, as Unix time.
        back: Seconds of the range that ends there; 0 asks for the moment only.
        step: Seconds between two points of a range.
    """
    asked: dict[str, Any] = {"query": promql, "stats": "all"}
    path, more = "query", {"time": at}
    if back:
        path, more = "query_range", {"start": at - back, "end": at, "step": step}
    begun = time.perf_counter()
    with urlopen(f"{url}/api/v1/{path}", urlencode(asked | more).encode(), 600) as answer:  # noqa: S310
        body = answer.read()
    taken = time.perf_counter() - begun
    data = json.loads(body)["data"]
    return Answer(data["result"], taken, data["stats"]["samples"]["totalQueryableSamples"])
