"""Side-effect check: only statements without side effects are executed for their plan."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests import servers
from vitals.db.insight.explain import explain
from vitals.db.statements.plannable import NotPlannableError
from vitals.db.statements.side_effect_check import PURE_FUNCTIONS, parse_words

HELD = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
"""An advisory lock is an effect that neither READ ONLY nor a rollback stops."""

LOCKING = "FUNCTION = pg_try_advisory_lock, LEFTARG = integer, RIGHTARG = integer"

SHOP = (
    "CREATE TABLE t (id integer PRIMARY KEY, x varchar, at timestamptz)",
    "INSERT INTO t SELECT n, 'x' || n, now() FROM generate_series(1, 100) n",
    "CREATE TABLE guarded (id integer)",
    "CREATE SEQUENCE numbers",
    """
    CREATE FUNCTION effect() RETURNS integer VOLATILE LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_lock(7); RETURN 1; END $$
    """,
    """
    CREATE FUNCTION pretended(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_lock(7); RETURN 1; END $$
    """,
    "CREATE FUNCTION of_row(t) RETURNS integer LANGUAGE sql AS 'SELECT effect()'",
    "CREATE FUNCTION upper(varchar) RETURNS integer LANGUAGE sql AS 'SELECT effect()'",
    "CREATE VIEW seen AS SELECT id, effect() AS e FROM t",
    "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
    "CREATE TABLE parted (id integer) PARTITION BY LIST (id)",
)
ELSEWHERE = """
    CREATE EXTENSION file_fdw;
    CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
    CREATE FOREIGN TABLE far (id integer) SERVER files OPTIONS (filename '/dev/null');
    ALTER TABLE parted ATTACH PARTITION far FOR VALUES IN (1);
    GRANT SELECT ON far TO PUBLIC;
"""
"""A foreign table as a partition: the effects of reading it depend on its wrapper."""
SIDE_EFFECT_FREE: list[tuple[str, tuple[Any, ...]]] = [
    ("SELECT * FROM t WHERE x LIKE 'x1%' AND id = $1::INTEGER", (7,)),
    ("SELECT lower(a.x), count(*) AS n FROM t AS a JOIN t b ON (a.id = b.id) GROUP BY a.x", ()),
    ('WITH few AS (SELECT "t"."id" FROM t LIMIT $1) SELECT max(id) FROM few', (3,)),
    ("SELECT id::text, at AT TIME ZONE 'UTC' FROM t WHERE id IN (1, 2.0) ORDER BY at DESC", ()),
    ("SELECT row_number() OVER (ORDER BY id), coalesce(x, '') FROM t OFFSET 2", ()),
]
SIDE_EFFECTS: list[tuple[str, tuple[Any, ...]]] = [
    ("SELECT effect() FROM t", ()),
    ("SELECT public.effect() FROM t", ()),
    ('SELECT "effect"() FROM t', ()),
    ("SELECT pretended(id) FROM t", ()),
    ("SELECT t.of_row FROM t", ()),
    ("SELECT upper(x) FROM t", ()),
    ("SELECT * FROM seen", ()),
    ('SELECT * FROM "seen"', ()),
    ("SELECT pg_advisory_lock(7) FROM t", ()),
    ("SELECT pg_catalog.pg_advisory_lock(id) FROM t WHERE id = $1", (7,)),
    ("WITH a AS (SELECT effect() AS e) SELECT * FROM a", ()),
    ("SELECT nextval('numbers')", ()),
    ("SELECT random() FROM t", ()),
    ("SELECT * FROM guarded", ()),
    ("SELECT * FROM parted", ()),
]
"""Each can be planned, but has a side effect or names something doubtful."""

REFUSED: list[tuple[str, Any]] = [
    ("UPDATE t SET x = 'y'", ()),
    ("INSERT INTO t (id) VALUES (1)", ()),
    ("WITH gone AS (DELETE FROM t RETURNING id) SELECT * FROM gone", ()),
    ("SELECT * INTO copied FROM t", ()),
    ("SELECT * FROM t FOR UPDATE", ()),
    ("SELECT * FROM t FOR NO KEY UPDATE", ()),
    ("SELECT * FROM t FOR SHARE", ()),
    ("SELECT * FROM t TABLESAMPLE system (10)", ()),
    ("EXPLAIN SELECT 1", ()),
    ("VALUES (1)", ()),
    ("(SELECT 1)", ()),
    ("SELECT 1; SELECT 2", ()),
    ("SELECT 1;", ()),
    ("SELECT 1 -- and more", ()),
    ("SELECT 1 /* and more */", ()),
    (r"SELECT 'a\' || effect() || '", ()),
    ("SELECT $$a$$", ()),
    ("SELECT $tag$a$tag$", ()),
    ("SELECT U&\"ef!0066ect\" UESCAPE '!' FROM t", ()),
    ('SELECT "a""b" FROM t', ()),
    ("SELECT café FROM t", ()),
    ("SELECT " + "a" * 64 + " FROM t", ()),
    ('SELECT "' + "é" * 32 + '" FROM t', ()),
    ("SELECT 'open", ()),
    ("SELECT /**/ effect()", ()),
    ("SELECT effect\n()", ()),
    ("SELECT a.lower(x) FROM t", ()),
    ("SELECT id FROM t WHERE id = $1", ()),
    ("SELECT id FROM t WHERE id = $2", (1,)),
    ("SELECT id FROM t WHERE id = $0", (1,)),
    ("SELECT id FROM t WHERE id = $1", None),
    ("SELECT id FROM t WHERE id = %(id)s", {"x": 1}),
    ("SELECT id FROM t WHERE id = %s", ()),
    ("SELECT \0", ()),
    ("", ()),
]


@pytest.mark.parametrize(("sql", "parameters"), REFUSED)
def test_doubtful_text_is_rejected(sql: str, parameters: Any) -> None:
    assert parse_words(sql, parameters) is None


def test_parse_words() -> None:
    sql = "SELECT a.B, count(*) FROM \"T\" AS a WHERE c = %(c)s AND d <> 'e f'"
    expected = ["T", "a", "and", "as", "b", "c", "count", "d", "from", "select", "where"]
    assert sorted(parse_words(sql, {"c": 1}) or ()) == expected


async def analysed(
    connection: AsyncConnection, sql: str, parameters: tuple[Any, ...]
) -> tuple[bool, bool]:
    """Whether it was executed, judging by its plan, and whether it had a side effect."""

    def is_executed(sync: Connection) -> bool:
        try:
            plan = explain(sync, sql, parameters, analyze=True)
        except NotPlannableError:
            return False
        return any("; actual" in line for line in plan.lines)

    executed = await connection.run_sync(is_executed)
    held = (await connection.execute(HELD)).scalar_one()
    await connection.rollback()
    return executed, bool(held)


@pytest.mark.servers
def test_only_side_effect_free_statements_are_executed(postgres: servers.Postgres) -> None:
    async def run() -> None:
        engine = create_async_engine(postgres.database())
        async with engine.begin() as connection:
            for statement in SHOP:
                await connection.execute(text(statement))
        postgres.sql(ELSEWHERE, database=str(engine.url.database))
        async with engine.connect() as connection:
            for sql, parameters in SIDE_EFFECT_FREE:
                assert await analysed(connection, sql, parameters) == (True, False), sql
            for sql, parameters in SIDE_EFFECTS:
                assert await analysed(connection, sql, parameters) == (False, False), sql
        await engine.dispose()

    asyncio.run(run())


@pytest.mark.servers
@pytest.mark.parametrize(
    ("made", "sql"),
    [
        (
            "CREATE OPERATOR === (FUNCTION = compared, LEFTARG = integer, RIGHTARG = integer)",
            "SELECT id === 1 FROM t",
        ),
        (
            f"CREATE OPERATOR ### ({LOCKING})",
            "SELECT id ### 7 FROM t",
        ),
        (
            "CREATE OPERATOR @%@ (FUNCTION = pg_try_advisory_lock, RIGHTARG = bigint)",
            "SELECT @%@ 7::bigint FROM t",
        ),
        (
            f"CREATE OPERATOR ~~ ({LOCKING})",
            "SELECT id LIKE 7 FROM t",
        ),
        ("CREATE CAST (kind AS integer) WITH FUNCTION converted(kind)", "SELECT k::integer FROM t"),
        (
            "CREATE DOMAIN checked AS integer CHECK (compared(VALUE, 1))",
            "SELECT id::checked FROM t",
        ),
    ],
)
def test_nothing_is_executed_with_implicit_user_code(
    postgres: servers.Postgres, made: str, sql: str
) -> None:
    async def run() -> None:
        engine = create_async_engine(postgres.database())
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TYPE kind AS ENUM ('a')"))
            await connection.execute(text("CREATE TABLE t AS SELECT 1 AS id, 'a'::kind AS k"))
            body = "$$ BEGIN PERFORM pg_advisory_lock(7); RETURN 1; END $$"
            for head in (
                "compared(integer, integer) RETURNS boolean",
                "converted(kind) RETURNS integer",
            ):
                await connection.execute(text(f"CREATE FUNCTION {head} LANGUAGE plpgsql AS {body}"))
        async with engine.connect() as connection:
            assert await analysed(connection, "SELECT id FROM t", ()) == (True, False)
            await connection.execute(text(made))
            await connection.commit()
            assert await analysed(connection, sql, ()) == (False, False)
            await connection.exec_driver_sql(sql)
            held = (await connection.execute(HELD)).scalar_one()
            assert held, "the effect can be seen where it happens"
        await engine.dispose()

    asyncio.run(run())


@pytest.mark.servers
def test_autocommit_connection_executes_nothing(postgres: servers.Postgres) -> None:
    async def run() -> tuple[bool, bool]:
        limit = {"server_settings": {"statement_timeout": "5000"}}
        engine = create_async_engine(postgres.url, isolation_level="AUTOCOMMIT", connect_args=limit)
        try:
            async with engine.connect() as connection:
                return await analysed(connection, "SELECT 1", ())
        finally:
            await engine.dispose()

    with pytest.raises(ValueError, match="read-only"):
        asyncio.run(run())


@pytest.mark.servers
def test_plan_is_kept_after_statement_timeout(postgres: servers.Postgres) -> None:
    sql = "SELECT count(*) FROM pg_class a, pg_class b, pg_class c, pg_class d"

    async def run() -> tuple[bool, bool]:
        engine = create_async_engine(postgres.url)
        async with engine.connect() as connection:
            found = await analysed(connection, sql, ())
        await engine.dispose()
        return found

    assert asyncio.run(run()) == (False, False)


@pytest.mark.servers
def test_pure_functions_are_not_volatile(postgres: servers.Postgres) -> None:
    volatile = postgres.sql("SELECT proname FROM pg_proc WHERE provolatile = 'v'").split()
    assert "nextval" in volatile
    assert not PURE_FUNCTIONS & set(volatile)
    unnamed = postgres.sql(
        "SELECT count(*) FROM pg_operator o JOIN pg_proc p ON p.oid = oprcode "
        "WHERE provolatile = 'v' AND p.oid < 16384"
    )
    assert unnamed == "0"
