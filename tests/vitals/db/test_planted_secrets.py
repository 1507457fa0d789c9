"""Secrets planted as values and as literals: nothing stored, logged or shown contains them.

Each example checks all output: metrics, the log, the bottlenecks page as JSON, as HTML and on the
command line, plans, N+1, and errors of failing statements.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from httpx import ASGITransport, AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests import servers
from tests.vitals.journal import kit_events
from vitals import Objective, instrument
from vitals.cli import main
from vitals.db.insight import explain_worker
from vitals.db.probe import QueryProbe
from vitals.db.statements import query_log

TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, x text UNIQUE)"


def quoted(secret: str) -> str:
    return "'" + secret.replace("'", "''") + "'"


async def plant(connection: AsyncConnection, secret: str, number: int) -> None:
    """Send the secret in many forms of statements."""

    async def send(sql: str, **values: Any) -> None:
        try:
            async with connection.begin_nested():
                await connection.execute(
                    text(sql.replace("\\", "\\\\").replace(":", "\\:").replace("\\:v", ":v")),
                    values,
                )
        except DBAPIError as error:
            failures.append(type(error).__name__)

    failures: list[str] = []
    literal = quoted(secret)
    await send("DELETE FROM t")
    await send("INSERT INTO t VALUES (:v1, :v2)", v1=number, v2=secret)
    await send("INSERT INTO t VALUES (:v1, :v2)", v1=number, v2=secret)  # violates the key
    await send(f"INSERT INTO t VALUES ({number + 1}, {literal})")  # noqa: S608
    await send(f"SELECT * FROM t WHERE x = {literal} OR id = {number} ORDER BY x")  # noqa: S608
    await send("SELECT * FROM t WHERE x LIKE :v1 AND id > :v2 LIMIT 5", v1=secret, v2=number)
    await send(f"UPDATE t SET x = x || {literal} WHERE id IN ({number}, {number + 1})")  # noqa: S608
    await send(f"SELECT nowhere({literal})")
    await send(f"SELECT CAST({literal} AS bigint), {number} / 0")
    await send(f"SELECT * FROM t -- {secret.splitlines()[0]}")  # noqa: S608
    for row in range(6):
        await send("SELECT x FROM t WHERE id = :v1 AND x <> :v2", v1=number + row, v2=secret)
    assert len(failures) >= 2


def has_n_plus_one(lines: list[dict[str, Any]]) -> bool:
    """Whether an N+1 was logged."""
    return any("N+1" in line.get("event", "") for line in lines)


class Shop:
    """A service that receives secrets, and all of its output."""

    def __init__(self, url: str) -> None:
        self.probes: list[QueryProbe] = []
        self._engine = create_async_engine(url)
        self._app = FastAPI()
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self._runner.run(self._start())

    async def _start(self) -> None:
        @self._app.post("/planted")
        async def planted(request: Request) -> None:
            secret, number = await request.json()
            async with self._engine.connect() as connection:
                await plant(connection, secret, number)
                await connection.commit()

        original = QueryProbe.instrument

        def record(probe: QueryProbe, engine: Any) -> None:
            self.probes.append(probe)
            original(probe, engine)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(QueryProbe, "instrument", record)
            slow = Objective("queries", ratio=0.9, within=1e-9)
            instrument(self._app, engine=self._engine, objectives=[slow], admin=lambda _: True)
        async with self._engine.begin() as connection:
            await connection.execute(text(TABLE))
        await self._open.enter_async_context(self._app.router.lifespan_context(self._app))
        transport = ASGITransport(self._app)
        client = AsyncClient(transport=transport, base_url="http://test", timeout=60)
        self._client = await self._open.enter_async_context(client)

    def close(self) -> None:
        self._runner.run(self._open.aclose())
        self._runner.run(self._engine.dispose())
        self._runner.close()

    def output(self, secret: str, number: int) -> str:
        """All output after the secret was sent."""
        return self._runner.run(self._output(secret, number))

    async def _output(self, secret: str, number: int) -> str:
        with kit_events() as lines:
            # On a busy machine, calls of a burst may be too far apart for one.
            for _ in range(5):
                answer = await self._client.post("/planted", json=[secret, number])
                assert answer.status_code == 200
                if has_n_plus_one(lines):
                    break
            (probe,) = self.probes
            async with asyncio.timeout(30):
                while probe.explain_worker._queue:
                    await asyncio.sleep(0.01)
        page = await self._client.get("/vitals/bottlenecks", headers={"accept": "text/html"})
        ranked = await self._client.get("/vitals/bottlenecks")
        metrics = await self._client.get("/metrics")
        assert probe.plans
        assert has_n_plus_one(lines)
        kept = repr([probe.plans, lines, list(probe.fingerprints._statements.values())])
        self.ranked = ranked.text
        return f"{kept}\n{page.text}\n{ranked.text}\n{metrics.text}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{tmp_path}/shop.db"
    else:
        server: servers.Postgres = request.getfixturevalue("postgres")
        url = server.database()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(explain_worker, "POLL_INTERVAL", 0.01)
        patched.setattr(explain_worker, "EXPLAIN_INTERVAL", 0.0)
        patched.setattr(explain_worker, "MAX_PER_MINUTE", 100_000)
        for interval in ("SLOW_INTERVAL", "N_PLUS_ONE_INTERVAL"):
            patched.setattr(query_log, interval, 0.0)
        patched.setattr(query_log, "MAX_PER_MINUTE", 100_000)
        shop = Shop(url)
        yield shop
        shop.close()


PLANTED = 4_827_361_905_000_000_000
"""No measured value, however rounded, has these digits."""
HOSTILE = st.text(alphabet="'\"\\$/*-#;,()\n eExX%?[]<&_", max_size=8)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    before=HOSTILE,
    after=HOSTILE,
    number=st.integers(0, 10**6).map(lambda each: PLANTED + each),
)
def test_planted_secrets_appear_nowhere(shop: Shop, before: str, after: str, number: int) -> None:
    output = shop.output(f"{before}hunter2{after}", number)
    assert "hunter2" not in output
    assert str(PLANTED)[:12] not in output


def test_planted_secrets_do_not_appear_in_cli_output(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.output("'hunter2", 4242424242424242424)
    found = json.loads(shop.ranked)["bottlenecks"]
    monkeypatch.setattr("vitals.cli.fetch_bottlenecks", lambda _: found)
    for command in ("bottlenecks", "plans"):
        for form in ("text", "json"):
            assert main([command, "--format", form, "--top", "50"]) == 0
            stdout = capsys.readouterr().out
            assert "SELECT x FROM t" in stdout
            assert "hunter2" not in stdout
            assert "424242424242424242" not in stdout
            assert ("SCAN t" in stdout or "Seq Scan on t" in stdout) == (
                command == "plans" or form == "json"
            )
