"""Searches of log lines, and counts of them."""

import json
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from stack.store.logs.logql import LogQuery, MetricQuery
from stack.store.logs.selection import (
    SOURCE,
    STREAM_LABELS,
    Stream,
    label_expression,
    labels_of,
    select,
    streams_of,
)
from stack.store.partitions.deadline import Deadline, QueryTimeoutError
from stack.store.partitions.partition import Partition
from stack.store.partitions.store_files import StoreFiles
from stack.store.query.scanner import QueryError
from stack.store.query.time_range import Steps, TimeRange

MAX_STEPS = 11_000
"""Points of a series, as in Prometheus and Loki."""
_MAX_BUCKETS = 100_000
_MAX_SERIES = 500
_MAX_CHARACTERS = 50_000_000
_SECOND = 10**9


@dataclass(frozen=True)
class FoundLine:
    """A line of a result.

    Attributes:
        time: Nanoseconds since 1970.
        body: The text.
        labels: Labels of its stream.
        metadata: Its structured metadata.
    """

    time: int
    body: str
    labels: Mapping[str, str]
    metadata: Mapping[str, str]


@dataclass
class FoundLines:
    """The result of a search.

    Attributes:
        lines: In the order that was asked for.
        partial: Why not all was searched; empty if it was.
    """

    lines: list[FoundLine]
    partial: str = ""


@dataclass(frozen=True)
class Series:
    """A series of a metric query.

    Attributes:
        labels: Its labels.
        points: Times in nanoseconds since 1970, and values.
    """

    labels: dict[str, str]
    points: list[tuple[int, float]]


def find_lines(
    files: StoreFiles,
    query: LogQuery,
    time: TimeRange,
    limit: int,
    deadline: Deadline,
    *,
    forward: bool = False,
) -> FoundLines:
    """The newest lines of a query, or the oldest, in that order; as far as the time suffices.

    Args:
        files: The partitions.
        query: The query.
        time: From its start until before its end.
        limit: Lines at most.
        deadline: When to give up.
        forward: Whether to begin with the oldest.

    Raises:
        QueryError: The lines are too long for one result.
        QueryTimeoutError: The deadline has passed, and none was found.
    """
    found: list[tuple[int, FoundLine]] = []
    partial = ""
    partitions = files.logs(time.start, time.end - 1)
    if forward:
        partitions.sort(key=lambda each: each.lines.first)
    try:
        for partition in partitions:
            if len(found) >= limit:
                last = found[limit - 1][0]
                if (partition.lines.first > last) if forward else (partition.lines.last < last):
                    break
            _find_lines(partition, query, time, limit, deadline, forward=forward, found=found)
            found.sort(key=lambda each: each[0], reverse=not forward)
    except QueryTimeoutError as error:
        if not found:
            raise
        partial = str(error)
        found.sort(key=lambda each: each[0], reverse=not forward)
    return FoundLines([line for _, line in found[:limit]], partial)


def _find_lines(
    partition: Partition,
    query: LogQuery,
    time: TimeRange,
    limit: int,
    deadline: Deadline,
    *,
    forward: bool,
    found: list[tuple[int, FoundLine]],
) -> None:
    """Add the lines of a partition, as they are found."""
    order = "" if forward else "DESC"
    size = sum(len(line.body) for _, line in found)
    with partition.reading(deadline) as database:
        selection = select(database, query)
        if not selection.streams:
            return
        rows = database.execute(
            f"SELECT l.time, l.stream, l.trace_id, l.body, l.metadata FROM {SOURCE} "  # noqa: S608 - our names, values are parameters
            f"WHERE {selection.where} AND l.time >= ? AND l.time < ? "
            f"ORDER BY l.time {order}, l.id {order} LIMIT ?",
            [*selection.parameters, time.start, time.end, limit],
        )
        for row in rows:
            size += len(row[3])
            if size > _MAX_CHARACTERS:
                raise QueryError("the lines are more than 50 MB: choose a lower limit")
            found.append((row[0], _line(row, selection.streams, query)))


