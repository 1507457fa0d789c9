"""The naive endpoints return the same as ours, and our tools find their faults."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from bench import budget
from bench.endpoints import evidence, naive
from bench.endpoints.cases import Client, ResponseError, admin_of, cases
from bench.endpoints.fixtures import Fixture, Size, on_sqlite
from bench.endpoints.report import BEGIN, END, write
from bench.load.optimisations import disable_caches
from service.main import build

pytestmark = pytest.mark.anyio
DOCS = Path(__file__).parents[2] / "docs"
SIZE = Size(users=200, products=400, orders=500)
BEST = "/api/reports/best-sellers"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Fixture:
    """Both shops, small."""
    with on_sqlite(tmp_path_factory.mktemp("shops"), SIZE) as made:
        return made


@pytest.fixture(scope="module")
async def applications(fixture: Fixture) -> AsyncIterator[tuple[FastAPI, FastAPI]]:
    """Our application and the naive one."""
    ours, first = build(fixture.ours), naive.app(fixture.naive)
    disable_caches(ours)
    async with LifespanManager(ours), LifespanManager(first):
        yield ours, first


async def test_naive_endpoints_return_the_same_content(
    applications: tuple[FastAPI, FastAPI],
) -> None:
    ours, first = applications
    for case in await cases(ours, SIZE):
        new = content((await case.ours(Client(ours).as_user(case.user))).body)
        old = content((await case.naive(Client(first).as_user(case.user))).body)
        if case.route == BEST:  # the naive one starts at midnight; equal over a year
            new = content((await Client(ours).get(BEST, "days=365")).body)
            old = content((await Client(first).get(BEST, "days=365")).body)
        assert old == new, case.name
        assert new


def content(body: bytes) -> Any:
    """The content of a response, without the cursor and without the token."""
    output = json.loads(body)
    items = output.get("items")
    return items or {name: output[name] for name in output if name != "access_token"}


async def test_our_tools_find_each_naive_fault(
    fixture: Fixture, applications: tuple[FastAPI, FastAPI]
) -> None:
    ours, _ = applications
    admin = await admin_of(ours)
    found = await cases(ours, SIZE)
    for case in found:
        output = await evidence.of(fixture.naive, case, admin)
        assert output.finding_for(case), (case.name, output.findings)
        assert output.plan
    ranking = await evidence.ranking(fixture.naive, found, admin)
    assert [one["seconds"] for one in ranking] == sorted(
        (one["seconds"] for one in ranking), reverse=True
    )
    routes = {part["route"] for one in ranking for part in one["routes"]}
    assert routes >= {case.route for case in found}


async def test_an_error_response_is_not_measured(
    applications: tuple[FastAPI, FastAPI],
) -> None:
    with pytest.raises(ResponseError, match="401"):
        await Client(applications[0]).get("/api/orders")


async def test_every_case_has_a_budget_and_is_in_the_docs(
    applications: tuple[FastAPI, FastAPI],
) -> None:
    limits = budget.of("endpoints")
    assert {case.name for case in await cases(applications[0], SIZE)} == set(limits)
    output = (DOCS / "queries.md").read_text()
    drawn = {text.text for text in ET.parse(DOCS / "queries.svg").iter()}  # noqa: S314 - ours
    for name in limits:
        assert f"| {name} |" in output
        assert name in drawn


def test_only_the_text_between_the_markers_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "queries.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    part = {"route": "/api/orders", "source": "bench/naive.py:7 in go"}
    one = {"share": 0.5, "summary": "SELECT x", "calls": 3, "mean": 0.01, "routes": [part]}
    result = {
        "date": "2026-11-23",
        "machine": "2 processors",
        "size": {"users": 1, "products": 2, "orders": 3},
        "cases": {"a list": {"fault": "slow", "change": "quick"}},
        "systems": {
            "sqlite": {"ratios": {"a list": 0.02}, "findings": {"a list": "page by key"},
                       "ranking": [one]},
        },
    }  # fmt: skip
    write(result, tmp_path)
    output = (tmp_path / "queries.md").read_text()
    assert output.startswith("before\n")
    assert output.endswith("after\n")
    assert "old" not in output
    assert "| a list | slow | quick | 0.020 |" in output
    assert "50 x" in (tmp_path / "queries.svg").read_text()
