"""Queries to a Prometheus that serves recorded data."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

Progress = Callable[[str], None]
"""Called with messages about slow steps."""

_MAX_POINTS = 10_000
"""Prometheus returns at most 11,000 points per series."""


class UnusableError(RuntimeError):
    """There are no data to replay; the message says what to pass instead."""


def query_api(url: str, path: str, **parameters: object) -> Any:
    """Query Prometheus's API, by GET without parameters, else POST; returns ``data``.

    Raises:
        UnusableError: It does not respond, or is not a Prometheus.
    """
    address = f"{url}/api/v1/{path}"
    try:
        with urlopen(address, urlencode(parameters).encode() or None, timeout=600) as response:  # noqa: S310
            return json.loads(response.read())["data"]
    except (URLError, ValueError, KeyError, OSError) as error:
        raise UnusableError(f"{address} does not respond as Prometheus does: {error}") from None


def query_over(
    url: str, query: str, span: tuple[float, float], step: int
) -> Iterator[dict[str, Any]]:
    """Evaluate a query every ``step`` seconds of a span of Unix times, however long.

    Yields each series with its label set ``metric`` and its ``values``, pairs of a Unix time and a
    number as text; the same series comes again for each ten thousand points.
    """
    start, last = span
    while start <= last:
        end = min(last, start + _MAX_POINTS * step)
        spanned = {"start": start, "end": end, "step": step}
        yield from query_api(url, "query_range", query=query, **spanned)["result"]
        start += (_MAX_POINTS + 1) * step
