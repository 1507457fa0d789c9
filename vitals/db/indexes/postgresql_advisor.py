"""Which indexes would make a statement cheaper on PostgreSQL, tried out and not guessed.

Candidates come from the statement's plan: columns it filters by, joins by, sorts by. HypoPG makes
them believe-it indexes of this session alone, and the planner says whether it would use them and
what the statement would cost. Nothing is executed and nothing is built. Costs are the planner's:
they say which of two plans is cheaper, not how many milliseconds a statement takes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import re2
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from vitals.db.indexes.index_candidates import Index, candidates, quoted
from vitals.db.statements.fingerprint import normalise
from vitals.db.statements.plannable import refuse_code
from vitals.db.statements.plans import Node, bare, walk

GAIN = 0.3
"""Share of the cost that an index must save."""
CHEAP = 50.0
"""Cost below which a statement needs no index."""
DEEP_OFFSET = 1_000

_OFFSET = re.compile(
    r"\bOFFSET\s+(?:(?P<number>\d+)|\$(?P<place>\d+)|%\((?P<name>\w+)\)s|(?P<mark>\?))",
    re.IGNORECASE,
)
# A varchar is compared as (column)::text, which an index serves; other casts none does.
_DATE = re2.compile(r"\)::date\b[^<>]*=|=[^<>]*\)::date")
_CAST = re.compile(
    r"\)::(?:smallint|integer|bigint|numeric|double precision|character varying\)::text) [=<>]"
)


@dataclass(frozen=True)
class Advice:
    """What would make a statement cheaper.

    Attributes:
        indexes: SQL that makes them; they are needed together. Empty when none helps.
        cost_before: The planner's cost; on SQLite, which tells none, rows that it reads or sorts.
        cost_after: The same with the indexes.
        bytes: About how large they would be; HypoPG tends to say too much.
        notes: What to weigh, or what to write otherwise.
    """

    indexes: list[str]
    cost_before: float
    cost_after: float
    bytes: int = 0
    notes: list[str] = field(default_factory=list)


def advise(connection: Connection, sql: str, parameters: Any = None) -> Advice:
    """Look for indexes that a statement lacks.

    Args:
        connection: To PostgreSQL with the extension HypoPG; its transaction is rolled back.
        sql: One statement, as the driver takes it.
        parameters: Its values.

    Raises:
        ValueError: The database has no HypoPG, there are several statements, or planning might run
            code of the database's own.
        sqlalchemy.exc.DBAPIError: The statement cannot be planned.
    """
    if ";" in normalise(sql).rstrip("; "):
        raise ValueError("one statement at a time: what comes after a semicolon would be executed")
    trial = _Trial(connection, sql, parameters)
    try:
        before, plan = trial.cost(())
        notes = rewrites(sql, plan, parameters)
        if before < CHEAP or deep(sql, parameters):
            return Advice([], before, before, notes=notes)
        chosen, after = search(trial, candidates(plan, trial.distinct), before)
        if not chosen:
            return Advice([], before, before, notes=notes)
        size = trial.size(chosen)
    finally:
        trial.end()
    notes.append(
        "every write to the table keeps it up too; build it with CREATE INDEX CONCURRENTLY"
    )
    return Advice([index.sql for index in chosen], before, after, size, notes)


class Trial(Protocol):
    """Where indexes are tried out."""

    def cost(self, indexes: tuple[Index, ...]) -> tuple[float, Node]:
        """What the statement costs with these indexes, and its plan, empty where one cannot be."""

    def used(self, indexes: tuple[Index, ...]) -> tuple[Index, ...]:
        """Which of these the planner takes when it has them all."""

    def exists(self, index: Index) -> bool:
        """Whether there is no need to try it, for there is one like it."""


def search(trial: Trial, tried: Sequence[Index], before: float) -> tuple[tuple[Index, ...], float]:
    """The cheapest index or indexes that the planner would use; fewer columns when in doubt."""
    tried = [index for index in tried if not trial.exists(index)]
    usable = [(trial.cost((index,))[0], index) for index in tried]
    usable = [(cost, index) for cost, index in usable if cost <= before * (1 - GAIN)]
    chosen: tuple[Index, ...] = ()
    after = before
    if usable:
        least = min(cost for cost, _ in usable)
        near = [(cost, index) for cost, index in usable if cost <= least * 1.1 + 1]
        after, best = min(near, key=lambda each: (len(each[1].columns), each[0]))
        chosen = (best,)
    together = trial.used(tuple(tried)) if len(tried) > 1 else ()
    if len(together) > 1:
        cost = trial.cost(together)[0]
        for index in together:  # each that can be missed, is
            rest = tuple(other for other in together if other != index)
            if rest and (without := trial.cost(rest)[0]) <= cost * 1.2 + 1:
                together, cost = rest, without
        if cost < after * (1 - GAIN):
            chosen, after = together, cost
    return chosen, after


class _Trial:
    """A transaction in which indexes are tried out.

    On a busy machine each question waits for its turn, there and back: so there are as few as can
    be.
    """

    def __init__(self, connection: Connection, sql: str, parameters: Any) -> None:
        self._connection = connection
        self._sql = "EXPLAIN (FORMAT JSON, VERBOSE) " + sql
        self._parameters = parameters
        self._existing: dict[str, list[tuple[str, ...]]] = {}
        self._costs: dict[tuple[Index, ...], tuple[float, Node]] = {}
        self._bytes: dict[Index, int] = {}
        self._made = False
        if not connection.execute(_BEGIN).scalars("hypopg").one():
            connection.rollback()
            raise ValueError(
                "this database has no HypoPG: install postgresql-15-hypopg, then CREATE EXTENSION "
                "hypopg"
            )
        try:
            refuse_code(connection, sql)
        except ValueError:
            connection.rollback()
            raise

    def distinct(self, table: str) -> dict[str, float]:
        """How many values each column of a table has."""
        counted = self._connection.execute(_DISTINCT, {"table": table})
        return {quoted(column): number for column, number in counted}

    def end(self) -> None:
        """Forget everything."""
        if self._made:
            self._connection.exec_driver_sql("SELECT hypopg_reset()")
        self._connection.rollback()

    def cost(self, indexes: tuple[Index, ...]) -> tuple[float, Node]:
        """What the statement costs with these indexes; infinite where one cannot be."""
        if indexes not in self._costs:
            try:
                self._make(indexes)
                plan = self._plan()
            except DBAPIError:
                if not indexes:
                    raise
                self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT tried")
                self._costs[indexes] = (float("inf"), {})
            else:
                self._costs[indexes] = (plan["Total Cost"], plan)
        return self._costs[indexes]

    def used(self, indexes: tuple[Index, ...]) -> tuple[Index, ...]:
        """Which of these the planner takes when it has them all."""
        possible = tuple(index for index in indexes if self.cost((index,))[1])
        if not possible:
            return ()
        names = self._make(possible)
        taken = {node.get("Index Name") for _, node in walk(self._plan())}
        return tuple(index for name, index in names.items() if name in taken)

    def size(self, indexes: tuple[Index, ...]) -> int:
        """Bytes, as HypoPG thinks, of some that have been tried."""
        return sum(self._bytes[index] for index in indexes)

    def exists(self, index: Index) -> bool:
        """Whether an index of the whole table begins with these columns."""
        if index.table not in self._existing:
            found = self._connection.execute(_EXISTING, {"table": index.table})
            self._existing[index.table] = [tuple(map(quoted, keys)) for (keys,) in found]
        return any(
            key[: len(index.columns)] == index.columns for key in self._existing[index.table]
        )

    def _make(self, indexes: tuple[Index, ...]) -> dict[str, Index]:
        """Have these believe-it indexes and no others; by the names that HypoPG gives them."""
        if not self._made:
            if not indexes:
                return {}
            self._connection.exec_driver_sql("SAVEPOINT tried")
            self._made = True
        names = {}
        made = self._connection.execute(_CREATE, {"all": [index.sql for index in indexes]})
        for number, name, size in made:
            names[str(name)] = indexes[number - 1]
            self._bytes[indexes[number - 1]] = size
        return names

    def _plan(self) -> Node:
        answer = self._connection.exec_driver_sql(self._sql, self._parameters).scalar_one()
        plan: Node = answer[0]["Plan"]
        return plan


_BEGIN = text(
    """
    SELECT set_config('transaction_read_only', 'on', true),
           set_config('statement_timeout', '2s', true),
           set_config('jit', 'off', true),
           EXISTS (SELECT FROM pg_extension WHERE extname = 'hypopg') AS hypopg
    """
)
# One round trip: a candidate costs two, and there are two dozen of them.
_CREATE = text(
    """
    WITH fresh AS MATERIALIZED (SELECT CAST(hypopg_reset() AS text) AS nothing)
    SELECT each.number, made.indexname, hypopg_relation_size(made.indexrelid)
    FROM fresh, unnest(CAST(:all AS text[])) WITH ORDINALITY AS each (sql, number),
         LATERAL hypopg_create_index(each.sql || fresh.nothing) AS made
    """
)
_EXISTING = text(
    """
    SELECT ARRAY(SELECT pg_get_indexdef(i.indexrelid, place, true)
                 FROM generate_series(1, i.indnkeyatts) AS place)
    FROM pg_index i
    WHERE i.indrelid = CAST(CAST(:table AS text) AS regclass) AND i.indpred IS NULL AND i.indisvalid
    """
)
# Names that are known before it is planned: joined with the view, it would read all statistics.
_DISTINCT = text(
    """
    SELECT s.attname,
           CASE WHEN s.n_distinct < 0
                THEN -s.n_distinct * (SELECT reltuples FROM pg_class
                                      WHERE oid = CAST(CAST(:table AS text) AS regclass))
                ELSE s.n_distinct END
    FROM pg_stats s
    WHERE s.tablename = (SELECT relname FROM pg_class
                         WHERE oid = CAST(CAST(:table AS text) AS regclass))
      AND s.schemaname = (SELECT n.nspname FROM pg_class c JOIN pg_namespace n
                          ON n.oid = c.relnamespace
                          WHERE c.oid = CAST(CAST(:table AS text) AS regclass))
    """
)


def rewrites(sql: str, plan: Node, parameters: Any = None) -> list[str]:
    """What to write otherwise, because no index helps it as it stands."""
    conditions = [bare(str(node.get("Filter", ""))) for _, node in walk(plan)]
    found = []
    if deep(sql, parameters):
        found.append("a deep OFFSET reads all it skips: page by key, WHERE (a, b) > (:a, :b)")
    if any(_DATE.search(condition) for condition in conditions):
        found.append("a cast column cannot be looked up: column >= :day AND column < :day + 1")
    if any(_CAST.search(condition) for condition in conditions):
        found.append("a cast column cannot be looked up: compare it with a value of its own type")
    if any(re.search(r"~~\*? '[%_]", condition) for condition in conditions):
        found.append("LIKE '%...' looks into every text: an index of pg_trgm (GIN) can help")
    if any("SubPlan" in str(node.get("Subplan Name", "")) for _, node in walk(plan)):
        found.append("a subquery runs once a row: write a join, or a LATERAL one")
    return found


def deep(sql: str, parameters: Any) -> bool:
    """Whether an OFFSET skips many rows; its number may be a value."""
    found = _OFFSET.search(sql)
    if found is None:
        return False
    place = int(found["place"] or 0) - 1
    if found["mark"]:
        place = sql.count("?", 0, found.start("mark"))
    try:
        number = found["number"] or parameters[found["name"] or place]
        return int(number) >= DEEP_OFFSET
    except (LookupError, TypeError, ValueError):
        return False
