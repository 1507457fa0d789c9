"""sqlcommenter: statements carry application and route, and are prepared once per route."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from sqlalchemy import create_engine, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests import servers
from vitals import instrument
from vitals.asgi.request_context import CURRENT, RequestContext
from vitals.asgi.route_template import RouteTemplates
from vitals.db.sqlcommenter import SqlCommenter, add_comments
from vitals.metrics.catalogue import DB_OPERATION_DURATION
from vitals.metrics.endpoint import MetricsEndpoint
from vitals.metrics.meter import Meter
from vitals.testing import Readings


def request(url: str, *paths: str, then: Callable[[Any], Any], **options: Any) -> Any:
    """Statements received, prepared statements and metrics after requests for these paths."""
    app = FastAPI()
    engine = create_async_engine(url, pool_size=1, max_overflow=0)

    @app.get("/a/{name}")
    @app.get("/it's */ {name}")
    async def ask_for(name: str) -> str:
        async with engine.connect() as connection:
            found = await connection.execute(select(text("current_query(), :n")), {"n": name})
            return str(found.one()[0])

    instrument(app, engine=engine, service_name="shop", logs=False, explain=False, **options)

    async def run() -> Any:
        async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
            received = [(await client.get(path)).json() for path in paths]
        async with engine.connect() as connection:
            seen = await then(connection)
        await engine.dispose()
        return received, seen, Readings.of(app)

    return asyncio.run(run())


async def prepared(connection: Any) -> tuple[int, int]:
    sql = "SELECT count(*), sum(generic_plans + custom_plans) FROM pg_prepared_statements "
    found = await connection.execute(text(sql + "WHERE statement LIKE 'SELECT current_query%'"))
    statements, plans = found.one()
    return int(statements), int(plans)


@pytest.mark.servers
def test_comment_with_application_and_route(postgres: servers.Postgres) -> None:
    paths = ["/a/x", "/a/y", "/a/z", "/it's */ x", "/a/x"]
    received, seen, readings = request(postgres.url, *paths, then=prepared, sqlcommenter=True)
    tail = "/*application='shop',route='%2Fa%2F%7Bname%7D'*/"
    assert all(sql.endswith(tail) for sql in (*received[:3], received[4]))
    assert received[3].endswith(",route='%2Fit%27s%20%2A%2F%20%7Bname%7D'*/")
    assert seen == (2, 5), "one a route, used again"
    calls = [
        readings.value(DB_OPERATION_DURATION, "_count", **labels)
        for labels in readings.series(DB_OPERATION_DURATION)
    ]
    assert max(calls) == 5, "comments make no other statement of it"


@pytest.mark.servers
def test_no_comment_by_default(postgres: servers.Postgres) -> None:
    received, seen, _ = request(postgres.url, "/a/x", then=prepared)
    assert "/*" not in received[0]
    assert seen == (1, 1)


@pytest.mark.parametrize("style", ["format", "pyformat"])
def test_percent_signs_are_escaped_for_format_paramstyles(style: str) -> None:
    """MySQL drivers and psycopg interpret percent signs."""
    engine, meter, sent = create_engine("sqlite://"), Meter(), []
    dialect: Any = engine.dialect
    execute, dialect.paramstyle = dialect.do_execute, style

    def formats(cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
        sent.append(statement % ())
        execute(cursor, statement, parameters, context)

    dialect.do_execute = formats
    add_comments(engine, SqlCommenter("50% off", RouteTemplates(FastAPI()), meter))
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        connection.exec_driver_sql("SELECT 2", execution_options={"no_parameters": True})
    assert sent == ["SELECT 1 /*application='50%25%20off'*/"]


def test_statement_is_sent_without_comment_if_route_lookup_fails() -> None:
    engine, meter = create_engine("sqlite://"), Meter()
    add_comments(engine, SqlCommenter("shop", RouteTemplates(FastAPI()), meter))
    token = CURRENT.set(RequestContext({}, "GET"))  # without a path
    try:
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
    finally:
        CURRENT.reset(token)
    page = MetricsEndpoint(meter).render(as_openmetrics=True, gzipped=False).decode()
    assert 'reason="query_comment"' in page
