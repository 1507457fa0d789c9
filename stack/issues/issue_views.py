"""What the API shows of issues: lists with filters, and one issue with all that is known."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from stack.issues.issue_store import IssueStore, State
from stack.issues.schema import HOUR
from stack.issues.stack_frames import frames_of

MAX_LISTED = 500
SORTS = {
    "last_seen": "i.last_seen DESC",
    "first_seen": "i.first_seen DESC",
    "count": "count DESC",
}
_TREND_HOURS = 24
_SUMMED = "(SELECT coalesce(sum(p.count), 0) FROM place p WHERE p.fingerprint = i.fingerprint)"
_OF_PLACE = "EXISTS (SELECT 1 FROM place p WHERE p.fingerprint = i.fingerprint AND p.{} = ?)"
_FILTERS = {
    "state": "i.state = ?",
    "type": "i.type = ?",
    "service": _OF_PLACE.format("service"),
    "route": _OF_PLACE.format("route"),
    "release": _OF_PLACE.format("release"),
}
_TEXT = "(i.type || ' ' || i.place || ' ' || i.message || ' ' || i.fingerprint) LIKE ? ESCAPE '\\'"


class ParameterError(ValueError):
    """A parameter has a value that is not possible; the message says which are."""


def listed(store: IssueStore, given: Mapping[str, str], now: float) -> dict[str, Any]:
    """Issues that match, and how many there are.

    Args:
        store: The issues.
        given: ``service``, ``state``, ``type``, ``route``, ``release``, ``q`` (text), ``from`` and
            ``to`` (Unix time of the last occurrence), ``sort``, ``limit``, ``offset``.
        now: Unix time.

    Raises:
        ParameterError: One has an impossible value.
    """
    conditions, values = _conditions(given)
    sort = given.get("sort") or "last_seen"
    if sort not in SORTS:
        raise ParameterError(f"sort={sort}: must be one of {', '.join(SORTS)}")
    limit, offset = _number(given, "limit", 100), _number(given, "offset", 0)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    with store.lock:
        (total,) = store.database.execute(
            f"SELECT count(*) FROM issue i {where}",  # noqa: S608 - our names, values are parameters
            values,
        ).fetchone()
        rows = store.database.execute(
            f"SELECT i.*, {_SUMMED} AS count FROM issue i {where} "  # noqa: S608 - the same
            f"ORDER BY {SORTS[sort]}, i.fingerprint LIMIT ? OFFSET ?",
            [*values, min(limit, MAX_LISTED), offset],
        ).fetchall()
        issues = [_summary(store.database, row, now) for row in rows]
    return {"issues": issues, "total": total}


def shown(store: IssueStore, fingerprint: str, now: float) -> dict[str, Any] | None:
    """One issue with its stack, places, examples and history; None if there is none."""
    with store.lock:
        row = store.database.execute(
            f"SELECT i.*, {_SUMMED} AS count FROM issue i WHERE i.fingerprint = ?",  # noqa: S608 - our names
            (fingerprint,),
        ).fetchone()
        if row is None:
            return None
        issue = _summary(store.database, row, now)
        examples = store.database.execute(
            "SELECT trace_id, time, service, release, route FROM example "
            "WHERE fingerprint = ? ORDER BY time DESC",
            (fingerprint,),
        ).fetchall()
        hours = store.database.execute(
            "SELECT hour, count FROM hour WHERE fingerprint = ? ORDER BY hour", (fingerprint,)
        ).fetchall()
        places = _places(store.database, fingerprint)
    frames = [frame._asdict() for frame in frames_of(row["stacktrace"])]
    return {
        **issue,
        "stacktrace": row["stacktrace"],
        "frames": frames,
        "releases": _summed(places, "release"),
        "routes": _summed(places, "route"),
        "services": _summed(places, "service"),
        "examples": [
            {**dict(zip(each.keys(), each, strict=True)), "time": moment(each["time"])}
            for each in examples
        ],
        "history": [{"time": moment(hour), "count": count} for hour, count in hours],
    }


def numbers(store: IssueStore) -> dict[State, int]:
    """How many issues have each state."""
    with store.lock:
        rows = store.database.execute("SELECT state, count(*) FROM issue GROUP BY state").fetchall()
    return dict.fromkeys(State, 0) | {State(row[0]): row[1] for row in rows}


def moment(time: float) -> str:
    """A Unix time as RFC 3339, to the millisecond."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")


