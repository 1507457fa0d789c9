"""Parameters of the query APIs: times, durations and numbers, as Tempo and Loki read them."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from stack.store.query.scanner import QueryError, parse_duration

SECOND = 10**9
_DIGITS_OF_SECONDS = 10


def moment(text: str, name: str) -> int:
    """Nanoseconds since 1970 of a time in nanoseconds, seconds, with a fraction, or RFC 3339.

    Raises:
        QueryError: It is none of them.
    """
    try:
        if "T" in text:
            parsed = datetime.fromisoformat(text)
            if parsed.tzinfo is None:
                parsed = parsed.replace(tzinfo=UTC)
            return int(parsed.timestamp() * SECOND)
        if text.isdecimal() and len(text) > _DIGITS_OF_SECONDS:
            return min(int(text), 2**63 - 1)
        return int(float(text) * SECOND)
    except (ValueError, OverflowError) as error:
        raise QueryError(
            f"{name}={text}: must be a time in seconds or nanoseconds, or in RFC 3339"
        ) from error


def seconds(parameters: Mapping[str, str], name: str, default: int) -> int:
    """A time in seconds since 1970, as nanoseconds.

    Raises:
        QueryError: It is no number.
    """
    text = parameters.get(name, "")
    return moment(text, name) if text else default


def number(parameters: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number from 1 to `most`.

    Raises:
        QueryError: It is none.
    """
    text = parameters.get(name, "") or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise QueryError(f"{name}={text}: must be a number from 1 to {most}")
    return int(text)


def duration(parameters: Mapping[str, str], name: str, default: int = 0) -> int:
    """A duration such as `250ms`, or in seconds, as nanoseconds.

    Raises:
        QueryError: It is none.
    """
    text = parameters.get(name, "")
    if not text:
        return default
    found = parse_duration(text)
    if found is not None:
        return found
    try:
        return int(float(text) * SECOND)
    except (ValueError, OverflowError) as error:
        raise QueryError(f"{name}={text}: must be a duration, such as 250ms") from error


def now() -> int:
    """Nanoseconds since 1970."""
    return time.time_ns()
