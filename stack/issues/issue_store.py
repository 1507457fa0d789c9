"""Store of issues: what occurred is added, states change, what is old goes.

Every change is one transaction. Counts are absolute, by minute: adding the same minute again
changes nothing, so a range of time may be read as often as needed, after a crash too.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from threading import RLock
from time import time
from typing import NamedTuple

from stack.issues import schema
from stack.issues.occurrences import Count, Occurrence
from stack.issues.schema import HOUR, OTHER
from stack.issues.stack_frames import frames_of

FOLD_AFTER = 1_800
"""Seconds before the last minute that was read, after which minutes are kept as hours."""
MAX_ATTEMPTS = 20
"""How often a stack is looked up, for each new trace; as many once it has source lines."""
MINUTE = 60
CURSOR, CREATED = "cursor", "created"


class State(StrEnum):
    """The state of an issue."""

    OPEN = "open"
    RESOLVED = "resolved"
    IGNORED = "ignored"


class Kind(StrEnum):
    """What a notice tells of."""

    NEW = "new"
    REOPENED = "reopened"


class Unexplained(NamedTuple):
    """An issue without a stack.

    Attributes:
        fingerprint: The issue's.
        trace_id: Its newest trace; empty if there is none.
        service: Where it occurred last.
        last_seen: When, as Unix time.
    """

    fingerprint: str
    trace_id: str
    service: str
    last_seen: float


class IssueStore:
    """Issues in a file; thread-safe.

    Args:
        path: The file; None keeps them in memory only.

    Raises:
        sqlite3.Error: It cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self.lock = RLock()
        self.database = schema.connect(path)
        with self.writing() as database:
            database.execute("INSERT OR IGNORE INTO tracker VALUES (?, ?)", (CREATED, time()))

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is committed as a whole, or not at all.

        Raises:
            sqlite3.Error: It cannot be written, such as on a full disk.
        """
        with self.lock:
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield self.database
                self.database.execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:
                    self.database.execute("ROLLBACK")
                raise

    def value(self, name: str) -> float:
        """A value of the issue tracker itself; 0 if it is not set."""
        with self.lock:
            row = self.database.execute(
                "SELECT value FROM tracker WHERE name = ?", (name,)
            ).fetchone()
        return float(row[0]) if row else 0.0

    def states(self) -> dict[str, tuple[State, float]]:
        """The state of each issue, and since when it has it."""
        with self.lock:
            rows = self.database.execute("SELECT fingerprint, state, state_since FROM issue")
            return {row[0]: (State(row[1]), row[2]) for row in rows}

    def add(
        self,
        counts: Iterable[Count],
        occurrences: Iterable[Occurrence],
        *,
        first: Mapping[str, Occurrence],
        reopened: Mapping[str, Occurrence],
        cursor: float,
    ) -> None:
        """Add what was read of a range of time.

        Args:
            counts: Occurrences by minute, of known errors and of those in ``first``.
            occurrences: The newest ones.
            first: An early occurrence of each error that is not known yet.
            reopened: An occurrence of each resolved error after its resolution.
            cursor: Unix time of the minute up to which it was read.

        Raises:
            sqlite3.Error: It cannot be written; then nothing of it is.
        """
        with self.writing() as database:
            for each in first.values():
                self._create(database, each)
            for each in reopened.values():
                self._reopen(database, each)
            for minute in _by_minute(counts):
                self._count(database, minute)
            for each in occurrences:
                self._add_example(database, each)
            database.execute(
                "INSERT OR REPLACE INTO tracker VALUES (?, max(?, ?))",
                (CURSOR, cursor, self.value(CURSOR)),
            )
            self._fold(database, cursor)
            self._evict(database)

    def _create(self, database: sqlite3.Connection, each: Occurrence) -> None:
        made = database.execute(
            "INSERT OR IGNORE INTO issue VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
            (
                *(each.fingerprint, _short(each.type), _short(each.place)),
                *(each.message[: schema.MAX_MESSAGE], each.stacktrace[-schema.MAX_STACK :]),
                *(each.time, each.time, _short(each.release), _short(each.release)),
                *(State.OPEN, each.time, _attempts(each.stacktrace)),
            ),
        )
        # What was there before the issue tracker is not news.
        if made.rowcount and each.time >= self.value(CREATED):
            _notice(database, Kind.NEW, each)

    def _reopen(self, database: sqlite3.Connection, each: Occurrence) -> None:
        changed = database.execute(
            "UPDATE issue SET state = ?, state_since = ?, regressions = regressions + 1 "
            "WHERE fingerprint = ? AND state = ? AND state_since < ?",
            (State.OPEN, each.time, each.fingerprint, State.RESOLVED, each.time),
        )
        if changed.rowcount:
            _notice(database, Kind.REOPENED, each)

    def _count(self, database: sqlite3.Connection, counts: list[Count]) -> None:
        """Add the routes of one error, minute, service and release.

        Their sum decides how many are new: a store that could not tell the routes before may now.
        """
        first = counts[0]
        known = database.execute(
            "SELECT 1 FROM issue WHERE fingerprint = ?", (first.fingerprint,)
        ).fetchone()
        if known is None:
            return
        key = first.minute, first.fingerprint, _short(first.service), _short(first.release)
        rows = database.execute(
            "SELECT route, count FROM minute "
            "WHERE minute = ? AND fingerprint = ? AND service = ? AND release = ?",
            key,
        ).fetchall()
        before = {row["route"]: row["count"] for row in rows}
        left = sum(each.times for each in counts) - sum(before.values())
        for each in counts:
            route = _short(each.route)
            added = min(left, each.times - before.get(route, 0))
            if added <= 0:  # read again; or the store has removed some
                continue
            left -= added
            database.execute(
                "INSERT INTO minute (minute, fingerprint, service, release, route, count) "
                "VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET count = count + excluded.count",
                (*key, route, added),
            )
            self._add_place(database, each, (key[2], key[3], route), added)
            self._add_to_issue(database, each, added)

    def _add_to_issue(self, database: sqlite3.Connection, each: Count, added: int) -> None:
        database.execute(
            "INSERT INTO hour VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET count = count + excluded.count",
            (each.fingerprint, each.minute // HOUR * HOUR, added),
        )
        release = _short(each.release)
        database.execute(
            "UPDATE issue SET last_seen = max(last_seen, ?), first_seen = min(first_seen, ?), "
            "last_release = CASE WHEN ? >= last_seen - ? AND ? != '' THEN ? ELSE last_release END "
            "WHERE fingerprint = ?",
            (
                *(each.minute, each.minute + MINUTE, each.minute, MINUTE, release, release),
                each.fingerprint,
            ),
        )

    def _add_place(
        self, database: sqlite3.Connection, each: Count, labels: tuple[str, str, str], added: int
    ) -> None:
        service, release, route = labels
        (places,) = database.execute(
            "SELECT count(*) FROM place WHERE fingerprint = ?", (each.fingerprint,)
        ).fetchone()
        if places >= schema.MAX_PLACES:
            known = database.execute(
                "SELECT 1 FROM place WHERE fingerprint = ? AND service = ? AND release = ? "
                "AND route = ?",
                (each.fingerprint, *labels),
            ).fetchone()
            if known is None:
                release, route = OTHER, OTHER
        database.execute(
            "INSERT INTO place VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "count = count + excluded.count, first_seen = min(first_seen, excluded.first_seen), "
            "last_seen = max(last_seen, excluded.last_seen)",
            (each.fingerprint, service, release, route, added, each.minute, each.minute),
        )

    def _add_example(self, database: sqlite3.Connection, each: Occurrence) -> None:
        database.execute(
            "UPDATE issue SET last_seen = max(last_seen, ?), "
            "type = CASE WHEN type = '' THEN ? ELSE type END, "
            "place = CASE WHEN place = '' THEN ? ELSE place END, "
            "message = CASE WHEN message = '' THEN ? ELSE message END WHERE fingerprint = ?",
            (
                *(each.time, _short(each.type), _short(each.place)),
                *(each.message[: schema.MAX_MESSAGE], each.fingerprint),
            ),
        )
        if not each.trace_id:
            return
        added = database.execute(
            "INSERT OR IGNORE INTO example SELECT fingerprint, ?, ?, ?, ?, ? FROM issue "
            "WHERE fingerprint = ?",
            (
                *(each.trace_id[:64], each.time),
                *(_short(each.service), _short(each.release), _short(each.route)),
                each.fingerprint,
            ),
        )
        if not added.rowcount:
            return
        database.execute(
            "UPDATE issue SET attempts = 0 WHERE fingerprint = ? AND attempts < ?",
            (each.fingerprint, MAX_ATTEMPTS),
        )
        database.execute(
            "DELETE FROM example WHERE fingerprint = ? AND trace_id NOT IN "
            "(SELECT trace_id FROM example WHERE fingerprint = ? ORDER BY time DESC LIMIT ?)",
            (each.fingerprint, each.fingerprint, schema.MAX_EXAMPLES),
        )

    def _fold(self, database: sqlite3.Connection, cursor: float) -> None:
        """Forget single minutes that are not read again, and old hours."""
        database.execute("DELETE FROM minute WHERE minute < ?", (cursor - FOLD_AFTER,))
        database.execute("DELETE FROM hour WHERE hour < ?", (cursor - schema.KEEP_HOURS * HOUR,))

    def _evict(self, database: sqlite3.Connection) -> None:
        (issues,) = database.execute("SELECT count(*) FROM issue").fetchone()
        if issues <= schema.MAX_ISSUES:
            return
        rows = database.execute(
            "SELECT fingerprint FROM issue ORDER BY state = ?, last_seen LIMIT ?",
            (State.OPEN, issues - schema.MAX_ISSUES),
        ).fetchall()
        for table in schema.TABLES_OF_ISSUE:
            database.executemany(f"DELETE FROM {table} WHERE fingerprint = ?", map(tuple, rows))  # noqa: S608 - our names

    def without_stack(self, limit: int) -> list[Unexplained]:
        """Issues whose stack is to be looked up: they have none, or one without source lines."""
        with self.lock:
            rows = self.database.execute(
                "SELECT fingerprint, coalesce((SELECT trace_id FROM example e "
                "WHERE e.fingerprint = i.fingerprint ORDER BY time DESC LIMIT 1), ''), "
                "coalesce((SELECT service FROM place p WHERE p.fingerprint = i.fingerprint "
                "ORDER BY last_seen DESC LIMIT 1), ''), last_seen "
                "FROM issue i WHERE attempts < ? ORDER BY attempts, last_seen DESC LIMIT ?",
                (MAX_ATTEMPTS, limit),
            )
            return [Unexplained(*row) for row in rows]

    def set_stack(self, fingerprint: str, message: str, stacktrace: str) -> None:
        """Add the stack of an issue, once it is known.

        Raises:
            sqlite3.Error: It cannot be written.
        """
        with self.writing() as database:
            database.execute(
                "UPDATE issue SET message = CASE WHEN ? != '' THEN ? ELSE message END, "
                "stacktrace = ?, attempts = max(attempts + 1, ?) WHERE fingerprint = ?",
                (
                    *(message[: schema.MAX_MESSAGE], message[: schema.MAX_MESSAGE]),
                    *(stacktrace[-schema.MAX_STACK :], _attempts(stacktrace), fingerprint),
                ),
            )

    def note_attempts(self, fingerprints: Iterable[str]) -> None:
        """Note that no stack was found for these, so that others come first.

        Raises:
            sqlite3.Error: It cannot be written.
        """
        with self.writing() as database:
            database.executemany(
                "UPDATE issue SET attempts = attempts + 1 WHERE fingerprint = ?",
                [(each,) for each in fingerprints],
            )

    def set_state(self, fingerprint: str, state: State, now: float) -> bool:
        """Set the state of an issue; false if there is no such issue.

        Raises:
            sqlite3.Error: It cannot be written.
        """
        with self.writing() as database:
            if state is not State.OPEN:  # dealt with: the alert ends
                database.execute("DELETE FROM notice WHERE fingerprint = ?", (fingerprint,))
            changed = database.execute(
                "UPDATE issue SET state_since = CASE WHEN state = ? THEN state_since ELSE ? END, "
                "state = ? WHERE fingerprint = ?",
                (state, now, state, fingerprint),
            )
            return changed.rowcount > 0

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self.database.close()


def _notice(database: sqlite3.Connection, kind: Kind, each: Occurrence) -> None:
    database.execute(
        "INSERT INTO notice (fingerprint, kind, time, service, release, route) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            *(each.fingerprint, kind, each.time),
            *(_short(each.service), _short(each.release), _short(each.route)),
        ),
    )


def _by_minute(counts: Iterable[Count]) -> list[list[Count]]:
    """Counts by minute, error, service and release."""
    found: dict[tuple[int, str, str, str], list[Count]] = {}
    for each in counts:
        key = each.minute, each.fingerprint, each.service, each.release
        found.setdefault(key, []).append(each)
    return list(found.values())


def _attempts(stacktrace: str) -> int:
    return MAX_ATTEMPTS if any(frame.source for frame in frames_of(stacktrace)) else 0


def _short(text: str) -> str:
    return text[: schema.MAX_LABEL]
