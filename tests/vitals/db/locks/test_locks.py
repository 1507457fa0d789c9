"""Who blocks whom, on the command line, against real sessions."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import servers
from vitals.cli import DATABASE_URL, main
from vitals.db.locks.lock_chains import chains
from vitals.db.locks.lock_waits import INVISIBLE, LockWait

Locks = Callable[..., Any]


@pytest.fixture
def locks(capsys: pytest.CaptureFixture[str]) -> Locks:
    """Run `vitals locks` and read what it prints."""

    def run(*words: str) -> Any:
        assert main(["locks", *words]) == 0
        said = capsys.readouterr().out
        return json.loads(said) if "--json" in words else said

    return run


class Sessions:
    """Sessions of psql-like clients, each with a name."""

    def __init__(self, url: str) -> None:
        self._dsn = url.replace("+asyncpg", "")
        self._running: list[psycopg.Connection[Any]] = []

    def open(self, name: str, *statements: str) -> psycopg.Connection[Any]:
        """Open a session, run statements in a transaction, leave it open."""
        connection = psycopg.connect(self._dsn, application_name=name)
        self._running.append(connection)
        for statement in statements:
            connection.execute(statement.encode())
        return connection

    def wait(self, name: str, statement: str) -> None:
        """Send a statement that has to wait for a lock."""
        connection = self.open(name, "SELECT 1")
        connection.pgconn.send_query(statement.encode())
        connection.pgconn.flush()

    def close(self) -> None:
        """End all, whatever they wait for."""
        for connection in self._running:
            connection.close()


@pytest.fixture
def url(postgres: servers.Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    address = postgres.database()
    monkeypatch.setenv(DATABASE_URL, address)
    return address


@pytest.fixture
def sessions(url: str) -> Iterator[Sessions]:
    made = Sessions(url)
    yield made
    made.close()


def until(read: Callable[[], Any], holds: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 60
    while not holds(found := read()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


@pytest.mark.servers
def test_tree_and_table_of_a_forgotten_transaction(locks: Locks, sessions: Sessions) -> None:
    made = sessions.open("setup", "CREATE TABLE t AS SELECT 'planted' AS x")
    made.commit()
    assert locks() == "no lock waits\n"
    sessions.open("psql", "SELECT * FROM t WHERE x <> 'planted'")
    began = time.monotonic()
    sessions.wait("migration", "ALTER TABLE t ADD COLUMN y text DEFAULT 'planted'")
    until(lambda: locks("--json"), lambda found: len(found) == 1)
    sessions.wait("shop", "SELECT x FROM t WHERE x = 'planted'")
    sessions.wait("shop", "SELECT x FROM t WHERE x = 'planted'")
    found = until(lambda: locks("--json"), lambda found: len(found) == 3)
    by_name = {one["waiting_application"]: one for one in found}
    first = by_name["migration"]
    assert (first["application"], first["state"]) == ("psql", "idle in transaction")
    assert first["lock"] == "AccessExclusiveLock on t"
    assert 0 < first["waited"] <= first["transaction"] <= time.monotonic() - began + 1
    second = by_name["shop"]
    assert second["blocking_pid"] == first["waiting_pid"]
    assert (second["waiting_summary"], second["blocking_summary"]) == ("SELECT t", "ALTER t")

    tree = locks().splitlines()
    assert tree[0].startswith(f"PID {first['blocking_pid']} (psql) of role vitals: idle in trans")
    assert "transaction open for " in tree[0]
    assert "0.0 s" not in tree[0]
    assert tree[1] == "│  last statement: SELECT * FROM t WHERE x <> ?"
    assert tree[2].startswith(f"└─ PID {first['waiting_pid']} (migration) has waited ")
    assert [line[:8] for line in tree if "(shop)" in line] == ["   ├─ PI", "   └─ PI"]
    table = locks("--format", "table").splitlines()
    assert table[0].split()[:2] == ["waited", "waiting"]
    assert len(table) == 4
    assert "planted" not in f"{found}{tree}{table}"

    (chain,) = chains([LockWait(**one) for one in found])
    assert (chain.pid, chain.sessions) == (first["blocking_pid"], 3)
    assert chain.blocker.application == "psql"


@pytest.mark.servers
def test_without_the_right_what_is_hidden_is_unknown(
    locks: Locks, sessions: Sessions, postgres: servers.Postgres, url: str
) -> None:
    sessions.open("psql", "CREATE TABLE t AS SELECT 1 AS x").commit()
    sessions.open("psql", "LOCK TABLE t")
    sessions.wait("shop", "SELECT x FROM t")
    name = url.rpartition("/")[2]
    postgres.sql(
        "DROP ROLE IF EXISTS curious; CREATE ROLE curious LOGIN PASSWORD 'made-up-for-tests'; "
        f"GRANT CONNECT ON DATABASE {name} TO curious"
    )
    try:
        other = url.replace("//vitals:", "//curious:")
        (found,) = until(lambda: locks("--json", "--database", other), bool)
        assert found["waited"] >= 0
        assert found["transaction"] is None
        assert found["state"] == "unknown"
        assert found["application"] == "psql"
        assert found["blocking"] == found["waiting"] == found["blocking_summary"] == INVISIBLE
        tree = locks("--database", other)
        assert "state unknown, age of its transaction unknown" in tree
        assert "GRANT pg_read_all_stats" in tree
    finally:
        postgres.sql(f"REVOKE CONNECT ON DATABASE {name} FROM curious; DROP ROLE curious")


def test_sessions_that_wait_for_each_other_are_a_chain() -> None:
    def wait(waiting: int, blocking: int) -> LockWait:
        texts = ("a", "b", "a", "b", "active", "x", "y", "z", "a row")
        return LockWait(waiting, blocking, 1.0, 2.0, *texts, advisory=False)

    (chain,) = chains([wait(1, 2), wait(2, 1), wait(3, 1)])
    assert chain.sessions == 3
    assert chains([]) == []


_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute("INSERT INTO t VALUES (2)") if sys.argv[2] != "BEGIN" else list(
    connection.execute("SELECT * FROM t"))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize(
    ("begin", "kind"), [("BEGIN IMMEDIATE", "write"), ("BEGIN EXCLUSIVE", "commit")]
)
def test_sqlite_names_the_process_that_writes(
    locks: Locks, tmp_path: Path, mode: str, begin: str, kind: str
) -> None:
    file = tmp_path / "shop.db"
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    url = f"sqlite+aiosqlite:///{file}"
    assert locks("--database", url) == "no lock waits\n"
    words = [sys.executable, "-c", _HOLD, str(file), begin]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == b"ready\n"
            found = locks("--json", "--database", url)
            said = locks("--database", url)
        finally:
            holder.communicate(timeout=60)
    writers = [one for one in found if one["lock"] != "read"]
    assert [(one["pid"], one["lock"]) for one in writers] == [
        (holder.pid, "write" if mode == "wal" else kind)
    ]
    assert f"PID {holder.pid} (" in said
    assert "who waits: unknown" in said
    assert locks("--database", url) == "no lock waits\n"
