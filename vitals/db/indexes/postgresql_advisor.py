"""Index advisor for PostgreSQL, based on hypothetical indexes (HypoPG).

Candidates come from the statement's plan: columns that it filters, joins or sorts by. HypoPG
creates them as hypothetical indexes of this session only, and the planner reports whether it would
use them and the statement's cost with them. Nothing is executed or built. Costs are the planner's
estimates: they show which of two plans is cheaper, not how many milliseconds a statement takes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import re2
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from vitals.db.indexes.index_candidates import IndexCandidate, candidates, quote_identifier
from vitals.db.statements.fingerprint import normalise
from vitals.db.statements.plannable import check_plannable
from vitals.db.statements.plans import Node, mask_literals, walk

MIN_GAIN = 0.3
"""Minimum share of the cost that an index must save."""
MIN_COST = 50.0
"""Cost below which no index is advised."""
DEEP_OFFSET = 1_000
"""Rows skipped at or above which keyset pagination is advised."""
DEEP_OFFSET_HINT = (
    "a deep OFFSET reads all rows that it skips: use keyset pagination, WHERE (a, b) > (:a, :b)"
)

_EXPLAIN = "EXPLAIN (FORMAT JSON, VERBOSE) "
_ONE_STATEMENT = "only one statement allowed: text after a semicolon would be executed"
_OFFSET = re.compile(
    r"\bOFFSET\s+(?:(?P<number>\d+)|\$(?P<place>\d+)|%\((?P<name>\w+)\)s|(?P<mark>\?))",
    re.IGNORECASE,
)
# A varchar is compared as (column)::text, for which an index works; with other casts none does.
_DATE = re2.compile(r"\)::date\b[^<>]*=|=[^<>]*\)::date")
_CAST = re.compile(
    r"\)::(?:smallint|integer|bigint|numeric|double precision|character varying\)::text) [=<>]"
)


@dataclass(frozen=True)
class Advice:
    """Index advice for a statement.

    Attributes:
        indexes: SQL that creates the indexes, which are needed together. Empty if none helps.
        cost_before: The planner's cost; on SQLite, which reports none, rows read or sorted.
        cost_after: The same with the indexes.
        bytes: Their approximate size; HypoPG tends to overestimate it.
        notes: Trade-offs, or how to rewrite the statement.
    """

    indexes: list[str]
    cost_before: float
    cost_after: float
    bytes: int = 0
    notes: list[str] = field(default_factory=list)


class NoHypoPGError(ValueError):
    """HypoPG is not in this database, so no index can be tried; the message says what to do."""


def advise(connection: Connection, sql: str, parameters: Any = None) -> Advice:
    """Find indexes that would make a statement cheaper.

    Args:
        connection: To PostgreSQL with the extension HypoPG; its transaction is rolled back.
        sql: One statement, as sent to the driver.
        parameters: Its values.

    Raises:
        NoHypoPGError: HypoPG is not in this database.
        ValueError: There are several statements, or planning might run user-defined code.
        sqlalchemy.exc.DBAPIError: The statement cannot be planned.
    """
    if ";" in normalise(sql).rstrip("; "):
        raise ValueError(_ONE_STATEMENT)
    trial = _HypotheticalIndexes(connection, sql, parameters)
    try:
        before, plan = trial.cost(())
        notes = rewrite_hints(sql, plan, parameters)
        if before < MIN_COST or has_deep_offset(sql, parameters):
            return Advice([], before, before, notes=notes)
        chosen, after = best_indexes(trial, candidates(plan, trial.distinct), before)
        if not chosen:
            return Advice([], before, before, notes=notes)
        size = trial.size(chosen)
    finally:
        trial.end()
    notes.append(
        "every write to the table must update the index; create it with CREATE INDEX CONCURRENTLY"
    )
    return Advice([index.sql for index in chosen], before, after, size, notes)


def advise_without_trial(connection: Connection, sql: str, parameters: Any = None) -> Advice:
    """The planner's cost and rewrite hints, without HypoPG: no index can be tried.

    Args:
        connection: To PostgreSQL; its transaction is rolled back.
        sql: One statement, as sent to the driver.
        parameters: Its values.

    Raises:
        ValueError: There are several statements, or planning might run user-defined code.
        sqlalchemy.exc.DBAPIError: The statement cannot be planned.
    """
    if ";" in normalise(sql).rstrip("; "):
        raise ValueError(_ONE_STATEMENT)
    try:
        connection.execute(_BEGIN)
        check_plannable(connection, sql)
        explained = connection.exec_driver_sql(_EXPLAIN + sql, parameters).scalar_one()
        plan: Node = explained[0]["Plan"]
    finally:
        connection.rollback()
    scans = [
        f"full table scan of {node.get('Relation Name')}"
        for _, node in walk(plan)
        if node["Node Type"] == "Seq Scan" and node.get("Total Cost", 0) >= MIN_COST
    ]
    hints = rewrite_hints(sql, plan, parameters)
    return Advice([], plan["Total Cost"], plan["Total Cost"], notes=[*scans, *hints])


class IndexTrial(Protocol):
    """Hypothetical indexes that a planner can be tested with."""

    def cost(self, indexes: tuple[IndexCandidate, ...]) -> tuple[float, Node]:
        """The statement's cost and plan with these indexes; no plan if one cannot be created."""

    def used(self, indexes: tuple[IndexCandidate, ...]) -> tuple[IndexCandidate, ...]:
        """The indexes that the planner uses when it has all of these."""

    def exists(self, index: IndexCandidate) -> bool:
        """Whether the database has an equivalent index already."""


