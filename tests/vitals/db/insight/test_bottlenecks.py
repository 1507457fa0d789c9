"""Bottlenecks page: ranking, HTML, and access for administrators only."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request
from httpx import ASGITransport, AsyncClient
from sqlalchemy import StaticPool, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.vitals.client import fetch
from vitals import instrument
from vitals.db.insight.bottlenecks_page import PATH
from vitals.db.statements.fingerprint import Statement
from vitals.db.statements.statement_stats import MAX_ROUTES, StatementStats

TOKEN = {"authorization": "Bearer right"}


def get_bottlenecks(
    admin: Any, headers: dict[str, str] | None = None, method: str = "GET", address: str = PATH
) -> Any:
    app = FastAPI()
    engine = create_async_engine("sqlite+aiosqlite://")

    @app.get("/expensive/{value}")
    async def expensive(value: str) -> None:
        async with engine.connect() as connection:
            for number in range(6):
                sql = "SELECT '<b>', :v, 'planted' FROM (SELECT 1 AS a) AS \"<i>\""
                await connection.execute(text(sql), {"v": f"{value}{number}"})

    @app.get("/cheap")
    async def cheap() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    instrument(app, engine=engine, logs=False, admin=admin)
    for path in ("/expensive/planted", "/expensive/planted", "/cheap"):
        assert fetch(app, "GET", path).status_code == 200
    answer = fetch(app, method, address, headers=headers)
    asyncio.run(engine.dispose())
    return answer


def test_statements_are_ranked_by_time_with_route_and_call_site() -> None:
    answer = get_bottlenecks("right", TOKEN)
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()["bottlenecks"]
    assert [one["seconds"] for one in found] == sorted(one["seconds"] for one in found)[::-1]
    assert sum(one["share"] for one in found) == pytest.approx(1, abs=1e-4)
    by_calls = {one["calls"]: one for one in found}
    assert set(by_calls) == {12, 1}
    (part,) = by_calls[12]["routes"]
    assert (part["route"], part["n_plus_one"]) == ("/expensive/{value}", 2)
    assert part["source"].startswith("tests/vitals/db/insight/test_bottlenecks.py:")
    assert part["source"].endswith("expensive")
    assert "once per row (N+1)" in by_calls[12]["advice"][0]
    (only,) = by_calls[1]["routes"]
    assert (only["route"], only["calls"]) == ("/cheap", 1)
    assert only["seconds"] == pytest.approx(by_calls[1]["seconds"], abs=2e-6)
    assert only["source"].endswith("cheap")
    assert "planted" not in answer.text


def test_html_page_escapes_all_data() -> None:
    answer = get_bottlenecks("right", TOKEN | {"accept": "text/html,*/*"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "&lt;i&gt;" in answer.text
    assert "<i>" not in answer.text
    assert "/expensive/{value}" in answer.text
    assert "planted" not in answer.text


def test_each_route_has_its_call_site() -> None:
    app = FastAPI()
    engine = create_engine("sqlite://", poolclass=StaticPool)

    def send() -> None:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    @app.get("/one")
    async def one() -> None:
        send()

    @app.get("/other")
    async def other() -> None:
        send()

    instrument(app, engine=engine, logs=False, admin=lambda _: True)
    for path in ("/one", "/other", "/other", "/one"):
        fetch(app, "GET", path)
    (found,) = fetch(app, "GET", "/vitals/bottlenecks").json()["bottlenecks"]
    engine.dispose()
    assert {part["route"]: part["calls"] for part in found["routes"]} == {"/one": 2, "/other": 2}
    assert all(part["source"] for part in found["routes"])
    assert found["calls"] == 4


async def later(_request: Request) -> bool:
    await asyncio.sleep(0)
    return True


def broken(_request: Request) -> bool:
    raise LookupError("secret")


def teapot(_request: Request) -> bool:
    raise HTTPException(418, "short and stout")


def truthy(_request: Request) -> Any:
    return "no"


@pytest.mark.parametrize(
    ("admin", "headers", "status"),
    [
        (None, TOKEN, 404),
        ("right", {}, 401),
        ("right", {"authorization": "Bearer wrong"}, 401),
        ("right", {"authorization": "Basic right"}, 401),
        ("right", {"authorization": "Bearer ré".encode("latin-1").decode("latin-1")}, 401),
        (lambda _: False, TOKEN, 403),
        (truthy, {}, 403),
        (lambda _: True, {}, 200),
        (later, {}, 200),
        (broken, {}, 503),
        (teapot, {}, 418),
    ],
)
def test_only_administrators_are_authorized(
    admin: Any, headers: dict[str, str], status: int
) -> None:
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = get_bottlenecks(admin, sent)  # type: ignore[arg-type]
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert ("bottlenecks" in answer.text) == (status == 200)


def test_statements_after_the_response_belong_to_no_request() -> None:
    app = FastAPI()
    engine = create_async_engine("sqlite+aiosqlite://")
    answered = asyncio.Event()
    tasks = []

    async def late() -> None:
        await answered.wait()
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    @app.get("/begins")
    async def begins() -> None:
        tasks.append(asyncio.create_task(late()))

    async def run() -> Any:
        transport = ASGITransport(app)
        async with AsyncClient(transport=transport, base_url="http://test") as client:
            await client.get("/begins")
            answered.set()
            await tasks[0]
            answer = await client.get("/vitals/bottlenecks")
        await engine.dispose()
        return answer.json()

    instrument(app, engine=engine, logs=False, admin=lambda _: True)
    (found,) = asyncio.run(run())["bottlenecks"]
    assert [part["route"] for part in found["routes"]] == [""]


def test_put_is_not_allowed() -> None:
    assert get_bottlenecks("right", TOKEN, "PUT").status_code == 405


def test_page_opens_the_statement_of_a_link_and_offers_other_ranges() -> None:
    browser = TOKEN | {"accept": "text/html"}
    (first, *_) = get_bottlenecks("right", TOKEN).json()["bottlenecks"]
    name = first["fingerprint"]
    page = get_bottlenecks("right", browser, address=f"{PATH}?range=1h&statement={name}").text
    assert f"<tr id='{name}' class=wanted>" in page
    assert page.count("<details open>") == 1
    assert "<b>last hour</b>" in page
    assert "<a href='?range=start'>" in page
    page = get_bottlenecks("right", browser, address=f"{PATH}?statement=<i>0").text
    assert "&lt;i&gt;0 was not sent within this time" in page
    assert get_bottlenecks("right", TOKEN, address=f"{PATH}?range=2h").status_code == 400


def test_empty_token_is_rejected() -> None:
    with pytest.raises(ValueError, match="empty token"):
        get_bottlenecks(" ")


def test_statement_stats_are_bounded() -> None:
    stats = StatementStats()
    statement = Statement("SELECT", "SELECT t", "f" * 16, "SELECT ?")
    for number in range(1_000):
        stats.of(f"/{number}", statement).calls += 1
    assert len(list(stats)) == MAX_ROUTES + 1
    assert sum(calls.calls for _, calls in stats) == 1_000


def test_p95_is_not_above_the_slowest_call() -> None:
    found = get_bottlenecks("right", TOKEN).json()["bottlenecks"]
    assert all(one["p95"] <= one["slowest"] for one in found)
