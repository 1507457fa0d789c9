"""Plannability check: planning runs no user-defined code, which could write elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests import servers
from vitals.db.indexes.postgresql_advisor import advise
from vitals.db.insight.explain import explain
from vitals.db.statements.plannable import NotPlannableError

pytestmark = pytest.mark.servers

BODY = "$$ BEGIN PERFORM pg_advisory_lock(7); RETURN 1; END $$"
"""An advisory lock is an effect that neither READ ONLY nor a rollback stops."""
SHOP = (
    "CREATE TABLE t (id integer, x text)",
    "CREATE TABLE other (id integer)",
    "INSERT INTO t SELECT n, 'x' FROM generate_series(1, 200) n",
    f"CREATE FUNCTION fixed(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS {BODY}",
    f"CREATE FUNCTION steady(integer) RETURNS integer STABLE LANGUAGE plpgsql AS {BODY}",
    f"CREATE FUNCTION wild(integer) RETURNS integer VOLATILE LANGUAGE plpgsql AS {BODY}",
    f'CREATE FUNCTION "a ""b"(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS {BODY}',
    f"CREATE FUNCTION {'n' * 63}() RETURNS integer IMMUTABLE LANGUAGE plpgsql AS {BODY}",
    "CREATE FUNCTION inlined() RETURNS integer VOLATILE LANGUAGE sql AS 'SELECT fixed(1)'",
)
HELD = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")

NAMED = [
    "SELECT fixed(1)",
    "SELECT FIXED(1)",
    'SELECT "fixed"(1)',
    "SELECT /* hidden */ public.fixed (1)",
    """SELECT '"' || fixed(1) || '"'""",
    "SELECT 'a' AS \"b\", fixed(1)",
    r"""SELECT U&"\0066ixed"(1)""",
    'SELECT "a ""b"(1)',
    f"SELECT {'n' * 70}()",
    "SELECT id FROM t WHERE id = steady(1)",
    "SELECT id FROM t LIMIT fixed(1)",
    "INSERT INTO t SELECT fixed(1), 'x'",
    "UPDATE t SET x = 'y' WHERE id = steady(1)",
    "SELECT inlined()",
]
SEEN = "CREATE VIEW seen AS SELECT id FROM t WHERE id = steady(1)"
LOCKING = "FUNCTION = pg_try_advisory_lock, LEFTARG = integer, RIGHTARG = integer"
TURNED = "FUNCTION turned(kind) RETURNS integer IMMUTABLE LANGUAGE plpgsql"
MADE = [
    ([SEEN], "SELECT id FROM seen"),
    ([SEEN, "CREATE VIEW further AS SELECT * FROM seen"], 'SELECT id FROM "further"'),
    (
        [
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE t FORCE ROW LEVEL SECURITY",
            "CREATE POLICY p ON t USING (id = steady(1))",
        ],
        "SELECT id FROM t",
    ),
    (["CREATE INDEX i ON t (id) WHERE fixed(1) = 1"], "SELECT id FROM t WHERE id = 1"),
    (["ALTER TABLE t ALTER id SET DEFAULT fixed(1)"], "INSERT INTO t (x) VALUES ('y')"),
    (["ALTER TABLE t ADD CHECK (id <> fixed(1)) NOT VALID"], "SELECT id FROM t"),
    (
        ["CREATE TABLE child (CHECK (id > fixed(1))) INHERITS (other)"],
        "SELECT id FROM other WHERE id < 0",
    ),
    (
        ["CREATE OPERATOR === (FUNCTION = same, LEFTARG = integer, RIGHTARG = integer)"],
        "SELECT 1 === 1",
    ),
    (
        [f"CREATE OPERATOR ### ({LOCKING}, RESTRICT = eqsel)"],
        "SELECT id FROM t WHERE id ### 7",
    ),
    (
        [
            "CREATE TYPE kind AS ENUM ('a')",
            f"CREATE {TURNED} AS {BODY}",
            "CREATE CAST (kind AS integer) WITH FUNCTION turned(kind)",
        ],
        "SELECT 'a'::kind::integer",
    ),
    (["CREATE DOMAIN checked AS integer CHECK (wild(VALUE) = 1)"], "SELECT $1::checked"),
    (
        ["CREATE DOMAIN checked AS integer CHECK (pg_try_advisory_lock(VALUE))"],
        "SELECT $1::checked",
    ),
]
"""Implicit user code: statements that create it, and one that reaches it."""

PLANNED = [
    "SELECT id FROM t WHERE id = 1 AND lower(x) = 'a'",
    "SELECT wild(1) FROM t",
    "INSERT INTO t VALUES (1, 'x')",
    "SELECT * FROM t WHERE id IN (SELECT id FROM other)",
]


@asynccontextmanager
async def shop(postgres: servers.Postgres) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(postgres.database())
    async with engine.begin() as connection:
        for statement in SHOP:
            await connection.exec_driver_sql(statement)
        await connection.exec_driver_sql(
            f"CREATE FUNCTION same(integer, integer) RETURNS boolean IMMUTABLE LANGUAGE plpgsql"
            f" AS {BODY.replace('1;', 'true;')}"
        )
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("ANALYZE t")
    try:
        yield engine
    finally:
        await engine.dispose()


async def planned(engine: AsyncEngine, sql: str) -> tuple[bool, bool]:
    """Whether a statement was planned, and whether that had a side effect."""
    async with engine.connect() as connection:
        parameters = (7,) if "$1" in sql else ()
        try:
            await connection.run_sync(lambda sync: explain(sync, sql, parameters))
        except NotPlannableError:
            done = False
        else:
            done = True
        return done, bool(await connection.scalar(HELD))


def test_statements_that_name_user_code_are_not_planned(postgres: servers.Postgres) -> None:
    async def run() -> None:
        async with shop(postgres) as engine:
            for sql in PLANNED:
                assert await planned(engine, sql) == (True, False), sql
            for sql in NAMED:
                assert await planned(engine, sql) == (False, False), sql

    asyncio.run(run())


@pytest.mark.parametrize(("made", "sql"), MADE)
def test_statements_that_reach_implicit_user_code_are_not_planned(
    postgres: servers.Postgres, made: list[str], sql: str
) -> None:
    async def run() -> None:
        async with shop(postgres) as engine:
            async with engine.begin() as connection:
                for statement in made:
                    await connection.exec_driver_sql(statement)
            await engine.dispose()  # making it may have had the effect already
            assert await planned(engine, sql) == (False, False)

    asyncio.run(run())


def test_expression_index_over_a_column_allows_planning(postgres: servers.Postgres) -> None:
    async def run() -> None:
        async with shop(postgres) as engine:
            async with engine.begin() as connection:
                await connection.exec_driver_sql("CREATE TABLE few (id integer)")
                await connection.exec_driver_sql("CREATE INDEX i ON few (fixed(id)) WHERE id > 1")
            assert await planned(engine, "SELECT id FROM few WHERE id = 1") == (True, False)
            assert await planned(engine, "SELECT id FROM few WHERE fixed(id) = 1") == (False, False)

    asyncio.run(run())


def test_advisor_does_not_plan_user_code(postgres: servers.Postgres) -> None:
    async def run() -> None:
        async with shop(postgres) as engine:
            postgres.sql("CREATE EXTENSION hypopg", database=str(engine.url.database))
            async with engine.connect() as connection:
                with pytest.raises(NotPlannableError, match="may run steady"):
                    await connection.run_sync(
                        lambda sync: advise(sync, "SELECT id FROM t WHERE id = steady(1)")
                    )
                assert not await connection.scalar(HELD)

    asyncio.run(run())