def best_indexes(
    trial: IndexTrial, tried: Sequence[IndexCandidate], before: float
) -> tuple[tuple[IndexCandidate, ...], float]:
    """The cheapest index or indexes that the planner would use; of similar ones the narrowest."""
    tried = [index for index in tried if not trial.exists(index)]
    usable = [(trial.cost((index,))[0], index) for index in tried]
    usable = [(cost, index) for cost, index in usable if cost <= before * (1 - MIN_GAIN)]
    chosen: tuple[IndexCandidate, ...] = ()
    after = before
    if usable:
        least = min(cost for cost, _ in usable)
        near = [(cost, index) for cost, index in usable if cost <= least * 1.1 + 1]
        after, best = min(near, key=lambda each: (len(each[1].columns), each[0]))
        chosen = (best,)
    together = trial.used(tuple(tried)) if len(tried) > 1 else ()
    if len(together) > 1:
        cost = trial.cost(together)[0]
        for index in together:  # remove each that makes little difference
            rest = tuple(other for other in together if other != index)
            if rest and (without := trial.cost(rest)[0]) <= cost * 1.2 + 1:
                together, cost = rest, without
        if cost < after * (1 - MIN_GAIN):
            chosen, after = together, cost
    return chosen, after


class _HypotheticalIndexes:
    """A transaction with hypothetical indexes.

    On a busy machine each round trip waits to be scheduled, so there are as few as possible.
    """

    def __init__(self, connection: Connection, sql: str, parameters: Any) -> None:
        self._connection = connection
        self._sql = _EXPLAIN + sql
        self._parameters = parameters
        self._existing: dict[str, list[tuple[str, ...]]] = {}
        self._costs: dict[tuple[IndexCandidate, ...], tuple[float, Node]] = {}
        self._bytes: dict[IndexCandidate, int] = {}
        self._has_savepoint = False
        has_hypopg, available = connection.execute(_BEGIN).one()[-2:]
        if not has_hypopg:
            connection.rollback()
            missing = "" if available else "install HypoPG (Debian: postgresql-NN-hypopg), then "
            raise NoHypoPGError(
                "no index can be tried without the extension HypoPG: "
                f"{missing}run CREATE EXTENSION hypopg in this database as a superuser"
            )
        try:
            check_plannable(connection, sql)
        except ValueError:
            connection.rollback()
            raise

    def distinct(self, table: str) -> dict[str, float]:
        """Number of distinct values per column of a table."""
        counted = self._connection.execute(_DISTINCT, {"table": table})
        return {quote_identifier(column): number for column, number in counted}

    def end(self) -> None:
        """Remove the hypothetical indexes and roll back."""
        if self._has_savepoint:
            self._connection.exec_driver_sql("SELECT hypopg_reset()")
        self._connection.rollback()

    def cost(self, indexes: tuple[IndexCandidate, ...]) -> tuple[float, Node]:
        """The statement's cost with these indexes; infinite if one cannot be created."""
        if indexes not in self._costs:
            try:
                self._create(indexes)
                plan = self._plan()
            except DBAPIError:
                if not indexes:
                    raise
                self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT tried")
                self._costs[indexes] = (float("inf"), {})
            else:
                self._costs[indexes] = (plan["Total Cost"], plan)
        return self._costs[indexes]

    def used(self, indexes: tuple[IndexCandidate, ...]) -> tuple[IndexCandidate, ...]:
        """The indexes that the planner uses when it has all of these."""
        possible = tuple(index for index in indexes if self.cost((index,))[1])
        if not possible:
            return ()
        names = self._create(possible)
        taken = {node.get("Index Name") for _, node in walk(self._plan())}
        return tuple(index for name, index in names.items() if name in taken)

    def size(self, indexes: tuple[IndexCandidate, ...]) -> int:
        """Size in bytes of tested indexes, as estimated by HypoPG."""
        return sum(self._bytes[index] for index in indexes)

    def exists(self, index: IndexCandidate) -> bool:
        """Whether an index of the whole table begins with these columns."""
        if index.table not in self._existing:
            found = self._connection.execute(_EXISTING, {"table": index.table})
            self._existing[index.table] = [tuple(map(quote_identifier, keys)) for (keys,) in found]
        return any(
            key[: len(index.columns)] == index.columns for key in self._existing[index.table]
        )

    def _create(self, indexes: tuple[IndexCandidate, ...]) -> dict[str, IndexCandidate]:
        """Replace the hypothetical indexes; returns the new ones by HypoPG's names."""
        if not self._has_savepoint:
            if not indexes:
                return {}
            self._connection.exec_driver_sql("SAVEPOINT tried")
            self._has_savepoint = True
        names = {}
        made = self._connection.execute(_CREATE, {"all": [index.sql for index in indexes]})
        for number, name, size in made:
            names[str(name)] = indexes[number - 1]
            self._bytes[indexes[number - 1]] = size
        return names

    def _plan(self) -> Node:
        explained = self._connection.exec_driver_sql(self._sql, self._parameters).scalar_one()
        plan: Node = explained[0]["Plan"]
        return plan


