"""Statements of pg_stat_statements, by the fingerprint that the kit gives the same statement.

The kit normalises what a client sends, the extension what the parser read: placeholders and
literals become the same text. Where they do not, as for `NULL` and `TRUE`, which the extension
replaces and the kit keeps, the fingerprint is another one.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, text

from rules.postgres_metrics import (
    PG_STATEMENT_BLOCKS,
    PG_STATEMENT_CALLS,
    PG_STATEMENT_READ,
    PG_STATEMENT_ROWS,
    PG_STATEMENT_SECONDS,
    PG_STATEMENT_TEMP,
    PG_STATEMENT_TEXT,
)
from stack.readings.sample import BoundedCounts, Sample
from vitals.db.statements.fingerprint import MAX_LENGTH, parse
from vitals.metrics.catalogue import OTHER

STATEMENTS = 50
"""Statements with series of their own."""
MOST = 20_000
"""Statements that are read; the extension keeps 5,000 by default."""
NEW_TEXTS = 1_000
"""Texts that are read and parsed at once; a millisecond for ten of them."""
TEXT = 300
"""Characters of a statement in a label."""

_EXISTS_SQL = text(
    """
    SELECT n.nspname, EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = c.oid AND attname = 'total_exec_time' AND NOT attisdropped)
    FROM pg_extension e
    JOIN pg_namespace n ON n.oid = e.extnamespace
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'pg_stat_statements'
    WHERE e.extname = 'pg_stat_statements'
    """
)
_COUNTS = """
    SELECT userid, dbid, queryid, sum({time}) / 1000, sum(calls)::float, sum(rows)::float,
           sum(shared_blks_read)::float, sum(temp_blks_written)::float,
           sum(shared_blks_hit + shared_blks_read)::float
    FROM {schema}.pg_stat_statements(false) WHERE queryid IS NOT NULL
    GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT {most}
"""
_TEXTS = """
    SELECT queryid, left(min(query), {length}) FROM {schema}.pg_stat_statements(true)
    WHERE queryid = ANY (:ids) GROUP BY 1
"""


_UNKNOWN = (OTHER, OTHER)
"""Labels of a statement whose text is not read yet."""


class NotInstalledError(RuntimeError):
    """The database does not have pg_stat_statements."""


class _Known(NamedTuple):
    labels: tuple[str, str]
    text: str


class Statements:
    """Reads the statements of a server: those of all its databases."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}
        self._counts = BoundedCounts(
            (
                *(PG_STATEMENT_SECONDS, PG_STATEMENT_CALLS, PG_STATEMENT_ROWS),
                *(PG_STATEMENT_READ, PG_STATEMENT_TEMP, PG_STATEMENT_BLOCKS),
            ),
            STATEMENTS,
        )

    def read(self, connection: Connection) -> Iterator[Sample]:
        """Counts of the statements that take the most time lately.

        Raises:
            NotInstalledError: There is no such extension in the connected database.
        """
        found = connection.execute(_EXISTS_SQL).one_or_none()
        if found is None:
            raise NotInstalledError("CREATE EXTENSION pg_stat_statements in the database")
        schema = connection.dialect.identifier_preparer.quote(found[0])
        time = "total_exec_time" if found[1] else "total_time"
        query = _COUNTS.format(time=time, schema=schema, most=MOST)
        rows = connection.execute(text(query.replace("::", "\\:\\:"))).all()
        self._learn(connection, schema, [row[2] for row in rows])
        self._counts.add(
            {
                (row[0], row[1], row[2]): (
                    self._known[row[2]].labels if row[2] in self._known else _UNKNOWN,
                    tuple(row[3:]),
                )
                for row in rows
            }
        )
        yield from self._counts.samples()
        texts: dict[tuple[str, ...], str] = {
            known.labels: known.text for known in self._known.values()
        }
        for labels in self._counts.shown & texts.keys():
            yield Sample(PG_STATEMENT_TEXT, (labels[0], texts[labels]), 1.0)

    def _learn(self, connection: Connection, schema: str, ids: list[int]) -> None:
        """Read the texts of new statements, and forget those that the server has forgotten."""
        there = {*ids}
        self._known = {each: known for each, known in self._known.items() if each in there}
        new = [each for each in dict.fromkeys(ids) if each not in self._known][:NEW_TEXTS]
        if not new:
            return
        query = text(_TEXTS.format(schema=schema, length=MAX_LENGTH))
        for each, sql in connection.execute(query, {"ids": new}):
            parsed = parse(sql or "", "postgresql")
            self._known[each] = _Known((parsed.fingerprint, parsed.summary), parsed.text[:TEXT])
