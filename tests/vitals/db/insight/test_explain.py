"""Plans: explained without execution, stored without values, no effect on the host."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from stack.servers.postgres import ROLE
from tests import servers
from tests.vitals.journal import kit_events
from vitals import Objective, instrument
from vitals.db.insight import explain, explain_worker
from vitals.db.probe import QueryProbe
from vitals.db.statements.fingerprint import Fingerprints
from vitals.db.statements.plans import Plan, parse_postgresql, parse_sqlite
from vitals.metrics.catalogue import DROPPED
from vitals.metrics.meter import Meter
from vitals.testing import Readings

ALL_SLOW = [Objective("queries", ratio=0.9, within=1e-9)]
Work = Callable[[AsyncEngine], Awaitable[None]]


@pytest.fixture(autouse=True)
def _short_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_worker, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(explain_worker, "MAX_PER_MINUTE", 1_000)


def plans_of(
    url: str,
    work: Work,
    enough: int,
    app: FastAPI | None = None,
    holding: str = "",
    *,
    mode: explain.Explain = True,
) -> dict[str, Plan]:
    """Plans of some work, once there are enough of them."""
    app = app or FastAPI()
    engine = create_async_engine(url)
    made: list[QueryProbe] = []
    original = QueryProbe.instrument

    def record(probe: QueryProbe, engine: Any) -> None:
        made.append(probe)
        original(probe, engine)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(QueryProbe, "instrument", record)
        instrument(app, engine=engine, objectives=ALL_SLOW, explain=mode, locks=False)

    async def run() -> None:
        async with app.router.lifespan_context(app), asyncio.timeout(30):
            await work(engine)
            while len(made[0].plans) < enough or holding not in str(made[0].plans):
                await asyncio.sleep(0.01)
        await engine.dispose()

    asyncio.run(run())
    return made[0].plans


async def shop(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE t (id integer PRIMARY KEY, x text)"))
        await connection.execute(text("INSERT INTO t VALUES (1, 'planted')"))
        found = await connection.execute(
            text("SELECT * FROM t WHERE x = 'planted' OR id = :id ORDER BY x"), {"id": 424242}
        )
        assert len(found.all()) == 1


def test_sqlite(tmp_path: Path) -> None:
    app = FastAPI()
    plans = plans_of(f"sqlite+aiosqlite:///{tmp_path}/x.db", shop, 2, app)
    (plan,) = (plan for plan in plans.values() if any("t" in note for note in plan.notes))
    assert plan.lines[0] == "SCAN t"
    assert "full table scan of t" in plan.notes
    assert Readings.of(app).value(DROPPED, reason="plan") <= 1, "the table may not be seen yet"


def test_sqlite_with_advice(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE t (id integer PRIMARY KEY, x text)"))
            await connection.execute(
                text("INSERT INTO t VALUES (:id, :x)"),
                [{"id": number, "x": f"planted{number}"} for number in range(2_000)],
            )
        async with engine.connect() as connection:
            await connection.execute(text("SELECT id FROM t WHERE x = :x"), {"x": "planted7"})

    plans = plans_of(f"sqlite+aiosqlite:///{tmp_path}/x.db", work, 1, holding="CREATE INDEX")
    (note,) = (note for plan in plans.values() for note in plan.notes if "CREATE INDEX" in note)
    assert note.endswith('instead of 2000 with CREATE INDEX "ix_t_x" ON "t" ("x")')
    assert "planted" not in str(plans)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("mode", "longest", "executed"), [(True, 60, 0), ("analyze", 60, 1), ("analyze", 0, 0)]
)
def test_postgres_plans_without_values_or_repeated_writes(
    postgres: servers.Postgres,
    monkeypatch: pytest.MonkeyPatch,
    mode: explain.Explain,
    longest: float,
    executed: int,
) -> None:
    monkeypatch.setattr(explain_worker, "MAX_ANALYZE_SECONDS", longest)
    url = postgres.database()

    async def work(engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE t (id integer, x text)"))
            await connection.execute(text("CREATE SEQUENCE fired"))
            await connection.execute(
                text(
                    "CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS "
                    "$$ BEGIN PERFORM nextval('fired'); RETURN NEW; END $$"
                )
            )
            await connection.execute(
                text("CREATE TRIGGER t BEFORE INSERT OR UPDATE ON t EXECUTE FUNCTION count_it()")
            )
        async with engine.begin() as connection:
            insert = text("INSERT INTO t VALUES (:id, 'planted')")
            await connection.execute(insert, {"id": 424242})
            await connection.execute(text("UPDATE t SET x = 'planted' WHERE id = 424242"))
            await connection.execute(
                text("SELECT * FROM t WHERE x LIKE 'planted%' AND id = :id"), {"id": 424242}
            )

    plans = plans_of(url, work, 3, holding="Seq Scan on t filter ((x", mode=mode)
    assert postgres.sql("SELECT last_value FROM fired", database=url.rpartition("/")[2]) == "2"
    kept = str(plans)
    assert "planted" not in kept
    assert "424242" not in kept
    assert "Seq Scan on t filter ((x ~~ ?::text) AND (id = ?))" in kept
    assert kept.count("; actual 1 rows") == executed


@pytest.mark.servers
def test_plan_changed_for_the_worse_is_logged(
    postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_worker, "EXPLAIN_INTERVAL", 0.0)

    async def work(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await connection.execute(text("CREATE TABLE t AS SELECT g FROM generate_series(1,9) g"))
            await connection.execute(text("CREATE INDEX i ON t (g)"))
            await connection.commit()
        for before, wait in (("ON", 0.0), ("OFF", 0.4)):
            # The planner's choice is pushed for every new connection, as ours are.
            async with engine.connect() as connection:
                name = engine.url.database
                await connection.execute(
                    text(f"ALTER DATABASE {name} SET enable_seqscan = {before}")
                )
                await connection.commit()
            async with engine.connect() as connection:
                query = text("SELECT g, pg_sleep(:s) FROM t WHERE g = 5")
                await connection.execute(query, {"s": wait})
            (probe,) = vars(engine.dialect)["_vitals_probes"]
            first = "Seq" if before == "ON" else "Index"
            while not any(
                first in p.lines[0] and "on t" in p.lines[0] for p in probe.plans.values()
            ):
                await asyncio.sleep(0.01)

    with kit_events() as lines:
        plans_of(postgres.database(), work, 1)
    changed = [line for line in lines if line["event"] == "query plan changed"]
    assert [line["plan_before"][0].split()[0] for line in changed] == ["Seq"]
    assert [line["plan"][0].split()[0] for line in changed] != ["Seq"]


@pytest.mark.servers
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("granted", [True, False])
def test_auto_explain_plan_needs_no_explain(
    postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch, driver: str, *, granted: bool
) -> None:
    pytest.importorskip(driver)
    url = postgres.database().replace("asyncpg", driver)
    name = url.rpartition("/")[2]
    load = f"ALTER ROLE {ROLE} IN DATABASE {name} SET session_preload_libraries = auto_explain;"
    settings = "log_min_duration", "log_format", "log_level"
    rights = "".join(
        f"{'GRANT' if granted else 'REVOKE'} SET ON PARAMETER auto_explain.{setting} "
        f"{'TO' if granted else 'FROM'} {ROLE};"
        for setting in settings
    )
    postgres.sql(load + rights)
    monkeypatch.setattr(explain_worker.ExplainWorker, "submit", lambda *_: None)

    async def work(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:  # which is rolled back, and used again
            await connection.execute(text("SHOW server_version"))
        async with engine.connect() as connection:
            query = text("SELECT oid FROM pg_class WHERE relname = 'planted' AND oid <> :id")
            for _ in range(3):
                await connection.execute(query, {"id": 424242})
            await connection.rollback()

    plans = plans_of(url, work, 1 if granted else 0)
    assert ["Index Scan on pg_class" in str(plan.lines) for plan in plans.values()] == (
        [True] if granted else []
    )
    assert "planted" not in str(plans)
    assert "424242" not in str(plans)


@pytest.mark.servers
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_auto_explain_is_not_enabled_behind_a_pooler(
    postgres: servers.Postgres, driver: str
) -> None:
    bouncer = servers.PgBouncer(postgres, sessions=1)
    try:
        url = bouncer.of(postgres.database()).replace("asyncpg", driver)
        name = url.rpartition("/")[2]
        settings = "log_min_duration", "log_format", "log_level"
        rights = "".join(
            f"GRANT SET ON PARAMETER auto_explain.{setting} TO {ROLE};" for setting in settings
        )
        postgres.sql(
            f"ALTER ROLE {ROLE} IN DATABASE {name} SET session_preload_libraries = auto_explain;"
            + rights
        )
        how: dict[str, dict[str, Any]] = {
            "asyncpg": {"statement_cache_size": 0, "prepared_statement_cache_size": 0},
            "psycopg": {"prepare_threshold": None},
        }
        engine = create_async_engine(url, connect_args=how[driver])
        app = FastAPI()
        instrument(app, engine=engine, objectives=ALL_SLOW)

        async def run() -> list[Any]:
            async with app.router.lifespan_context(app), engine.connect() as connection:
                names = [f"auto_explain.{setting}" for setting in settings]
                shown = [await connection.scalar(text(f"SHOW {name}")) for name in names]
            await engine.dispose()
            return shown

        assert asyncio.run(run()) == ["-1", "text", "log"]
    finally:
        bouncer.close()


@pytest.mark.servers
def test_at_most_one_side_connection(postgres: servers.Postgres) -> None:
    url = postgres.database()
    name = url.rpartition("/")[2]
    most, over = [0], threading.Event()

    def count() -> None:
        # On one connection, elsewhere: a plan takes a few milliseconds.
        with psycopg.connect(postgres.url.replace("+asyncpg", ""), autocommit=True) as watcher:
            sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
            while not over.is_set():
                row = watcher.execute(sql, (name,)).fetchone()
                most[0] = max(most[0], row[0] if row else 0)

    async def work(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            for number in range(20):
                await connection.execute(text(f"SELECT {number} AS c{number}"))

    counting = threading.Thread(target=count)
    counting.start()
    try:
        plans_of(url, work, 20)
    finally:
        over.set()
        counting.join()
    assert most[0] == 2


def test_explain_on_a_sync_engine(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/x.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
        plan = explain.explain(connection, "SELECT x FROM t WHERE x = ?", ("planted",))
    engine.dispose()
    assert plan.lines == ["SCAN t"]


@pytest.mark.parametrize(
    ("sql", "parameters", "expected"),
    [
        ("SELECT 1", (), True),
        ("WITH a AS (SELECT 1) SELECT * FROM a;", (), True),
        ("UPDATE t SET x = ';'", (), True),
        ("SELECT 1; DROP TABLE t", (), False),
        ("SELECT 1; -- ;\n DROP TABLE t", (), False),
        ("DROP TABLE t", (), False),
        ("EXPLAIN ANALYZE DELETE FROM t", (), False),
        ("COPY t TO PROGRAM 'x'", (), False),
        ("VACUUM", (), False),
        ("INSERT INTO t VALUES (?)", [(1,), (2,)], False),
        ("SELECT '" + "x" * 10_000 + "'", (), False),
    ],
)
def test_may_explain(sql: str, parameters: Any, *, expected: bool) -> None:
    assert explain.may_explain(Fingerprints().of(sql), sql, parameters) is expected


def test_queue_stays_empty_while_worker_is_stopped() -> None:
    app = FastAPI()
    engine = create_engine("sqlite:///never-opened.db")
    instrument(app, engine=engine, objectives=ALL_SLOW)
    probe = next(iter(vars(engine.dialect)["_vitals_probes"]))
    statement = Fingerprints().of("SELECT 1")
    probe.explain_worker.submit(engine, statement, "SELECT 1", ("planted",), 1.0)
    assert not probe.explain_worker._queue
    engine.dispose()


def test_failed_explain_is_counted(tmp_path: Path) -> None:
    async def work(engine: AsyncEngine) -> None:
        @event.listens_for(engine.sync_engine, "do_connect", insert=True)
        def refuse(*_: Any) -> None:
            if asyncio.current_task().get_name() == "vitals explain worker":  # type: ignore[union-attr]
                raise OSError("no more connections")

        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        while not Readings.of(app).value(DROPPED, reason="plan"):
            await asyncio.sleep(0.01)

    app = FastAPI()
    assert plans_of(f"sqlite+aiosqlite:///{tmp_path}/x.db", work, 0, app) == {}


def test_plan_shape_ignores_costs() -> None:
    def plan(node: str, cost: float) -> Plan:
        return parse_postgresql(
            [{"Plan": {"Node Type": node, "Relation Name": "t", "Total Cost": cost}}]
        )

    assert plan("Seq Scan", 1).shape == plan("Seq Scan", 2).shape
    assert plan("Seq Scan", 1).shape != plan("Index Scan", 1).shape
    assert plan("Seq Scan", 5_000).notes == ["full table scan of t"]


def test_actual_figures_are_shown_and_do_not_change_the_shape() -> None:
    node: dict[str, Any] = {"Node Type": "Seq Scan", "Relation Name": "t", "Plan Rows": 5}
    actual = {"Actual Rows": 3, "Actual Loops": 2, "Actual Total Time": 1.5}
    measured = parse_postgresql([{"Plan": node | actual}])
    assert measured.lines == ["Seq Scan on t  (cost 0, 5 rows; actual 6 rows, 3.00 ms, 2 loops)"]
    assert measured.shape == parse_postgresql([{"Plan": node}]).shape
    skipped = parse_postgresql([{"Plan": node | {"Actual Rows": 0, "Actual Loops": 0}}])
    assert skipped.lines[0].endswith("5 rows; never executed)")


def test_invalid_explain_option_is_rejected() -> None:
    with pytest.raises(ValueError, match="must be True, False or 'analyze'"):
        instrument(FastAPI(), explain="analyse")  # type: ignore[arg-type]


def test_invalid_plan_is_rejected() -> None:
    with pytest.raises(ValueError, match="not a plan"):
        parse_postgresql([])


def test_sqlite_plan_is_indented_with_a_note_on_sorting() -> None:
    plan = parse_sqlite(
        [(1, 0, "SEARCH a USING INDEX i (x=?)"), (2, 1, "SCAN b"), (3, 0, "USE TEMP B-TREE FOR o")]
    )
    assert plan.lines == [
        "SEARCH a USING INDEX i (x=?)",
        "  SCAN b",
        "USE TEMP B-TREE FOR o",
    ]
    assert plan.notes == ["full table scan of b", "sorts without an index (o)"]


def test_sqlite_correlated_subquery_gets_a_note() -> None:
    plan = parse_sqlite([(1, 0, "SCAN a USING INDEX i"), (2, 1, "CORRELATED SCALAR SUBQUERY 1")])
    assert plan.notes == ["a correlated subquery runs once per row: rewrite it as a join"]


def test_shutdown_with_a_driver_that_replaces_the_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def swallow(_explainer: explain_worker.ExplainWorker, _question: object) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("the connection was in use") from None

    async def run() -> None:
        engine = create_async_engine("sqlite+aiosqlite:///never-opened.db")
        statement = Fingerprints().of("SELECT a FROM b")
        worker = explain_worker.ExplainWorker({}, Meter(), None)
        async with asyncio.timeout(5) as limit, worker.running():
            worker.submit(engine, statement, "SELECT a FROM b", (), 1.0)
            await started.wait()
        assert not limit.expired()

    started = asyncio.Event()
    monkeypatch.setattr(explain_worker.ExplainWorker, "_explain", swallow)
    asyncio.run(run())