_BEGIN = text(
    """
    SELECT set_config('transaction_read_only', 'on', true),
           set_config('statement_timeout', '2s', true),
           set_config('jit', 'off', true),
           EXISTS (SELECT FROM pg_extension WHERE extname = 'hypopg'),
           EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hypopg')
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
# Subqueries, so that the names are known before planning: a join would read all statistics.
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


def rewrite_hints(sql: str, plan: Node, parameters: Any = None) -> list[str]:
    """How to rewrite a statement that no index helps as it is."""
    conditions = [mask_literals(str(node.get("Filter", ""))) for _, node in walk(plan)]
    found = []
    if has_deep_offset(sql, parameters):
        found.append(DEEP_OFFSET_HINT)
    if any(_DATE.search(condition) for condition in conditions):
        found.append("a cast column cannot use an index: column >= :day AND column < :day + 1")
    if any(_CAST.search(condition) for condition in conditions):
        found.append("a cast column cannot use an index: compare it with a value of its own type")
    if any(re.search(r"~~\*? '[%_]", condition) for condition in conditions):
        found.append("LIKE '%...' reads every text: a trigram index (pg_trgm, GIN) can help")
    if any("SubPlan" in str(node.get("Subplan Name", "")) for _, node in walk(plan)):
        found.append(
            "a correlated subquery runs once per row: rewrite it as a join, or a LATERAL one"
        )
    return found


def has_deep_offset(sql: str, parameters: Any) -> bool:
    """Whether an OFFSET skips many rows; its number may be a bind."""
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
