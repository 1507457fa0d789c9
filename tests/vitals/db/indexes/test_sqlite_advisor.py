"""SQLite index advisor: an advised index is built, and the real planner then uses it."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event

from vitals.cli import main
from vitals.db.indexes import schema_clone
from vitals.db.indexes.postgresql_advisor import Advice
from vitals.db.indexes.sqlite_advisor import advise
from vitals.db.insight.explain import explain

ROWS = 12_000
SCHEMA = f"""
CREATE TABLE customers (id INTEGER PRIMARY KEY, email TEXT NOT NULL, town TEXT, name TEXT NOT NULL);
CREATE TABLE "order" (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, status TEXT NOT NULL, code TEXT NOT NULL,
    at TEXT NOT NULL, total INTEGER NOT NULL, gift INTEGER, "Odd name" TEXT
);
CREATE TABLE towns (name TEXT, land TEXT);
CREATE VIEW dear AS SELECT * FROM "order" WHERE total > 900;
INSERT INTO towns VALUES ('here', 'x'), ('there', 'y');
WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {ROWS // 4})
INSERT INTO customers SELECT n, 'c' || n || '@example.com', 'town' || n % 50, 'n' || n FROM g;
WITH RECURSIVE g(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < {ROWS})
INSERT INTO "order"
    SELECT n, n * 7919 % {ROWS // 4} + 1,
           CASE WHEN n % 1000 = 0 THEN 'failed' WHEN n % 4 = 0 THEN 'sent' ELSE 'paid' END,
           'planted' || n, datetime('2026-01-01', n || ' minutes'), n % 997, NULL, 'o' || n FROM g;
CREATE INDEX ix_at_total ON "order" (at, total);
CREATE INDEX ix_code_of_few ON "order" (code) WHERE id < 100;
CREATE INDEX ix_name ON customers (lower(name));
"""  # noqa: S608

ADVISED = {
    'SELECT * FROM "order" WHERE customer_id = 77': ['("customer_id")'],
    "SELECT * FROM \"order\" o WHERE o.status = 'failed' ORDER BY o.total DESC LIMIT 5": [
        '("status", "total")'
    ],
    "SELECT * FROM \"order\" WHERE status = 'failed' AND total < 100": ['("status", "total")'],
    'SELECT o.id FROM "order" AS o JOIN customers c ON c.id = o.customer_id '
    "WHERE email = 'c9@example.com'": ['"customers" ("email")', '"order" ("customer_id")'],
    "SELECT * FROM \"order\" WHERE customer_id = 5 OR code = 'planted7'": [
        '("customer_id")',
        '("code")',
    ],
    "SELECT * FROM customers WHERE lower(email) = 'c9@example.com'": ['((lower("email")))'],
    "SELECT * FROM \"order\" WHERE code LIKE 'planted77%'": ['("code" COLLATE NOCASE)'],
    'SELECT * FROM "order" ORDER BY total DESC, customer_id LIMIT 10': [
        '("total" DESC, "customer_id")'
    ],
    'SELECT status, count(*) FROM "order" GROUP BY status': ['("status")'],
    'SELECT max(total) FROM "order"': ['("total")'],
    "UPDATE \"order\" SET total = 1 WHERE code = 'x'": ['("code")'],
    "DELETE FROM \"order\" WHERE [Odd name] = 'x'": ['("Odd name")'],
    'SELECT c.id, (SELECT count(*) FROM "order" o WHERE o.customer_id = c.id) FROM customers c '
    "WHERE c.town = 'town7'": ['"order" ("customer_id")', '"customers" ("town")'],
    'SELECT * FROM "order" WHERE customer_id IN (1, 2, 3)': ['("customer_id")'],
    "SELECT * FROM \"order\" WHERE code = 'x'": ['("code")'],
    'WITH few AS (SELECT * FROM "order" WHERE total BETWEEN 3 AND 4) SELECT * FROM few': [
        '("total")'
    ],
}
"""Advice per statement: a partial index does not replace a full one."""
NO_ADVICE = [
    'SELECT * FROM "order" WHERE id = 5',
    'SELECT * FROM "order"',
    "SELECT * FROM \"order\" WHERE at = '2026-01-02'",
    "SELECT * FROM \"order\" WHERE at = '2026-01-02' AND total > 5",
    "SELECT * FROM \"order\" WHERE code = 'x' AND id < 100",
    "SELECT * FROM customers WHERE lower(name) = 'n5'",
    "SELECT * FROM \"order\" WHERE code LIKE '%abcd%'",
    'SELECT * FROM "order" ORDER BY total',
    'SELECT DISTINCT status FROM "order"',
    'SELECT * FROM "order" ORDER BY id LIMIT 10 OFFSET 5000',
    "SELECT 1",
]
UNPLANNED = [
    "SELEC * FROM customers",
    "",
    "SELECT * FROM nowhere",
    "SELECT * FROM customers WHERE email = 'open",
    "SELECT * FROM customers; DELETE FROM customers",
    "SELECT own_function(email) FROM customers",
    "SELECT \0 FROM customers",
    "SELECT * FROM customers WHERE id = ?",
    "SELECT (" * 2_000,
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop's database; without ANALYZE."""
    file = tmp_path_factory.mktemp("shop") / "shop.db"
    connection = sqlite3.connect(file)
    connection.executescript(SCHEMA)
    connection.close()
    return file


@pytest.fixture
def shop(filled: Path) -> Iterator[Connection]:
    """A connection to a copy of it, which a test may change."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection, sqlite3.connect(filled) as original:
        original.backup(connection.connection.driver_connection)  # type: ignore[arg-type]
        yield connection
    original.close()
    engine.dispose()


def real_plan(shop: Connection, sql: str) -> str:
    return "\n".join(row[3] for row in shop.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}"))


def steps(shop: Connection, sql: str) -> int:
    """Instructions of the real execution, in hundreds."""
    done: list[None] = []
    raw: Any = shop.connection.driver_connection
    raw.set_progress_handler(lambda: done.append(None), 100)
    result = shop.exec_driver_sql(sql)
    if result.returns_rows:
        result.all()
    raw.set_progress_handler(None, 0)
    return len(done)


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("sql", ADVISED)
def test_real_planner_uses_advised_index(shop: Connection, sql: str, *, analyzed: bool) -> None:
    if analyzed:
        shop.exec_driver_sql("ANALYZE")
    before, worked = real_plan(shop, sql), steps(shop, sql)
    advice = advise(shop, sql)
    assert len(advice.indexes) == len(ADVISED[sql]), advice
    assert all(part in " ".join(advice.indexes) for part in ADVISED[sql]), advice
    assert advice.cost_after <= advice.cost_before * 0.7
    assert 0 < advice.bytes < ROWS * 100
    assert "every write" in " ".join(advice.notes)
    for statement in advice.indexes:
        shop.exec_driver_sql(statement)
    after = real_plan(shop, sql)
    for statement in advice.indexes:
        assert statement.split('"')[1] in after
    if "max(" not in sql:  # whose plan says SEARCH, whatever it does
        assert any(before.count(word) > after.count(word) for word in ("SCAN ", "TEMP B-TREE"))
    assert steps(shop, sql) < worked
    assert advise(shop, sql).indexes == [], "an existing index is not advised again"


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("sql", NO_ADVICE)
def test_no_advice_where_no_index_helps(shop: Connection, sql: str, *, analyzed: bool) -> None:
    if analyzed:
        shop.exec_driver_sql("ANALYZE")
    assert advise(shop, sql).indexes == []


@pytest.mark.parametrize(
    ("existing", "sql"),
    [
        ('"order" (status)', "SELECT * FROM \"order\" WHERE status = 'paid'"),
        ('"order" (status, code)', "SELECT * FROM \"order\" WHERE status = 'paid'"),
        ("customers (lower(town))", "SELECT * FROM customers WHERE lower(town) = 'x'"),
    ],
)
def test_existing_index_is_not_advised(shop: Connection, existing: str, sql: str) -> None:
    shop.exec_driver_sql("UPDATE customers SET town = 'same'")
    shop.exec_driver_sql(f"CREATE INDEX ix ON {existing}")
    shop.exec_driver_sql("ANALYZE")
    assert advise(shop, sql).indexes == []


@pytest.mark.parametrize("sql", UNPLANNED)
def test_unplannable_statement_gets_no_advice(shop: Connection, sql: str) -> None:
    advice = advise(shop, sql)
    assert advice.indexes == []
    assert "cannot plan" in " ".join(advice.notes)
    assert "open" not in " ".join(advice.notes)


def test_small_table_gets_a_note(shop: Connection) -> None:
    advice = advise(shop, "SELECT * FROM towns WHERE land = 'x'")
    assert advice == Advice([], 2, 2, notes=advice.notes)
    assert advice.notes == ["towns has about 2 rows: a full table scan costs less than an index"]


def test_redundant_index_is_named(shop: Connection) -> None:
    shop.exec_driver_sql('CREATE INDEX ix_status ON "order" (status)')
    shop.exec_driver_sql("ANALYZE")
    sql = "SELECT * FROM \"order\" WHERE status = 'paid' AND customer_id = 7"
    advice = advise(shop, sql)
    assert advice.indexes
    advice = advise(shop, "SELECT * FROM \"order\" WHERE status = 'paid' ORDER BY total LIMIT 3")
    assert '("status", "total")' in advice.indexes[0]
    assert "ix_status is then redundant" in advice.notes[0]


def test_advised_index_name_is_unused(shop: Connection) -> None:
    shop.exec_driver_sql("CREATE TABLE ix_order_customer_id (x)")
    (index,) = advise(shop, 'SELECT * FROM "order" WHERE customer_id = 7').indexes
    assert index == 'CREATE INDEX "ix_order_customer_id_2" ON "order" ("customer_id")'


def test_advisor_neither_reads_nor_changes_rows(shop: Connection) -> None:
    sent: list[str] = []
    event.listen(shop, "before_cursor_execute", lambda *call: sent.append(call[2]))
    before = shop.connection.driver_connection.total_changes  # type: ignore[union-attr]
    advise(shop, "DELETE FROM \"order\" WHERE code = 'x'")
    assert shop.connection.driver_connection.total_changes == before  # type: ignore[union-attr]
    counted, last, first = (sql for sql in sent if '"order"' in sql)
    assert counted.startswith("SELECT count(*)")
    assert counted.endswith(f"LIMIT {schema_clone.MAX_COUNTED_ROWS})")
    assert (last, first) == (
        'SELECT max(rowid) FROM "order"',
        'SELECT min(rowid) FROM "order"',
    )
    assert not any("DELETE" in sql for sql in sent)


def test_clone_is_empty(shop: Connection) -> None:
    sql = 'SELECT * FROM "order"'
    schema = schema_clone.read(shop, sql)
    assert schema.rows == {"order": ROWS}
    assert "planted" not in str(schema)
    assert schema.statistics == []
    shop.exec_driver_sql("ANALYZE")
    assert schema_clone.read(shop, sql).rows == {"order": ROWS}, (
        "the statistics of a partial index are ignored"
    )


@pytest.mark.parametrize("order", [("status", "code"), ("code", "status")])
def test_clone_uses_the_statistics(shop: Connection, order: tuple[str, str]) -> None:
    for column in order:
        shop.exec_driver_sql(f'CREATE INDEX ix_{column} ON "order" ({column})')
    shop.exec_driver_sql("ANALYZE")
    sql = "SELECT * FROM \"order\" WHERE status = 'paid' AND code = 'x'"
    with schema_clone.SchemaClone(schema_clone.read(shop, sql)) as empty:
        (step,) = empty.plan(sql, None)
    assert step[2] == real_plan(shop, sql)
    assert "ix_code" in step[2]


def test_objects_that_cannot_be_cloned_are_left_out(shop: Connection) -> None:
    shop.exec_driver_sql("CREATE VIRTUAL TABLE words USING fts5 (word)")
    raw: Any = shop.connection.driver_connection
    raw.create_function("own", 1, lambda value: value, deterministic=True)
    shop.exec_driver_sql("CREATE INDEX ix_own ON customers (own(town))")
    assert advise(shop, "SELECT * FROM words WHERE word MATCH 'x'").indexes == []
    assert advise(shop, "SELECT * FROM customers WHERE own(town) = 'x'").indexes == []
    assert advise(shop, "SELECT * FROM customers WHERE town = 'x'").indexes


def test_too_large_schema_is_rejected(shop: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_clone, "MAX_OBJECTS", 3)
    with pytest.raises(ValueError, match="more than 3"):
        advise(shop, "SELECT 1")
    assert explain(shop, "SELECT * FROM customers WHERE town = ?", ("x",)).lines


def test_explain_with_parameters_includes_advice(shop: Connection) -> None:
    plan = explain(shop, 'SELECT * FROM "order" WHERE customer_id = ?', (424242,))
    (note,) = (note for note in plan.notes if "CREATE INDEX" in note)
    assert 'CREATE INDEX "ix_order_customer_id" ON "order" ("customer_id")' in note
    assert "424242" not in str(plan)
    deep = explain(shop, 'SELECT * FROM "order" ORDER BY total LIMIT ? OFFSET ?', (10, 5_000))
    assert "keyset pagination" in " ".join(deep.notes)
    assert "CREATE INDEX" not in " ".join(deep.notes)


def test_cli_advise(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = ["--database", f"sqlite+aiosqlite:///{filled}"]
    assert main(["advise", *database, 'SELECT * FROM "order" WHERE customer_id = 7']) == 0
    assert 'CREATE INDEX "ix_order_customer_id" ON "order"' in capsys.readouterr().out
    assert main(["advise", *database, "SELEC"]) == 0
    assert "cannot plan" in capsys.readouterr().out