def _summary(database: sqlite3.Connection, row: sqlite3.Row, now: float) -> dict[str, Any]:
    fingerprint = row["fingerprint"]
    places = _places(database, fingerprint)
    newest = database.execute(
        "SELECT trace_id FROM example WHERE fingerprint = ? ORDER BY time DESC LIMIT 1",
        (fingerprint,),
    ).fetchone()
    return {
        "fingerprint": fingerprint,
        "type": row["type"],
        "place": row["place"],
        "message": row["message"],
        "service": _most(places, "service"),
        "route": _most(places, "route"),
        "state": row["state"],
        "state_since": moment(row["state_since"]),
        "regressions": row["regressions"],
        "first_seen": moment(row["first_seen"]),
        "last_seen": moment(row["last_seen"]),
        "first_release": row["first_release"],
        "last_release": row["last_release"],
        "count": row["count"],
        "trace_id": newest[0] if newest else "",
        "trend": _trend(database, fingerprint, now),
    }


def _trend(database: sqlite3.Connection, fingerprint: str, now: float) -> list[int]:
    """Occurrences in each of the last 24 hours, the oldest first."""
    last = int(now) // HOUR * HOUR
    hours = dict(
        database.execute(
            "SELECT hour, count FROM hour WHERE fingerprint = ? AND hour > ?",
            (fingerprint, last - _TREND_HOURS * HOUR),
        )
    )
    return [hours.get(last - ago * HOUR, 0) for ago in reversed(range(_TREND_HOURS))]


def _places(database: sqlite3.Connection, fingerprint: str) -> list[sqlite3.Row]:
    return database.execute(
        "SELECT service, release, route, count, first_seen, last_seen FROM place "
        "WHERE fingerprint = ?",
        (fingerprint,),
    ).fetchall()


def _summed(places: Iterable[sqlite3.Row], by: str) -> list[dict[str, Any]]:
    """Counts by one of the labels, most first."""
    found: dict[str, list[Any]] = {}
    for row in places:
        each = found.setdefault(row[by], [0, row["first_seen"], row["last_seen"]])
        each[0] += row["count"]
        each[1] = min(each[1], row["first_seen"])
        each[2] = max(each[2], row["last_seen"])
    ordered = sorted(found.items(), key=lambda item: -item[1][0])
    return [
        {by: name, "count": count, "first_seen": moment(first), "last_seen": moment(last)}
        for name, (count, first, last) in ordered
    ]


def _most(places: Sequence[sqlite3.Row], by: str) -> str:
    summed = _summed(places, by)
    return str(summed[0][by]) if summed else ""


def _conditions(given: Mapping[str, str]) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if (state := given.get("state", "")) and state not in set(State):
        raise ParameterError(f"state={state}: must be one of {', '.join(State)}")
    for name, condition in _FILTERS.items():
        if given.get(name):
            conditions.append(condition)
            values.append(given[name])
    if text := given.get("q", "").strip():
        escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        conditions.append(_TEXT)
        values.append(f"%{escaped}%")
    for name, condition in (("from", "i.last_seen >= ?"), ("to", "i.first_seen <= ?")):
        if given.get(name):
            conditions.append(condition)
            values.append(_time(name, given[name]))
    return conditions, values


def _time(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ParameterError(f"{name}={text}: must be a Unix time in seconds") from None


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name) or str(default)
    if not text.isdecimal():
        raise ParameterError(f"{name}={text}: must be a whole number, 0 or more")
    return min(int(text), 1_000_000)
