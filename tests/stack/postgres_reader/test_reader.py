"""The reader of PostgreSQL, against a real server: truth, bounds, who blocks, statements."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import asyncpg
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import make_url

from rules.postgres_metrics import PG_COMMITS, PG_ROLLBACKS
from stack.postgres_reader import sessions
from stack.postgres_reader.reader import Reader
from stack.readings.exposition import registry_of
from stack.readings.sample import BoundedCounts, largest
from tests.servers import PgBouncer, Postgres
from vitals.db.statements.fingerprint import parse
from vitals.metrics.catalogue import OTHER

pytestmark = pytest.mark.servers

Values = dict[str, list[tuple[dict[str, str], float]]]


class Reading:
    """A reader whose readings a test asks for."""

    def __init__(self, url: str) -> None:
        self.lines: list[str] = []
        self.reader = Reader(make_url(url), self.lines.append)
        self._registry: CollectorRegistry = registry_of(self.reader, {"data": "/"})

    async def read(self) -> Values:
        """Read all parts, and what a scrape then has, by the metric's name."""
        for part in self.reader._parts:
            part.due = 0.0
        await self.reader.read()
        return self.scrape()

    def scrape(self) -> Values:
        """What a scrape has."""
        found: Values = {}
        for family in text_string_to_metric_families(generate_latest(self._registry).decode()):
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    async def close(self) -> None:
        """Close its connection."""
        await self.reader.close()


def _value(values: Values, name: str, **labels: str) -> float:
    [found] = [v for own, v in values[name] if labels.items() <= own.items()]
    return found


async def _until(condition: Callable[[Values], bool], reading: Reading) -> Values:
    deadline = time.monotonic() + 30
    while not condition(values := await reading.read()):
        assert time.monotonic() < deadline, values
        await asyncio.sleep(0.1)
    return values


async def _connect(url: str, name: str) -> asyncpg.Connection:
    dsn = url.replace("+asyncpg", "")
    return await asyncpg.connect(dsn, server_settings={"application_name": name})


@pytest.mark.anyio
async def test_a_server_says_what_it_is_and_every_part_is_read(postgres: Postgres) -> None:
    reading = Reading(postgres.database())
    values = await reading.read()
    await reading.close()
    assert _value(values, "postgres_up") == 1
    assert _value(values, "postgres_info", pooler="false", role="primary") == 1
    failing = {own["part"] for own, value in values["postgres_part_read"] if not value}
    # The server of the tests does not load the extension.
    assert failing == {"statements"}
    assert "CREATE EXTENSION pg_stat_statements" in "".join(reading.lines)
    limit = int(postgres.sql("SHOW max_connections")) - int(
        postgres.sql("SHOW superuser_reserved_connections")
    )
    assert _value(values, "postgres_connections_limit") == limit
    assert _value(values, "postgres_connections", state="active") >= 1
    assert _value(values, "system_filesystem_limit_bytes", folder="data") > 0


@pytest.mark.anyio
async def test_who_forgot_a_transaction_is_named_with_its_statement(postgres: Postgres) -> None:
    url = postgres.database()
    reading = Reading(url)
    owner, waiter = await _connect(url, "forgetful"), await _connect(url, "waiter")
    waiting: asyncio.Task[str] | None = None
    try:
        await owner.execute("CREATE TABLE things (id int, note text)")
        await owner.execute("BEGIN")
        await owner.execute("UPDATE things SET note = 'secret-4711' WHERE id = 5")
        await owner.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        quiet = await reading.read()
        assert "postgres_blocker_idle_seconds" not in quiet  # no one waits
        waiting = asyncio.create_task(waiter.execute("SELECT count(*) FROM things"))
        values = await _until(lambda found: "postgres_blocker_idle_seconds" in found, reading)
        [(session, idle)] = values["postgres_blocker_idle_seconds"]
        pid = str(owner.get_server_pid())
        assert (session["pid"], session["application"]) == (pid, "forgetful")
        assert session["state"] == "idle in transaction"
        assert session["statement"] == "LOCK TABLE things IN ACCESS EXCLUSIVE MODE"
        assert 0 <= idle <= _value(values, "postgres_blocker_transaction_seconds", pid=pid)
        assert _value(values, "postgres_blocked_sessions", pid=pid) == 1
        # The one that waits gives up, the transaction is open still.
        postgres.sql(f"SELECT pg_cancel_backend({waiter.get_server_pid()})")
        with suppress(asyncpg.QueryCanceledError):
            await waiting
        values = await reading.read()
        assert _value(values, "postgres_blocked_sessions", pid=pid) == 0
        await owner.execute("COMMIT")
        values = await reading.read()
        assert "postgres_blocker_idle_seconds" not in values
    finally:
        for each in (owner, waiter):
            each.terminate()
        if waiting is not None:
            await asyncio.gather(waiting, return_exceptions=True)
        await reading.close()


