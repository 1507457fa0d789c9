"""Secrets planted as values and as literals: nothing that is kept, logged or shown has them.

Each example asks for all that there is to see: the metrics, the log, the ranked list as JSON, as a
page and on the command line, plans, N+1, and what failing statements leave behind.
"""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi import FastAPI, Request
from httpx import ASGITransport, AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from structlog.testing import capture_logs

from tests import servers
from vitals import Objective, instrument
from vitals.cli import main
from vitals.db.insight import explain_worker
from vitals.db.probe import QueryProbe
from vitals.db.statements import query_log

TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, x text UNIQUE)"


def quoted(secret: str) -> str:
    return "'" + secret.replace("'", "''") + "'"


async def plant(connection: AsyncConnection, secret: str, number: int) -> None:
    """Send it in every way there is."""

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


class Shop:
    """A service that is sent secrets, and everything that can be seen of it."""

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

        original = QueryProbe.watch

        def watch(probe: QueryProbe, watched: Any) -> None:
            self.probes.append(probe)
            original(probe, watched)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(QueryProbe, "watch", watch)
            slow = Objective("queries", target=0.9, threshold=1e-9)
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

    def seen(self, secret: str, number: int) -> str:
        """All that can be seen after it was planted."""
        return self._runner.run(self._seen(secret, number))

    async def _seen(self, secret: str, number: int) -> str:
        with capture_logs() as lines:
            answer = await self._client.post("/planted", json=[secret, number])
            assert answer.status_code == 200
            (probe,) = self.probes
            async with asyncio.timeout(30):
                while probe.explainer._waiting:
                    await asyncio.sleep(0.01)
        page = await self._client.get("/vitals/bottlenecks", headers={"accept": "text/html"})
        ranked = await self._client.get("/vitals/bottlenecks")
        metrics = await self._client.get("/metrics")
        assert probe.plans
        assert any("N+1" in line["event"] for line in lines)
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
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(explain_worker, "EVERY", 0.01)
        patched.setattr(explain_worker, "HOUR", 0.0)
        patched.setattr(explain_worker, "A_MINUTE", 100_000)
        for pace in ("SLOW_EVERY", "REPEAT_EVERY"):
            patched.setattr(query_log, pace, 0.0)
        patched.setattr(query_log, "A_MINUTE", 100_000)
        shop = Shop(url)
        yield shop
        shop.close()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


PLANTED = 4_827_361_905_000_000_000
"""No measured figure, whatever it is rounded from, has these digits."""
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
def test_nothing_shows_what_was_planted(shop: Shop, before: str, after: str, number: int) -> None:
    seen = shop.seen(f"{before}hunter2{after}", number)
    assert "hunter2" not in seen
    assert str(PLANTED)[:12] not in seen


def test_the_command_line_shows_none_either(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.seen("'hunter2", 4242424242424242424)
    found = json.loads(shop.ranked)["bottlenecks"]
    monkeypatch.setattr("vitals.cli._ranked", lambda _: found)
    for command in ("bottlenecks", "plans"):
        for form in ("text", "json"):
            assert main([command, "--format", form, "--top", "50"]) == 0
            told = capsys.readouterr().out
            assert "SELECT x FROM t" in told
            assert "hunter2" not in told
            assert "424242424242424242" not in told
            assert ("SCAN t" in told or "Seq Scan on t" in told) == (
                command == "plans" or form == "json"
            )
