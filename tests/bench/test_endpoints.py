"""The naive endpoints answer what ours answer, and our tools find what is wrong with them."""

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
from bench.endpoints.cases import Client, RefusedError, admin_of, cases
from bench.endpoints.fixtures import Size, Stage, on_sqlite
from bench.endpoints.report import BEGIN, END, write
from bench.load.optimisations import forget
from service.main import build

pytestmark = pytest.mark.anyio
DOCS = Path(__file__).parents[2] / "docs"
SIZE = Size(users=200, products=400, orders=500)
BEST = "/api/reports/best-sellers"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Both shops, small."""
    with on_sqlite(tmp_path_factory.mktemp("shops"), SIZE) as made:
        return made


@pytest.fixture(scope="module")
async def applications(stage: Stage) -> AsyncIterator[tuple[FastAPI, FastAPI]]:
    """Ours and the naive one."""
    ours, first = build(stage.ours), naive.app(stage.naive)
    forget(ours)
    async with LifespanManager(ours), LifespanManager(first):
        yield ours, first


async def test_naive_endpoints_answer_what_ours_answer(
    applications: tuple[FastAPI, FastAPI],
) -> None:
    ours, first = applications
    for case in await cases(ours, SIZE):
        new = content((await case.ours(Client(ours).as_user(case.who))).body)
        old = content((await case.naive(Client(first).as_user(case.who))).body)
        if case.route == BEST:  # the naive one begins at midnight; in a year it is all the same
            new = content((await Client(ours).get(BEST, "days=365")).body)
            old = content((await Client(first).get(BEST, "days=365")).body)
        assert old == new, case.name
        assert new


def content(body: bytes) -> Any:
    """What an answer says, without the way to the next page, and without what is new each time."""
    said = json.loads(body)
    return said.get("items") or {name: said[name] for name in said if name != "access_token"}


async def test_our_tools_name_each_naive_fault(
    stage: Stage, applications: tuple[FastAPI, FastAPI]
) -> None:
    ours, _ = applications
    admin = await admin_of(ours)
    found = await cases(ours, SIZE)
    for case in found:
        said = await evidence.of(stage.naive, case, admin)
        assert said.names(case), (case.name, said.told)
        assert said.plan
    ranking = await evidence.ranking(stage.naive, found, admin)
    assert [one["seconds"] for one in ranking] == sorted(
        (one["seconds"] for one in ranking), reverse=True
    )
    routes = {part["route"] for one in ranking for part in one["routes"]}
    assert routes >= {case.route for case in found}


async def test_what_an_endpoint_refuses_is_not_measured(
    applications: tuple[FastAPI, FastAPI],
) -> None:
    with pytest.raises(RefusedError, match="401"):
        await Client(applications[0]).get("/api/orders")


async def test_every_case_has_a_limit_and_is_told_in_the_docs(
    applications: tuple[FastAPI, FastAPI],
) -> None:
    limits = budget.of("endpoints")
    assert {case.name for case in await cases(applications[0], SIZE)} == set(limits)
    said = (DOCS / "queries.md").read_text()
    drawn = {text.text for text in ET.parse(DOCS / "queries.svg").iter()}  # noqa: S314 - ours
    for name in limits:
        assert f"| {name} |" in said
        assert name in drawn


def test_only_what_is_between_the_marks_is_written(tmp_path: Path) -> None:
    (tmp_path / "queries.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    part = {"route": "/api/orders", "source": "bench/naive.py:7 in go"}
    one = {"share": 0.5, "summary": "SELECT x", "calls": 3, "mean": 0.01, "routes": [part]}
    result = {
        "date": "2026-11-23",
        "machine": "2 processors",
        "size": {"users": 1, "products": 2, "orders": 3},
        "cases": {"a list": {"fault": "slow", "change": "quick"}},
        "systems": {
            "sqlite": {"ratios": {"a list": 0.02}, "told": {"a list": "keyset pagination"},
                       "ranking": [one]},
        },
    }  # fmt: skip
    write(result, tmp_path)
    said = (tmp_path / "queries.md").read_text()
    assert said.startswith("before\n")
    assert said.endswith("after\n")
    assert "old" not in said
    assert "| a list | slow | quick | 0.020 |" in said
    assert "50 x" in (tmp_path / "queries.svg").read_text()
