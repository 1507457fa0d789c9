"""Search of traces: candidates from the index, newest first, compared exactly."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stack.store.otlp.span_rows import INTRINSIC
from stack.store.partitions.deadline import Deadline, QueryTimeoutError
from stack.store.partitions.partition import Partition
from stack.store.partitions.store_files import StoreFiles
from stack.store.partitions.terms import grams, term
from stack.store.query.literals import literal_of
from stack.store.query.time_range import ALWAYS, TimeRange
from stack.store.traces.stored_spans import StoredChunk, StoredSpan, TraceFacts
from stack.store.traces.traceql import (
    Condition,
    Field,
    Filter,
    Junction,
    Spanset,
    Spansets,
    TraceQuery,
)

_INDEXED = frozenset({"name", "status", "kind"})
_COLUMNS = (
    "c.id, c.trace_id, c.start, c.end, c.service, c.root, c.spans, c.errors, r.content, c.content"
)
_BATCH = 200
_MAX_GRAMS = 30
_MANY = 20_000
_LONGEST = 3_600 * 10**9
"""Parts of a trace that begin this much apart, in nanoseconds, are not looked for in a search."""


@dataclass
class FoundTrace:
    """A trace of a result.

    Attributes:
        trace_id: 16 bytes.
        facts: Its root, times and services.
        spans: The spans that fulfil the query.
    """

    trace_id: bytes
    facts: TraceFacts
    spans: list[StoredSpan]


@dataclass
class Found:
    """The result of a search.

    Attributes:
        traces: Newest first.
        inspected: How many traces were read.
        bytes: How many bytes were read.
        partial: Why not all was searched; empty if it was.
    """

    traces: list[FoundTrace] = field(default_factory=list)
    inspected: int = 0
    bytes: int = 0
    partial: str = ""


def read_trace(
    files: StoreFiles, trace_id: bytes, deadline: Deadline, time: TimeRange = ALWAYS
) -> list[StoredChunk]:
    """All that is stored of a trace, oldest first.

    What a sender has sent twice, because it did not hear that it was stored, is there once.

    Args:
        files: The partitions.
        trace_id: 16 bytes.
        deadline: When to give up.
        time: Of the files to look into.

    Raises:
        QueryTimeoutError: The deadline has passed.
    """
    found = []
    for partition in files.traces(time.start, time.end):
        with partition.reading(deadline) as database:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM chunk c JOIN resource r ON r.id = c.resource "  # noqa: S608 - our names
                "WHERE c.trace_id = ?",
                (trace_id,),
            )
            found += [_chunk(row) for row in rows]
    unique = {(chunk.resource, chunk.content): chunk for chunk in found}
    return sorted(unique.values(), key=lambda chunk: chunk.start)


def search(
    files: StoreFiles, query: TraceQuery, time: TimeRange, limit: int, deadline: Deadline
) -> Found:
    """The newest traces that fulfil a query; of a search that takes too long, what it has found.

    Args:
        files: The partitions.
        query: The query.
        time: In which spans begin.
        limit: Traces at most.
        deadline: When to give up.

    Raises:
        QueryTimeoutError: The deadline has passed, and none was found.
    """
    result = Found()
    try:
        _search(files, query, time, limit, deadline, result=result)
    except QueryTimeoutError as error:
        if not result.traces:
            raise
        result.partial = str(error)
    result.traces.sort(key=lambda trace: trace.facts.start, reverse=True)
    del result.traces[limit:]
    return result


def _search(
    files: StoreFiles,
    query: TraceQuery,
    time: TimeRange,
    limit: int,
    deadline: Deadline,
    *,
    result: Found,
) -> None:
    """Add the traces that fulfil a query to a result."""
    seen: set[bytes] = set()
    for partition in files.traces(time.start, time.end):
        if len(result.traces) >= limit:
            oldest = min(trace.facts.start for trace in result.traces)
            if partition.chunks.last < oldest:
                break
        for chunk in _candidates(partition, query.spansets, time, deadline):
            deadline.check()
            result.inspected += 1
            result.bytes += len(chunk.content)
            if chunk.trace_id in seen:
                continue
            trace = _Trace(files, chunk, deadline)
            if isinstance(query.spansets, Spanset) and not trace.matches(query.spansets, [chunk]):
                continue
            seen.add(chunk.trace_id)
            spans = trace.matches(query.spansets, trace.chunks)
            if not spans:
                continue
            result.traces.append(FoundTrace(chunk.trace_id, trace.facts, spans))
            if len(result.traces) >= limit:
                break


class _Trace:
    """A trace that may be a part of the result; read as a whole only where that is needed."""

    def __init__(self, files: StoreFiles, chunk: StoredChunk, deadline: Deadline) -> None:
        self._files, self._id, self._deadline = files, chunk.trace_id, deadline
        self._time = TimeRange(chunk.start - _LONGEST, chunk.end + _LONGEST)
        self._chunks: list[StoredChunk] | None = None

    @property
    def chunks(self) -> list[StoredChunk]:
        if self._chunks is None:
            self._chunks = read_trace(self._files, self._id, self._deadline, self._time)
        return self._chunks

    @property
    def facts(self) -> TraceFacts:
        return facts_of(self.chunks)

    def matches(self, spansets: Spansets, chunks: Sequence[StoredChunk]) -> list[StoredSpan]:
        """The spans among these that fulfil the query, none if the trace does not."""
        if isinstance(spansets, Spanset):
            found = (span for chunk in chunks for span in chunk.spans(lambda: self.facts))
            return [span for span in found if span.fulfils(spansets.filter)]
        parts = [self.matches(part, chunks) for part in spansets.parts]
        if spansets.operator == "&&" and not all(parts):
            return []
        unique = {each.span.span_id: each for part in parts for each in part}
        return list(unique.values())


def facts_of(chunks: Sequence[StoredChunk]) -> TraceFacts:
    """What is known of a trace from all its chunks."""
    services: dict[str, tuple[int, int]] = {}
    root = next((chunk for chunk in chunks if chunk.root is not None), None)
    for chunk in chunks:
        spans, errors = services.get(chunk.service, (0, 0))
        services[chunk.service] = (spans + chunk.counts[0], errors + chunk.counts[1])
    return TraceFacts(
        start=min(chunk.start for chunk in chunks),
        end=max(chunk.end for chunk in chunks),
        root_service=root.service if root else "",
        root_name=(root.root or "") if root else "",
        services=services,
    )


def _candidates(
    partition: Partition, spansets: Spansets, time: TimeRange, deadline: Deadline
) -> Iterator[StoredChunk]:
    """Chunks that may fulfil the query, newest first."""
    shortest = _shortest(spansets)
    with partition.reading(deadline) as database:
        terms = _rarest(database, _alternatives(spansets))
        first, last = database.execute(
            "SELECT min(id), max(id) FROM chunk WHERE start BETWEEN ? AND ?", (time.start, time.end)
        ).fetchone()
        if first is None:
            return
        source, resource = "chunk c", "JOIN resource r ON r.id = c.resource"
        order, where, parameters = "c.id", "", []
        if terms:
            source = "chunk_term CROSS JOIN chunk c ON c.id = chunk_term.rowid"
            order, where, parameters = "chunk_term.rowid", "chunk_term MATCH ? AND ", [terms]
        # Read in small portions, so that no statement keeps the file's log from being written back.
        upper = last
        while upper >= first:
            rows = database.execute(
                f"SELECT {_COLUMNS} FROM {source} {resource} WHERE {where}{order} BETWEEN ? AND ? "  # noqa: S608 - our names
                "AND c.start BETWEEN ? AND ? AND c.longest >= ? "
                f"ORDER BY {order} DESC LIMIT {_BATCH}",
                [*parameters, first, upper, time.start, time.end, shortest],
            ).fetchall()
            yield from map(_chunk, rows)
            if len(rows) < _BATCH:
                return
            upper = rows[-1][0] - 1


def _chunk(row: tuple[Any, ...]) -> StoredChunk:
    _, trace_id, start, end, service, root, spans, errors, resource, content = row
    return StoredChunk(trace_id, start, end, service, root, (spans, errors), resource, content)


def _alternatives(spansets: Spansets) -> list[str]:
    """Queries of the index, each of which finds all candidates; empty for all chunks."""
    if isinstance(spansets, Spanset):
        return [_terms_of(spansets.filter)]
    parts = [_alternatives(part) for part in spansets.parts]
    if spansets.operator == "&&":  # of several chunks, perhaps: each part finds the trace
        return [each for part in parts for each in part]
    first = [part[0] for part in parts]
    return [f"({' OR '.join(first)})" if all(first) else ""]


def _rarest(database: sqlite3.Connection, queries: Sequence[str]) -> str:
    """The query with the fewest candidates."""
    known = [query for query in queries if query]
    if len(known) < 2:  # noqa: PLR2004 - nothing to choose from
        return next(iter(known), "")
    count = "SELECT count(*) FROM (SELECT rowid FROM chunk_term WHERE chunk_term MATCH ? LIMIT ?)"
    return min(known, key=lambda each: database.execute(count, (each, _MANY)).fetchone()[0])


def _terms_of(node: Filter) -> str:
    """The query of the index that finds all candidates of a filter, and more; empty for all."""
    if isinstance(node, Condition):
        return _term_of(node)
    parts = [_terms_of(part) for part in node.parts]
    if node.operator == "||":
        return f"({' OR '.join(parts)})" if parts and all(parts) else ""
    known = [part for part in parts if part]
    return f"({' AND '.join(known)})" if known else ""


def _term_of(condition: Condition) -> str:
    field_, value = condition.field, condition.value
    if condition.operator == "=~" and _has_grams(field_):
        found = sorted(grams(literal_of(str(value))))[:_MAX_GRAMS]
        return f"({' AND '.join(found)})" if found else ""
    if condition.operator != "=" or value is None:
        return ""
    if field_.scope == "intrinsic":
        if field_.name == "event:name":
            return f'"{term("event", "event:name", value)}"'
        return f'"{term(INTRINSIC, field_.name, value)}"' if field_.name in _INDEXED else ""
    if field_.scope == "any":
        terms = (f'"{term(scope, field_.name, value)}"' for scope in ("span", "resource"))
        return f"({' OR '.join(terms)})"
    return f'"{term(field_.scope, field_.name, value)}"'


def _has_grams(field_: Field) -> bool:
    """Whether the triples of letters of its texts are in the index."""
    return field_.scope in {"span", "event"} or (
        field_.scope == INTRINSIC and field_.name in {"name", "statusMessage"}
    )


def _shortest(node: Spansets | Filter) -> int:
    """The duration that one span of each candidate has at least, in nanoseconds."""
    if isinstance(node, Spanset):
        return _shortest(node.filter)
    if isinstance(node, Condition):
        wanted = node.field == Field("intrinsic", "duration") and node.operator in {">", ">=", "="}
        return int(node.value) if wanted and isinstance(node.value, int | float) else 0
    bounds = [_shortest(part) for part in node.parts]
    if node.operator == "||" or not isinstance(node, Junction):
        return min(bounds, default=0)
    return max(bounds, default=0)