def count_lines(
    files: StoreFiles, query: MetricQuery, steps: Steps, deadline: Deadline
) -> list[Series]:
    """The series of a metric query: at each step, what the window before it has.

    Args:
        files: The partitions.
        query: The query.
        steps: The moments.
        deadline: When to give up.

    Raises:
        QueryError: It asks for too many steps or series.
        QueryTimeoutError: The deadline has passed.
    """
    start, end = steps.start, steps.end
    unit = math.gcd(steps.step, query.window)
    if (end - start) // steps.step > MAX_STEPS:
        raise QueryError(f"more than {MAX_STEPS} steps: choose a longer step")
    if (end - start + query.window) // unit > _MAX_BUCKETS:
        raise QueryError("choose a step that divides the window of the query, or a multiple of it")
    origin = start - query.window
    counts: dict[str, dict[int, float]] = {}
    amount = "length(CAST(l.body AS BLOB))" if query.function.startswith("bytes") else "1"
    for partition in files.logs(origin, end):
        with partition.reading(deadline) as database:
            selection = select(database, query.logs)
            if not selection.streams:
                continue
            key, by = _grouping(query)
            # Counts by stream are read from the index of times alone.
            source = SOURCE if "s." in selection.where + key else "line l"
            rows = database.execute(
                f"SELECT (l.time - ? - 1) / ?, {key}, sum({amount}) FROM {source} "  # noqa: S608 - our names, values are parameters
                f"WHERE {selection.where} AND l.time > ? AND l.time <= ? GROUP BY 1, 2",
                [origin, unit, *selection.parameters, origin, end],
            )
            for bucket, group, value in rows:
                labels = _labels_of_group(group, by, selection.streams, query)
                series = counts.setdefault(labels, {})
                series[bucket] = series.get(bucket, 0) + value
                if len(counts) > _MAX_SERIES:
                    raise QueryError(f"more than {_MAX_SERIES} series: sum by fewer labels")
    seconds = query.window / _SECOND if query.function.endswith("rate") else 1
    return [
        Series(json.loads(labels), _windows(series, query.window, steps, unit, seconds))
        for labels, series in sorted(counts.items())
    ]


def label_sets(
    files: StoreFiles, queries: Sequence[LogQuery], time: TimeRange, deadline: Deadline
) -> list[dict[str, str]]:
    """The labels of all streams, or of those that one of several queries selects.

    Raises:
        QueryTimeoutError: The deadline has passed.
    """
    found: dict[str, dict[str, str]] = {}
    for partition in files.logs(time.start, time.end):
        with partition.reading(deadline) as database:
            for stream in streams_of(database).values():
                if not queries or any(
                    all(m.holds(stream.everything.get(m.name, "")) for m in query.matchers)
                    for query in queries
                ):
                    found[json.dumps(stream.labels)] = stream.labels
    return list(found.values())


def _line(row: tuple[Any, ...], streams: Mapping[int, Stream], query: LogQuery) -> FoundLine:
    time, number, trace_id, body, metadata = row
    stream, dropped = streams[number], query.dropped
    labels: Mapping[str, str] = stream.labels
    found = labels_of(stream, metadata, trace_id)
    if dropped:
        labels = {name: text for name, text in labels.items() if name not in dropped}
        found = {name: text for name, text in found.items() if name not in dropped}
    return FoundLine(time, body, labels, found)


def _grouping(query: MetricQuery) -> tuple[str, tuple[str, ...]]:
    """The expression by which lines are grouped, and the labels that it consists of."""
    if query.by is None or STREAM_LABELS.issuperset(query.by):
        return "l.stream", query.by or ()
    return f"json_array({', '.join(map(label_expression, query.by))})", query.by


def _labels_of_group(
    group: Any, by: tuple[str, ...], streams: Mapping[int, Stream], query: MetricQuery
) -> str:
    if isinstance(group, str):
        values = json.loads(group)
        labels = {name: text for name, text in zip(by, values, strict=True) if text}
    elif query.by is None:
        without = {*(query.without or ()), *query.logs.dropped}
        labels = {n: text for n, text in streams[group].labels.items() if n not in without}
    else:
        known = streams[group].everything
        labels = {name: known[name] for name in by if name in known}
    return json.dumps(labels, sort_keys=True)


def _windows(
    series: Mapping[int, float],
    window: int,
    steps: Steps,
    unit: int,
    seconds: float,
) -> list[tuple[int, float]]:
    """The sums of the buckets before each step; steps without any are left out."""
    buckets = sorted(series)
    sums = [0.0, *accumulate(series[bucket] for bucket in buckets)]
    points = []
    for moment in range(steps.start, steps.end + 1, steps.step):
        first = (moment - steps.start) // unit
        one = bisect_left(buckets, first)
        other = bisect_left(buckets, first + window // unit)
        if other > one:
            points.append((moment, (sums[other] - sums[one]) / seconds))
    return points
