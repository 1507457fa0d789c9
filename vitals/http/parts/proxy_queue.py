"""How long a request was queued before the application, by the header of a proxy.

Proxies and platforms say when they received a request, each in its own unit:

- ``X-Request-Start: t=1512379167.574`` seconds (nginx's ``t=${msec}``)
- ``X-Request-Start: 1512379167574`` milliseconds (Heroku)
- ``X-Request-Start: t=1512379167574000`` microseconds (Apache's ``t=%t``)
- ``X-Queue-Start`` in any of these forms

The unit is known by the size of the number.
"""

import re
from time import perf_counter, time

QUEUE_HEADERS = frozenset((b"x-request-start", b"x-queue-start"))
MAX_QUEUE = 600.0
"""Seconds; a longer queue is a wrong clock or a client's invention, and is not counted."""
_TIME = re.compile(rb"\s*(?:t=)?(\d{1,20}(?:\.\d{1,9})?)\s*")
_LEAST, _MOST = 1e9, 1e10
"""Seconds since 1970 of the years 2001 and 2286: between them lies every time in its right unit."""
_UNITS = (1.0, 1e3, 1e6, 1e9)
"""How many of the unit are a second."""


def queue_seconds(value: bytes, started: float) -> float:
    """Seconds between a proxy and the application; 0 if they are not known.

    Of several headers the first counts: it is that of the outermost proxy, if proxies add theirs.

    Args:
        value: Of the first such header.
        started: When the request arrived, by ``perf_counter``.
    """
    at = _seconds_since_1970(value)
    if at is None:
        return 0.0
    seconds = time() - (perf_counter() - started) - at
    # The clock of another machine may be ahead.
    return seconds if 0.0 < seconds <= MAX_QUEUE else 0.0


def _seconds_since_1970(value: bytes) -> float | None:
    found = _TIME.fullmatch(value)
    if found is None:
        return None
    number = float(found[1])
    return next((number / unit for unit in _UNITS if _LEAST <= number / unit < _MOST), None)
