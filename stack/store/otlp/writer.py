"""The writer: one thread that stores requests in groups, and answers once they are committed.

While one group is written the next one waits; so the more arrives, the larger the groups, and a
commit costs each request less. What waits is bounded in bytes; more is refused.
"""

import sqlite3
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stack.store.otlp import messages
from stack.store.otlp.clock import Clock
from stack.store.otlp.line_rows import Line, lines_of
from stack.store.otlp.span_rows import Chunk, Tag, chunks_of
from stack.store.partitions.store_files import StoreFiles
from stack.terminal import print_line

MAX_WAITING = 24_000_000
"""Bytes of bodies that wait to be written."""
_GROUP_BYTES = 4_000_000
_MAX_TAGS = 1_000
"""Values of one attribute in one partition that a person can choose from."""
_MAX_TAG_NAMES = 1_000
_MAX_KNOWN = 10_000
"""Resources, and streams, whose row is known without asking."""


class BusyError(RuntimeError):
    """Too much waits: try again later."""


class UnwritableError(RuntimeError):
    """The disk refuses: try again later."""


@dataclass
class Stored:
    """What became of a request.

    Attributes:
        count: Spans or lines that are on the disk.
        rejected: Why others are not.
    """

    count: int = 0
    rejected: list[str] = field(default_factory=list)


@dataclass
class _Request:
    signal: str
    body: bytes
    content_type: str
    encoding: str
    result: "Future[Stored]" = field(default_factory=Future)
    stored: Stored = field(default_factory=Stored)
    chunks: Sequence[Chunk] = ()
    lines: Sequence[Line] = ()
    size: int = 0


