import logging

import pytest

from service.db.database import Database
from tests.service.running import Service, problem

pytestmark = pytest.mark.anyio


async def test_unknown_paths_and_methods_are_problems(light: Service) -> None:
    problem(await light.client.get("/nothing/here"), 404)
    problem(await light.client.get("/api/products/"), 404)
    answer = await light.client.put("/api/products", json={})
    problem(answer, 405)
    assert "GET" in answer.headers["allow"]


async def test_500_reveals_no_internals(light: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: Database) -> None:
        raise RuntimeError("the secret recipe")

    monkeypatch.setattr(Database, "reading", broken)
    answer = await light.client.get("/api/products")
    problem(answer, 500)
    assert "recipe" not in answer.text


async def test_an_outage_names_neither_host_nor_role(
    light: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unreachable(*_arguments: object, **_options: object) -> None:
        raise ConnectionRefusedError("10.1.2.3 refused role shop")

    monkeypatch.setattr("service.db.database.AsyncSession.scalars", unreachable)
    with caplog.at_level(logging.WARNING, logger="service.db.database"):
        answer = await light.client.get("/api/products")
    problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
    assert "10.1.2.3" not in answer.text
    assert "10.1.2.3" in caplog.text


async def test_a_load_that_takes_too_long_is_a_503(
    light: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_arguments: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(light.app.state.catalogue, "categories", late)
    problem(await light.client.get("/api/categories"), 503)


async def test_error_list_is_limited_and_counts_the_rest(light: Service) -> None:
    login = {"email": "ada@example.com", "password": "x"}
    few = await light.client.post("/api/users/login", json=login | {f"m{n}": 0 for n in range(20)})
    assert "more_errors" not in problem(few, 422, *(f"/m{n}" for n in range(20)))
    items = [{f"m{n}": 0 for n in range(10)} for _ in range(3)]
    _, headers = await light.user()
    several = await light.client.post("/api/orders", json={"items": items}, headers=headers)
    assert len(several.json()["errors"]) == 20
    assert several.json()["more_errors"] == 3 * 12 - 20
    many = await light.client.post("/api/users/login", json={f"m{n}": 0 for n in range(9_000)})
    (error,) = problem(many, 422, "")["errors"]
    assert error["detail"] == "has 9000 members, of which at most 2 are known"


async def test_error_location_is_limited(light: Service) -> None:
    body = {"email": "ada@example.com", "password": "x", "~/" * 150: 0, "a/" * 99: 0, "a" * 199: 0}
    answer = await light.client.post("/api/users/login", json=body)
    problem(answer, 422, "", "", "/" + "a" * 199)
