"""Attributes of the spans of statements, by the stable semantic conventions."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tests import servers
from vitals.db.engines import AnyEngine
from vitals.db.probe import QueryProbe
from vitals.db.span_attributes import (
    connection_attributes,
    response_status_code,
    statement_attributes,
)
from vitals.db.statements.fingerprint import Fingerprints
from vitals.host import Host
from vitals.objectives import Objectives


class Spans:
    """Keeps the attributes of spans (a ``MakeSpan``)."""

    def __init__(self) -> None:
        self.enabled = True
        self.attributes: list[dict[str, Any]] = []

    def __call__(
        self, name: str, began: int, error_type: str, attributes: Mapping[str, Any]
    ) -> None:
        assert name
        assert began
        assert bool(error_type) is ("db.response.status_code" in attributes)
        self.attributes.append(dict(attributes))


def observe(engine: AnyEngine) -> Spans:
    spans = Spans()
    host = Host(FastAPI(), service_name="shop", objectives=Objectives(()))
    QueryProbe(host.meter, host.objectives, spans, explain=False).instrument(engine)
    return spans


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql+asyncpg://a:secret@db.example:5433/shop",
            {"db.namespace": "shop", "server.address": "db.example", "server.port": 5433},
        ),
        ("postgresql+asyncpg://db.example/shop", {"server.address": "db.example"}),
        (
            "postgresql+psycopg://shop@/shop?host=/var/run/postgresql",
            {"server.address": "/var/run/postgresql"},
        ),
        ("postgresql+psycopg:///shop?host=a:1,b:2", {"db.namespace": "shop"}),
        ("sqlite:////home/anna/shop.db", {"db.namespace": "shop.db"}),
        ("sqlite://", {"db.system.name": "sqlite"}),
        ("sqlite:///:memory:", {"db.system.name": "sqlite"}),
    ],
)
def test_the_server_is_named_as_far_as_the_url_names_it(url: str, expected: dict[str, Any]) -> None:
    engine = create_async_engine(url) if "asyncpg" in url else create_engine(url)
    found = connection_attributes(engine, engine.dialect.name)
    assert expected.items() <= found.items()
    assert ("server.address" in expected) is ("server.address" in found)
    assert "secret" not in str(found)
    assert "anna" not in str(found)


@pytest.mark.parametrize(
    ("sql", "collection"),
    [
        ("SELECT * FROM orders WHERE id = 1", "orders"),
        ("INSERT INTO shop.orders VALUES (1)", "shop.orders"),
        ("SELECT * FROM orders JOIN items USING (id)", None),
        ("SELECT 1", None),
    ],
)
def test_a_single_table_is_the_collection(sql: str, collection: str | None) -> None:
    attributes = statement_attributes(Fingerprints().of(sql))
    assert attributes.get("db.collection.name") == collection


def test_more_fingerprints_than_labels_have_no_collection() -> None:
    statement = Fingerprints(max_fingerprints=0).of("SELECT * FROM orders")
    assert "db.collection.name" not in statement_attributes(statement)


def test_a_failed_statement_has_sqlites_status() -> None:
    engine = create_engine("sqlite://")
    spans = observe(engine)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE t (n UNIQUE)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
        with pytest.raises(DBAPIError):
            connection.execute(text("INSERT INTO t VALUES (1)"))
    engine.dispose()
    codes = [each.get("db.response.status_code") for each in spans.attributes]
    assert codes == [None, None, "SQLITE_CONSTRAINT_UNIQUE"]


def test_mysql_numbers_its_errors() -> None:
    error = RuntimeError(1062, "Duplicate entry")
    assert response_status_code(error, "mysql") == "1062"
    assert response_status_code(error, "postgresql") == ""


@pytest.mark.servers
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_failed_statement_has_its_sqlstate(postgres: servers.Postgres, driver: str) -> None:
    async def run() -> Spans:
        url = postgres.url.replace("+asyncpg", f"+{driver}")
        engine = create_async_engine(url)
        spans = observe(engine)
        async with engine.connect() as connection:
            with pytest.raises(DBAPIError):
                await connection.execute(text("SELECT * FROM nowhere"))
        await engine.dispose()
        return spans

    (failed, *_) = (
        each for each in asyncio.run(run()).attributes if "nowhere" in each["db.query.text"]
    )
    assert failed["db.response.status_code"] == "42P01"
    assert failed["db.collection.name"] == "nowhere"
    assert failed["db.namespace"]