def test_a_statement_in_a_label_has_no_literals_and_a_bounded_length() -> None:
    shown = sessions.statement("UPDATE users SET token = 'abc' WHERE id = 17" + " OR id = 3" * 99)
    assert "abc" not in shown
    assert "17" not in shown
    assert len(shown) == sessions.TEXT
    assert "grant pg_read_all_stats" in sessions.statement("<insufficient privilege>")


@pytest.mark.anyio
async def test_a_table_that_is_locked_holds_up_no_reading(postgres: Postgres) -> None:
    url = postgres.database()
    reading, owner = Reading(url), await _connect(url, "migration")
    try:
        await owner.execute("CREATE TABLE things (id int)")
        await owner.execute("BEGIN")
        await owner.execute("LOCK TABLE things IN ACCESS EXCLUSIVE MODE")
        values = await reading.read()
        assert _value(values, "postgres_part_read", part="tables") == 1
        assert _value(values, "postgres_table_dead_rows", relation="public.things") == 0
    finally:
        owner.terminate()
        await reading.close()


@pytest.mark.anyio
async def test_a_server_that_is_down_is_down_and_nothing_else_is_known() -> None:
    reading = Reading("postgresql+asyncpg://nobody:hidden-word@127.0.0.1:1/none")
    values = await reading.read()
    await reading.close()
    assert _value(values, "postgres_up") == 0
    assert _value(values, "postgres_read_failures_total", part="connect") == 1
    known = {name for name in values if name.startswith("postgres_")}
    assert known == {"postgres_up", "postgres_read_failures_total"}
    assert reading.lines
    assert "hidden-word" not in "".join(reading.lines)


@pytest.mark.anyio
async def test_a_pooler_is_told_as_such(postgres: Postgres, pgbouncer: PgBouncer) -> None:
    reading = Reading(pgbouncer.of(postgres.database()))
    values = await reading.read()
    values = await reading.read()
    await reading.close()
    assert _value(values, "postgres_info", pooler="true") == 1
    assert _value(values, "postgres_part_read", part="locks") == 1


def test_counts_are_bounded_and_never_fall() -> None:
    counts = BoundedCounts((PG_COMMITS, PG_ROLLBACKS), 2)

    def add(**values: float) -> dict[str, float]:
        counts.add({name: ((name,), (value, 1.0)) for name, value in values.items()})
        return {
            each.labels[0]: each.value for each in counts.samples() if each.metric is PG_COMMITS
        }

    assert add(a=100, b=50, c=1) == {"a": 0, "b": 0}  # what was before is no rise
    assert add(a=103, b=51, c=8) == {"a": 3, "b": 1, OTHER: 7}
    assert add(a=4, b=51, c=8) == {"a": 7, "b": 1, OTHER: 7}  # the server's count began anew
    before = add(a=4, b=51, c=8)
    for number in range(200):  # c takes a place, what others had stays counted
        after = add(a=4, b=51, c=1000 * number)
        assert after[OTHER] >= before[OTHER]
        before = after
    assert "c" in after
    assert len(after) <= 3


def test_the_rest_of_gauges_is_summed() -> None:
    rows = [(str(number), (float(number), 1.0)) for number in range(5)]
    assert largest(rows, 2) == [("4", (4.0, 1.0)), ("3", (3.0, 1.0)), (OTHER, (3.0, 3.0))]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("SELECT a FROM t WHERE id = $1::INTEGER", "SELECT a FROM t WHERE id = $1::INTEGER"),
        ("SELECT a FROM t WHERE b = 'x' LIMIT 5", "SELECT a FROM t WHERE b = $1 LIMIT $2"),
        ("SELECT a FROM t WHERE id IN ($1, $2, $3)", "SELECT a FROM t WHERE id IN ($1 /*, ... */)"),
        ("INSERT INTO t (a) VALUES (%(a)s)", "INSERT INTO t (a) VALUES ($1)"),
    ],
)
def test_a_statement_has_one_fingerprint_in_the_kit_and_in_the_server(sent: str, kept: str) -> None:
    assert parse(sent, "postgresql").fingerprint == parse(kept, "postgresql").fingerprint
