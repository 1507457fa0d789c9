"""PostgreSQL index advisor: an advised index is built, and the real query then reads less."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests import servers
from vitals import cli
from vitals.cli import DATABASE_URL, main
from vitals.db.indexes.index_candidates import candidates
from vitals.db.indexes.postgresql_advisor import Advice, advise, rewrite_hints
from vitals.db.insight.explain import explain

pytestmark = pytest.mark.servers

ROWS = 60_000
SCHEMA = f"""
CREATE TABLE customers (id int PRIMARY KEY, email text NOT NULL, town text NOT NULL);
CREATE TABLE "order" (
    id int PRIMARY KEY, customer_id int NOT NULL, status text NOT NULL, code text NOT NULL,
    at timestamp NOT NULL, total int NOT NULL, gift int
);
INSERT INTO customers
    SELECT g, 'c' || g || '@example.com', 'town' || g % 50 FROM generate_series(1, {ROWS // 4}) g;
INSERT INTO "order"
    SELECT g, g * 7919 % {ROWS // 4} + 1,
           CASE WHEN g % 1000 = 0 THEN 'failed' WHEN g % 4 = 0 THEN 'sent' ELSE 'paid' END,
           md5(g::text), timestamp '2026-01-01' + g * interval '1 minute', g % 997,
           CASE WHEN g % 500 = 0 THEN g END
    FROM generate_series(1, {ROWS}) g;
CREATE INDEX ix_at_total ON "order" (at, total);
CREATE INDEX ix_code_of_few ON "order" (code) WHERE id < 100
"""  # noqa: S608

ADVISED = {
    'SELECT * FROM "order" WHERE customer_id = 77': ['"customer_id"'],
    "SELECT * FROM \"order\" WHERE status = 'failed' ORDER BY total LIMIT 5": ['"status"'],
    "SELECT * FROM \"order\" WHERE status = 'failed' AND total < 100": ['"status"'],
    'SELECT o.id FROM "order" o JOIN customers c ON c.id = o.customer_id '
    "WHERE c.email = 'c9@example.com'": ['"email"', '"customer_id"'],
    "SELECT * FROM \"order\" WHERE customer_id = 5 OR total = 996 AND status = 'failed'": [],
    "SELECT * FROM customers WHERE lower(email) = 'c9@example.com'": ["lower("],
    "SELECT * FROM \"order\" WHERE code LIKE 'abcd%'": ["text_pattern_ops"],
    'SELECT * FROM "order" ORDER BY total DESC, id DESC LIMIT 10': ['"total"'],
    'SELECT max(total) FROM "order" WHERE customer_id = 9': ['"customer_id"'],
    'SELECT max(total) FROM "order"': ['"total"'],
    "UPDATE \"order\" SET total = 1 WHERE code = 'x'": ['"code"'],
    'SELECT c.id, (SELECT count(*) FROM "order" o WHERE o.customer_id = c.id) FROM customers c '
    "WHERE c.town = 'town7'": ['"customer_id"'],
    'SELECT * FROM "order" WHERE customer_id IN (1, 2, 3)': ['"customer_id"'],
}
NO_ADVICE = [
    'SELECT * FROM "order" WHERE id = 5',
    'SELECT * FROM "order"',
    "SELECT * FROM \"order\" WHERE status = 'paid'",
    'SELECT count(*) FROM "order" WHERE total >= 0',
    "SELECT * FROM \"order\" WHERE at = '2026-01-02 03:04'",
    'SELECT * FROM "order" ORDER BY id OFFSET 50000 LIMIT 10',
    "SELECT * FROM \"order\" WHERE code LIKE '%abcd%'",
    "SELECT 1",
]


@pytest.fixture(scope="module")
def database(postgres_session: servers.Postgres) -> str:
    """A database with the tables and HypoPG."""
    postgres_session.start()
    url = postgres_session.database()
    name = url.rpartition("/")[2]
    postgres_session.sql("CREATE EXTENSION hypopg", database=name)

    def fill(connection: Connection) -> None:
        for statement in SCHEMA.split(";"):
            connection.execute(text(statement.replace(":", "\\:")))

    on(url, fill, keep=True)
    for table in ("customers", '"order"'):
        postgres_session.sql(f"VACUUM ANALYZE {table}", database=name)
    return url


def on(url: str, work: Any, *, keep: bool = False) -> Any:
    """Run a function on a connection; rolled back unless ``keep``."""

    async def run() -> Any:
        engine = create_async_engine(url)
        try:
            async with engine.connect() as connection:
                result = await connection.run_sync(work)
                await (connection.commit() if keep else connection.rollback())
                return result
        finally:
            await engine.dispose()

    return asyncio.run(run())


def pages(connection: Connection, sql: str) -> int:
    """Pages that the real execution reads."""
    explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}")
    plan = explained.scalar_one()[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.mark.parametrize("sql", ADVISED)
def test_advised_index_reduces_pages_read(database: str, sql: str) -> None:
    advice: Advice = on(database, lambda connection: advise(connection, sql))
    indexes = " ".join(advice.indexes)
    assert advice.indexes
    assert all(part in indexes for part in ADVISED[sql]), indexes
    assert advice.cost_after < advice.cost_before * 0.7
    assert advice.bytes > 0

    def build(connection: Connection) -> tuple[int, int]:
        before = pages(connection, sql)
        for statement in advice.indexes:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("ANALYZE")
        return before, pages(connection, sql)

    before, after = on(database, build)
    assert after < before / 2


@pytest.mark.parametrize("sql", NO_ADVICE)
def test_no_advice_where_no_index_helps(database: str, sql: str) -> None:
    assert on(database, lambda connection: advise(connection, sql)).indexes == []


@pytest.mark.parametrize(
    ("sql", "hint"),
    [
        ('SELECT * FROM "order" ORDER BY id OFFSET 50000 LIMIT 10', "keyset pagination"),
        ("SELECT * FROM \"order\" WHERE at::date = '2026-01-02'", "cast"),
        ("SELECT * FROM \"order\" WHERE code LIKE '%abcd%'", "pg_trgm"),
        ("SELECT * FROM \"order\" WHERE CAST(id AS varchar) = '77'", "of its own type"),
        ('SELECT * FROM "order" WHERE total::numeric = 7.5', "of its own type"),
    ],
)
def test_rewrite_hints(database: str, sql: str, hint: str) -> None:
    assert hint in " ".join(on(database, lambda connection: advise(connection, sql)).notes)


def test_parameters_affect_advice(database: str) -> None:
    sql = 'SELECT * FROM "order" WHERE status = $1 AND total < $2'
    rare = on(database, lambda connection: advise(connection, sql, ("failed", 100)))
    common = on(database, lambda connection: advise(connection, sql, ("paid", 5_000)))
    assert rare.indexes
    assert common.indexes == []


def test_deep_offset_in_a_bind_is_detected(database: str) -> None:
    sql = 'SELECT * FROM "order" ORDER BY total LIMIT $1 OFFSET $2'
    deep = on(database, lambda connection: advise(connection, sql, (10, 50_000)))
    assert deep.indexes == []
    assert "keyset pagination" in " ".join(deep.notes)
    first = on(database, lambda connection: advise(connection, sql, (10, 0)))
    assert first.indexes
    assert "keyset pagination" not in " ".join(first.notes)


@pytest.mark.parametrize(
    ("sql", "values", "deep"),
    [
        ("SELECT 1 OFFSET 1000", None, True),
        ("SELECT 1 OFFSET 999", None, False),
        ("SELECT 1 OFFSET $2", (1, 5_000), True),
        ("SELECT 1 OFFSET %(n)s", {"n": 5_000}, True),
        ("SELECT 1 OFFSET $3", (1,), False),
        ("SELECT 1 OFFSET $1", None, False),
    ],
)
def test_offset_as_literal_or_bind(sql: str, values: Any, *, deep: bool) -> None:
    hints = rewrite_hints(sql, {"Node Type": "Result"}, values)
    assert ("keyset pagination" in " ".join(hints)) is deep


def test_varchar_compared_as_text_gets_no_hint() -> None:
    node = {"Node Type": "Seq Scan", "Filter": "((category)::text = ($1)::text)"}
    assert rewrite_hints("SELECT 1", node) == []


def test_advisor_executes_and_leaves_nothing(database: str) -> None:
    def look(connection: Connection) -> list[Any]:
        advise(connection, "DELETE FROM \"order\" WHERE code = 'x'")
        with pytest.raises(ValueError, match="one statement"):
            advise(connection, "SELECT 1; DELETE FROM customers")
        connection.rollback()
        sizes = 'SELECT count(*) FROM "order" UNION ALL SELECT count(*) FROM customers'
        left = [row[0] for row in connection.exec_driver_sql(sizes)]
        hypothetical = connection.exec_driver_sql("SELECT count(*) FROM hypopg()").scalar()
        return [*left, hypothetical]

    assert on(database, look) == [ROWS, ROWS // 4, 0]


def test_error_without_hypopg(postgres: servers.Postgres) -> None:
    with pytest.raises(ValueError, match="CREATE EXTENSION"):
        on(postgres.database(), lambda connection: advise(connection, "SELECT 1"))


def test_command_says_what_it_lacks_without_hypopg(
    postgres: servers.Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.database()
    postgres.sql("CREATE TABLE t AS SELECT g::text FROM generate_series(1, 20000) g; "
                 "GRANT ALL ON t TO PUBLIC", database=url.rpartition("/")[2])  # fmt: skip
    assert cli.main(["advise", "--database", url, "SELECT * FROM t WHERE g LIKE '%9'"]) == 0
    said = capsys.readouterr().out
    assert "full table scan of t" in said
    assert "trigram" in said
    assert "CREATE EXTENSION hypopg" in said


def test_explain_includes_advice(database: str) -> None:
    sql = 'SELECT * FROM "order" WHERE customer_id = $1'
    plan = on(database, lambda connection: explain(connection, sql, (424242,)))
    (note,) = (note for note in plan.notes if "CREATE INDEX ON" in note)
    assert 'CREATE INDEX ON "public"."order" ("customer_id")' in note
    assert "424242" not in str(plan)


def test_cli_advise(
    database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, database)
    assert main(["advise", 'SELECT * FROM "order" WHERE customer_id = 7']) == 0
    assert 'CREATE INDEX ON "public"."order" ("customer_id");' in capsys.readouterr().out
    assert main(["advise", "SELECT 1"]) == 0
    assert "no index" in capsys.readouterr().out


def test_unusual_names_and_conditions() -> None:
    node = {
        "Node Type": "Seq Scan",
        "Relation Name": 'odd"one',
        "Schema": "public",
        "Alias": "o",
        "Filter": "((o.\"A b\" = 1) AND (((weird(('x;--')::text, o.z)) <> 7)) AND NOT o.flag)",
    }
    found = candidates(node, lambda _table: {})
    assert {index.table for index in found} == {'"public"."odd""one"'}
    assert ('"A b"',) in {index.columns for index in found}
    assert rewrite_hints("SELECT 1", {"Node Type": "Result"}) == []


def test_sqlite_is_rejected() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(Exception, match="set_config"):
        advise(connection, "SELECT 1")
    engine.dispose()


def test_conditions_inside_literals_are_ignored() -> None:
    node = {
        "Node Type": "Seq Scan",
        "Relation Name": "t",
        "Schema": "public",
        "Alias": "t",
        "Filter": "((x = 'it''s (y = 1) AND z > 2'::text) AND (name ~~ 'Oak%'::text))",
    }
    found = {index.columns for index in candidates(node, lambda _table: {})}
    assert found == {('"x"',), ('"name" text_pattern_ops',)}


LONG = """
from vitals.db.indexes.postgresql_advisor import rewrite_hints
from vitals.db.indexes.index_candidates import candidates

for part in ("((", "a::b ", "aa", "a.b) ", '""'):
    shape = part * 2_500
    for condition in (shape, f"(x = '{shape * 100}'::text)", shape + "a" + ")" * 5_000):
        node = {"Node Type": "Seq Scan", "Relation Name": "t", "Schema": "s", "Alias": "t",
                "Filter": condition}
        candidates(node, lambda _table: {})
        rewrite_hints("SELECT", node)
"""


def test_long_conditions_take_linear_time() -> None:
    # It may take a hundred times as long as it does; read naively, it would take hours.
    subprocess.run([sys.executable, "-c", LONG], check=True, timeout=60)