class Writer:
    """Writes to the newest partition.

    Args:
        files: The partitions.
        maintain_seconds: How often retention is looked at.
    """

    def __init__(self, files: StoreFiles, maintain_seconds: float = 1.0) -> None:
        self._files, self._maintain_seconds = files, maintain_seconds
        self._waiting: deque[_Request] = deque()
        self._bytes = 0
        self._changed = Condition()
        self._stopping = False
        self._tags: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self._resources: dict[bytes, int] = {}
        self._streams: dict[tuple[str, str], int] = {}
        self._maintained = 0.0
        self.unwritable = ""
        self._thread = Thread(target=self._run, name="writer")
        self._thread.start()

    def submit(
        self, signal: str, body: bytes, content_type: str, encoding: str
    ) -> "Future[Stored]":
        """Store a body of OTLP.

        Returns:
            A future that has the result after the commit. It fails with `InvalidMessageError`,
            `TooLargeError` or `UnwritableError`.

        Raises:
            BusyError: Too much waits.
        """
        request = _Request(signal, body, content_type, encoding)
        with self._changed:
            if self._stopping or self._bytes + len(body) > MAX_WAITING:
                raise BusyError("too much waits to be written")
            self._waiting.append(request)
            self._bytes += len(body)
            self._changed.notify()
        return request.result

    def stop(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._waiting and not self._stopping:
                    self._changed.wait(self._maintain_seconds)
                if self._stopping and not self._waiting:
                    return
                group = self._take()
            if group:
                self._try_to_write(group)
            if time.monotonic() - self._maintained > self._maintain_seconds:
                self._maintain()

    def _take(self) -> list[_Request]:
        group, size = [], 0
        while self._waiting and size < _GROUP_BYTES:
            request = self._waiting.popleft()
            size += len(request.body)
            # Its sender may have given up. From now on it cannot, so that a result can be set.
            if request.result.set_running_or_notify_cancel():
                group.append(request)
        self._bytes -= size
        return group

    def _try_to_write(self, group: list[_Request]) -> None:
        try:
            self._write(group)
        except Exception as error:  # noqa: BLE001 - the thread must go on
            print_line(f"requests were refused, storing them failed: {error!r}")
            for request in group:
                if not request.result.done():
                    request.result.set_exception(UnwritableError(f"cannot be written: {error!r}"))

    def _write(self, group: list[_Request]) -> None:
        clock = Clock(self._files.retention.seconds)
        valid: list[_Request] = []
        size = 0
        for request in group:
            if self._parse(request, clock):
                valid.append(request)
                size += request.size
            if size >= _GROUP_BYTES:  # a few compressed bodies may be very large
                self._commit(valid)
                valid, size = [], 0
        if valid:
            self._commit(valid)

    def _commit(self, group: list[_Request]) -> None:
        try:
            self._store(group)
        except sqlite3.Error as error:
            self._forget()
            self._refuse(group, error)
        except Exception as error:  # noqa: BLE001 - a request that cannot be stored costs no other one
            self._forget()
            if len(group) > 1:
                for request in group:
                    self._commit([request])
                return
            print_line(f"a request was refused, it cannot be stored: {error!r}")
            for request in group:
                request.result.set_exception(messages.InvalidMessageError(f"{error!r}"[:300]))
        else:
            if self.unwritable:
                print_line("the store can write again")
            self.unwritable = ""
            for request in group:
                request.result.set_result(request.stored)

    def _refuse(self, group: list[_Request], error: sqlite3.Error) -> None:
        if str(error) != self.unwritable:
            print_line(f"the store cannot write, senders keep their data: {error}")
        self.unwritable = str(error)
        for request in group:
            request.result.set_exception(UnwritableError(f"cannot be written: {error}"))

    def _parse(self, request: _Request, clock: Clock) -> bool:
        stored = request.stored = Stored()
        try:
            body = messages.decompress(request.body, request.encoding)
            request.size = len(body)
            if request.signal == "traces":
                spans = messages.decode(body, request.content_type, ExportTraceServiceRequest())
                request.chunks = list(chunks_of(spans, clock, stored.rejected))
                stored.count = sum(chunk.spans for chunk in request.chunks)
            else:
                logs = messages.decode(body, request.content_type, ExportLogsServiceRequest())
                request.lines = list(lines_of(logs, clock, stored.rejected))
                stored.count = len(request.lines)
        except messages.TooLargeError as error:
            request.result.set_exception(error)
            return False
        except Exception as error:  # noqa: BLE001 - what cannot be read is not for later
            text = str(error) or repr(error)
            request.result.set_exception(messages.InvalidMessageError(text[:300]))
            return False
        return True

    def _store(self, group: list[_Request]) -> None:
        database, partition = self._files.database, self._files.active
        chunks = [chunk for request in group for chunk in request.chunks]
        lines = [line for request in group for line in request.lines]
        if not chunks and not lines:
            return
        database.execute("BEGIN IMMEDIATE")
        try:
            self._insert_chunks(database, chunks)
            self._insert_lines(database, lines)
            database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # SQLite has rolled back itself, as on a full disk
                database.execute("ROLLBACK")
            raise
        if chunks:
            partition.chunks.add(min(c.start for c in chunks), max(c.start for c in chunks))
        if lines:
            partition.lines.add(min(line.time for line in lines), max(line.time for line in lines))

    def _insert_chunks(self, database: sqlite3.Connection, chunks: list[Chunk]) -> None:
        if not chunks:
            return
        first = _next_id(database, "chunk")
        rows = [
            (
                *(number, chunk.trace_id, chunk.start, chunk.end, chunk.longest),
                *(self._resource(database, chunk.resource), chunk.service, chunk.root),
                *(chunk.spans, chunk.errors, chunk.content),
            )
            for number, chunk in enumerate(chunks, first)
        ]
        database.executemany("INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        terms = [(number, " ".join(chunk.terms)) for number, chunk in enumerate(chunks, first)]
        database.executemany("INSERT INTO chunk_term (rowid, term) VALUES (?, ?)", terms)
        tags = [tag for chunk in chunks for tag in chunk.tags if self._is_new(tag)]
        database.executemany("INSERT OR IGNORE INTO tag VALUES (?, ?, ?, ?)", tags)

    def _insert_lines(self, database: sqlite3.Connection, lines: list[Line]) -> None:
        if not lines:
            return
        first = _next_id(database, "line")
        rows = [
            (
                number,
                line.time,
                self._stream(database, line),
                line.trace_id,
                line.body,
                line.metadata,
            )
            for number, line in enumerate(lines, first)
        ]
        database.executemany("INSERT INTO line VALUES (?, ?, ?, ?, ?, ?)", rows)
        terms = [(number, " ".join(line.terms)) for number, line in enumerate(lines, first)]
        database.executemany("INSERT INTO line_term (rowid, term) VALUES (?, ?)", terms)
        grams = [(number, line.body) for number, line in enumerate(lines, first)]
        database.executemany("INSERT INTO line_gram (rowid, body) VALUES (?, ?)", grams)

    def _resource(self, database: sqlite3.Connection, content: bytes) -> int:
        if (known := self._resources.get(content)) is None:
            _bound(self._resources)
            database.execute("INSERT OR IGNORE INTO resource (content) VALUES (?)", (content,))
            query = "SELECT id FROM resource WHERE content = ?"
            known = self._resources[content] = database.execute(query, (content,)).fetchone()[0]
        return known

    def _stream(self, database: sqlite3.Connection, line: Line) -> int:
        key = (line.labels, line.resource)
        if (known := self._streams.get(key)) is None:
            _bound(self._streams)
            insert = "INSERT OR IGNORE INTO stream (labels, resource) VALUES (?, ?)"
            database.execute(insert, key)
            query = "SELECT id FROM stream WHERE labels = ? AND resource = ?"
            known = self._streams[key] = database.execute(query, key).fetchone()[0]
        return known

    def _is_new(self, tag: Tag) -> bool:
        """Whether a value is to be offered in lists: the first ones of each attribute are."""
        scope, name, kind, value = tag
        known = self._tags.get((scope, name))
        if known is None:
            if len(self._tags) >= _MAX_TAG_NAMES:
                return False
            known = self._tags[scope, name] = set()
        if len(known) >= _MAX_TAGS or (kind, value) in known:
            return False
        known.add((kind, value))
        return True

    def _forget(self) -> None:
        """Ask the file again: what was rolled back is not there."""
        for known in (self._tags, self._resources, self._streams):
            known.clear()

    def _maintain(self) -> None:
        self._maintained = time.monotonic()
        try:
            if self._files.maintain():
                self._forget()
        except (sqlite3.Error, OSError) as error:
            if str(error) != self.unwritable:
                print_line(f"no new file can be started: {error}")
            self.unwritable = str(error)


def _bound(known: dict[Any, int]) -> None:
    if len(known) >= _MAX_KNOWN:
        known.clear()


def _next_id(database: sqlite3.Connection, table: str) -> int:
    (last,) = database.execute(f"SELECT max(id) FROM {table}").fetchone()  # noqa: S608 - our names
    return (last or 0) + 1
