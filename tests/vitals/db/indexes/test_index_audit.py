"""Index audit and lock waits on the command line, on real databases."""

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests import servers
from vitals.cli import DATABASE_URL, main
from vitals.db.indexes import index_audit

SCHEMA = """
CREATE TABLE shops (id integer PRIMARY KEY, code text UNIQUE, town text);
CREATE TABLE sales (
    id integer PRIMARY KEY,
    shop integer REFERENCES shops (id),
    buyer integer REFERENCES shops (id),
    day text, amount integer
);
CREATE INDEX ix_buyer_day ON sales (buyer, day);
CREATE INDEX ix_day ON sales (day);
CREATE INDEX ix_day_amount ON sales (day, amount);
CREATE INDEX ix_day_big ON sales (day) WHERE amount > 100;
CREATE INDEX ix_day_lower ON sales (lower(day));
CREATE UNIQUE INDEX ix_unique_day ON sales (amount);
CREATE INDEX ix_amount ON sales (amount, id);
CREATE INDEX ix_code ON shops (code);
CREATE INDEX ix_shop_big ON sales (shop) WHERE amount > 100;
"""
Command = Callable[..., Any]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `vitals` and read what it prints."""

    def run(*words: str) -> Any:
        assert main([*words, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def sqlite(folder: Path) -> str:
    engine = create_engine(f"sqlite:///{folder}/shop.db")
    with engine.begin() as connection:
        for statement in SCHEMA.split(";"):
            connection.exec_driver_sql(statement) if statement.strip() else None
    engine.dispose()
    return f"sqlite+aiosqlite:///{folder}/shop.db"


def keys(found: list[dict[str, str]]) -> set[tuple[str, str, str]]:
    return {(one["kind"], one["table"], one["index"]) for one in found}


EXPECTED = {
    ("duplicate", "sales", "ix_day"),
    ("duplicate", "shops", "ix_code"),
    ("missing", "sales", ""),
}


def test_sqlite_duplicate_and_missing_indexes(command: Command, tmp_path: Path) -> None:
    found = command("indexes", "--database", sqlite(tmp_path))
    assert keys(found) == EXPECTED
    (missing,) = (one for one in found if one["kind"] == "missing")
    assert missing["remedy"] == "CREATE INDEX ix_sales_shop ON sales (shop);"


def test_remedies_fix_all_findings(command: Command, tmp_path: Path) -> None:
    url = sqlite(tmp_path)
    engine = create_engine(url.replace("+aiosqlite", ""))
    with engine.begin() as connection:
        for one in command("indexes", "--database", url):
            connection.exec_driver_sql(one["remedy"])
    engine.dispose()
    assert command("indexes", "--database", url) == []


IDENTITY = """
CREATE TABLE events (id integer NOT NULL, serial integer NOT NULL, kind integer);
CREATE UNIQUE INDEX ix_events ON events (serial);
CREATE UNIQUE INDEX ix_events_again ON events (serial);
ALTER TABLE events REPLICA IDENTITY USING INDEX ix_events_again;
"""


@pytest.mark.servers
def test_postgres_unused_indexes(
    command: Command, postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.database()
    monkeypatch.setenv(DATABASE_URL, url)

    async def make() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            for statement in (SCHEMA + IDENTITY).split(";")[:-1]:
                await connection.execute(text(statement))
        async with engine.begin() as connection:
            await connection.execute(text("SET enable_seqscan = off"))
            await connection.execute(text("SELECT * FROM sales WHERE lower(day) = 'x'"))
        await engine.dispose()

    asyncio.run(make())
    found = command("indexes")
    assert keys(found) == EXPECTED | {("unknown", "", "")}
    (young,) = (one for one in found if one["kind"] == "unknown")
    assert "too short to tell" in young["reason"]
    assert "UTC (" in young["reason"]
    assert "DROP" not in young["remedy"]

    monkeypatch.setattr(index_audit, "MIN_COUNTER_AGE", 0.0)
    found = keys(command("indexes"))
    while ("unused", "sales", "ix_day_lower") in found:  # PostgreSQL counts with a delay
        found = keys(command("indexes"))
    # Not those of the foreign keys, nor what makes another one redundant, nor a replica identity.
    assert found == EXPECTED | {("unused", "sales", "ix_day_big"), ("unused", "sales", "ix_amount")}

    # A slot keeps the log for a standby that is away: its uses are not counted here.
    postgres.sql("SELECT pg_create_physical_replication_slot('standby')")
    try:
        found = command("indexes")
    finally:
        postgres.sql("SELECT pg_drop_replication_slot('standby')")
    doubtful = [one for one in found if one["kind"] == "unknown"]
    assert {one["index"] for one in doubtful} == {"ix_day_big", "ix_amount"}
    assert not any("DROP" in one["remedy"] for one in doubtful)
    assert all("unknown" in one["remedy"] for one in doubtful)


@pytest.mark.servers
def test_postgres_lock_waits_without_values(
    command: Command, postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.database()
    monkeypatch.setenv(DATABASE_URL, url)
    stop = threading.Event()
    ready = threading.Event()

    async def lock(connection: AsyncConnection, value: str) -> None:
        await connection.execute(text(f"UPDATE t SET x = '{value}'"))  # noqa: S608

    async def lock_conflict() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.execute(text("CREATE TABLE t AS SELECT 'planted' AS x"))
        async with engine.connect() as first, engine.connect() as second:
            await lock(first, "planted")
            waiting = asyncio.create_task(lock(second, "planted too"))
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.01)
            await first.rollback()
            await waiting
        await engine.dispose()

    thread = threading.Thread(target=lambda: asyncio.run(lock_conflict()))
    thread.start()
    try:
        assert ready.wait(30)
        while not (waits := command("locks")):
            pass
    finally:
        stop.set()
        thread.join()
    (wait,) = waits
    assert wait["waiting"] == wait["blocking"] == "UPDATE t SET x = ?"
    assert wait["state"] == "idle in transaction"
    assert wait["waiting_pid"] != wait["blocking_pid"]
    assert command("locks") == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["indexes"], "--database"),
        (["indexes", "--database", "nonsense"], "not a URL"),
        (
            ["indexes", "--database", "postgresql+asyncpg://a@127.0.0.1:1/b"],
            "database query failed",
        ),
        (["indexes", "--database", "mysql+aiomysql://x/y"], "driver not installed"),
        (["locks", "--database", "sqlite+aiosqlite://"], "name a file"),
        (["locks", "--database", "sqlite+aiosqlite:////no/such.db"], "No such file"),
        (["locks", "--database", "sqlite+aiosqlite://", "--password-file", "/no"], "cannot read"),
        (["bottlenecks", "--url", "ftp://x"], "http://"),
        (["bottlenecks", "--url", "http://127.0.0.1:1"], "cannot read bottlenecks from"),
    ],
)
def test_error_says_what_to_do(
    words: list[str],
    hint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(DATABASE_URL, raising=False)
    assert main(words) == 2
    stderr = capsys.readouterr().err
    assert hint in stderr
    assert "Traceback" not in stderr
