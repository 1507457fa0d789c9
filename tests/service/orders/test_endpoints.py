import asyncio
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import event, func, select

from service.errors import UnauthorizedError
from service.orders.repository import Wanted, place_order
from service.orders.tables import Order
from service.products.tables import Product
from service.users.tables import Role, User
from tests.service.running import Service, problem

pytestmark = pytest.mark.anyio


def wish(*items: tuple[Product, int]) -> dict[str, Any]:
    return {"items": [{"product_id": p.id, "quantity": quantity} for p, quantity in items]}


async def count_orders(service: Service) -> int | None:
    async with service.database.reading() as session:
        total: int | None = await session.scalar(select(func.count()).select_from(Order))
    return total


async def test_place_show_list_and_cancel(service: Service) -> None:
    _, headers = await service.user()
    desk = await service.product(price_cents=24900, stock=5)
    lamp = await service.product(price_cents=1500, stock=5)

    placed = await service.client.post(
        "/api/orders", json=wish((lamp, 1), (desk, 2)), headers=headers
    )
    assert placed.status_code == 201
    order = placed.json()
    assert order["total_cents"] == 2 * 24900 + 1500
    assert order["status"] == "placed"
    assert (await service.stock(desk), await service.stock(lamp)) == (3, 4)

    url = placed.headers["location"]
    assert (await service.client.get(url, headers=headers)).json() == order
    mine = await service.client.get("/api/orders", headers=headers)
    assert mine.json() == {"items": [order], "next": None}

    for _ in range(2):
        cancelled = (await service.client.post(f"{url}/cancel", headers=headers)).json()
        assert cancelled["status"] == "cancelled"
        assert cancelled["cancelled_at"] is not None
        assert (await service.stock(desk), await service.stock(lamp)) == (5, 5)


async def test_order_keeps_price_at_purchase(service: Service) -> None:
    _, headers = await service.user()
    _, admin = await service.user(Role.ADMIN)
    desk = await service.product(price_cents=100)
    placed = await service.client.post("/api/orders", json=wish((desk, 1)), headers=headers)
    url = f"/api/products/{desk.id}"
    await service.client.patch(url, json={"price_cents": 999}, headers=admin | {"If-Match": "*"})
    await service.client.delete(url, headers=admin)
    shown = await service.client.get(placed.headers["location"], headers=headers)
    assert shown.json() == placed.json()
    assert shown.json()["items"][0]["price_cents"] == 100


async def test_an_order_shows_in_the_stock_of_the_product(service: Service) -> None:
    _, headers = await service.user()
    desk = await service.product(stock=5)
    url = f"/api/products/{desk.id}"
    assert (await service.client.get(url)).json()["stock"] == 5
    placed = await service.client.post("/api/orders", json=wish((desk, 2)), headers=headers)
    assert (await service.client.get(url)).json()["stock"] == 3
    await service.client.post(f"{placed.headers['location']}/cancel", headers=headers)
    assert (await service.client.get(url)).json()["stock"] == 5


async def test_unavailable_products_cannot_be_ordered(service: Service) -> None:
    _, headers = await service.user()
    desk, lamp = await service.product(stock=5), await service.product(stock=1)
    short = wish((desk, 1), (lamp, 1), (lamp, 1))
    answer = await service.client.post("/api/orders", json=short, headers=headers)
    problem(answer, 409, "/items/1/quantity", "/items/2/quantity")
    unknown = wish((desk, 1))
    unknown["items"].append({"product_id": 2**62, "quantity": 1})
    answer = await service.client.post("/api/orders", json=unknown, headers=headers)
    problem(answer, 409, "/items/1/product_id")
    # No stock was taken from the available products.
    assert await service.stock(desk) == 5
    assert await count_orders(service) == 0


async def test_a_deleted_product_cannot_be_ordered(service: Service) -> None:
    _, headers = await service.user()
    _, admin = await service.user(Role.ADMIN)
    desk = await service.product()
    await service.client.delete(f"/api/products/{desk.id}", headers=admin)
    answer = await service.client.post("/api/orders", json=wish((desk, 1)), headers=headers)
    problem(answer, 409, "/items/0/product_id")


async def test_other_users_orders_are_404(service: Service) -> None:
    _, headers = await service.user()
    _, stranger = await service.user()
    _, admin = await service.user(Role.ADMIN)
    desk = await service.product(stock=5)
    placed = await service.client.post("/api/orders", json=wish((desk, 1)), headers=headers)
    url = placed.headers["location"]
    problem(await service.client.get(url), 401)
    problem(await service.client.get(url, headers=stranger), 404)
    problem(await service.client.post(f"{url}/cancel", headers=stranger), 404)
    assert (await service.client.get("/api/orders", headers=stranger)).json()["items"] == []
    assert (await service.client.get(url, headers=admin)).json() == placed.json()
    assert await service.stock(desk) == 4


async def test_orders_are_paged_newest_first(service: Service) -> None:
    _, headers = await service.user()
    desk = await service.product(stock=9)
    for _ in range(5):
        await service.client.post("/api/orders", json=wish((desk, 1)), headers=headers)
    seen: list[int] = []
    url = "/api/orders?limit=2"
    while url:
        answer = await service.client.get(url, headers=headers)
        seen += [order["id"] for order in answer.json()["items"]]
        url = answer.links["next"]["url"] if "next" in answer.links else ""
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "/items"),
        ({"items": []}, "/items"),
        ({"items": [{"product_id": 1}]}, "/items/0/quantity"),
        ({"items": [{"product_id": 1, "quantity": 0}]}, "/items/0/quantity"),
        ({"items": [{"product_id": 1, "quantity": 10**30}]}, "/items/0/quantity"),
        ({"items": [{"product_id": 2**63, "quantity": 1}]}, "/items/0/product_id"),
        ({"items": [{"product_id": 1, "quantity": 1, "price_cents": 0}]}, "/items/0/price_cents"),
        ({"items": [{"product_id": 1, "quantity": 1}] * 51}, "/items"),
        ([], ""),
    ],
)
async def test_bad_orders_name_the_field(light: Service, body: object, where: str) -> None:
    _, headers = await light.user()
    problem(await light.client.post("/api/orders", json=body, headers=headers), 422, where)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "caf\xe9"])
async def test_bad_keys_name_the_header(light: Service, key: str) -> None:
    _, headers = await light.user()
    desk = await light.product()
    sent = [
        (name.encode(), value.encode("latin-1"))
        for name, value in {**headers, "Idempotency-Key": key}.items()
    ]
    answer = await light.client.post("/api/orders", json=wish((desk, 1)), headers=sent)
    problem(answer, 422, "idempotency-key")


async def test_the_same_key_gives_the_same_order(service: Service) -> None:
    _, headers = await service.user()
    _, other = await service.user()
    desk, lamp = await service.product(stock=5), await service.product(stock=5)
    keyed = headers | {"Idempotency-Key": "attempt-1"}
    body = wish((desk, 1), (lamp, 2))
    first = await service.client.post("/api/orders", json=body, headers=keyed)
    again = await service.client.post("/api/orders", json=body, headers=keyed)
    assert again.status_code == first.status_code == 201
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await service.stock(desk) == 4

    changed = await service.client.post("/api/orders", json=wish((desk, 2)), headers=keyed)
    problem(changed, 422, "Idempotency-Key")
    # Idempotency keys are per user.
    others = other | {"Idempotency-Key": "attempt-1"}
    theirs = await service.client.post("/api/orders", json=body, headers=others)
    assert theirs.json()["id"] != first.json()["id"]


async def test_replay_succeeds_after_stock_is_sold(service: Service) -> None:
    _, headers = await service.user()
    desk = await service.product(stock=1)
    keyed = headers | {"Idempotency-Key": "attempt-1"}
    answers = await asyncio.gather(
        *(
            service.client.post("/api/orders", json=wish((desk, 1)), headers=keyed)
            for _ in range(10)
        )
    )
    assert {a.status_code for a in answers} == {201}
    assert len({a.json()["id"] for a in answers}) == 1
    assert sum("idempotency-replayed" in a.headers for a in answers) == 9
    assert await count_orders(service) == 1


async def test_lost_commit_reply_neither_loses_nor_duplicates_order(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, headers = await service.user()
    desk = await service.product(stock=5)
    dialect = service.database.engine.sync_engine.dialect
    commit = dialect.do_commit

    def commit_and_lose_the_connection(connection: Any) -> None:
        commit(connection)
        monkeypatch.setattr(dialect, "do_commit", commit)
        raise ConnectionResetError("lost after the server has committed")

    monkeypatch.setattr(dialect, "do_commit", commit_and_lose_the_connection)
    keyed = headers | {"Idempotency-Key": "attempt-1"}
    body = wish((desk, 1))
    url = f"/api/products/{desk.id}"
    assert (await service.client.get(url)).json()["stock"] == 5
    problem(await service.client.post("/api/orders", json=body, headers=keyed), 503)
    again = await service.client.post("/api/orders", json=body, headers=keyed)
    assert again.status_code == 201
    assert again.headers["idempotency-replayed"] == "true"
    assert await service.stock(desk) == 4
    assert (await service.client.get(url)).json()["stock"] == 4
    assert await count_orders(service) == 1


async def test_refused_order_does_not_consume_its_key(service: Service) -> None:
    _, headers = await service.user()
    _, admin = await service.user(Role.ADMIN)
    desk = await service.product(stock=0)
    keyed = headers | {"Idempotency-Key": "attempt-1"}
    body = wish((desk, 1))
    problem(
        await service.client.post("/api/orders", json=body, headers=keyed),
        409,
        "/items/0/quantity",
    )
    await service.client.patch(
        f"/api/products/{desk.id}", json={"stock": 1}, headers=admin | {"If-Match": "*"}
    )
    assert (await service.client.post("/api/orders", json=body, headers=keyed)).status_code == 201


async def test_concurrent_orders_do_not_oversell(service: Service) -> None:
    buyers = [(await service.user())[1] for _ in range(8)]
    desk, lamp, sofa = [await service.product(stock=12) for _ in range(3)]

    async def buy(number: int) -> int:
        # In every order of products: unordered locking would deadlock.
        pair = [(desk, 1), (lamp, 1), (sofa, 1)]
        chosen = pair if number % 2 else pair[::-1]
        answer = await service.client.post(
            "/api/orders", json=wish(*chosen), headers=buyers[number % len(buyers)]
        )
        return answer.status_code

    statuses = Counter(await asyncio.gather(*(buy(number) for number in range(40))))
    assert statuses == {201: 12, 409: 28}
    assert [await service.stock(product) for product in (desk, lamp, sofa)] == [0, 0, 0]
    assert await count_orders(service) == 12


async def test_products_are_locked_by_id_order(service: Service) -> None:
    # Whether unordered locking deadlocks depends on timing, so the statements are checked too.
    seen: list[str] = []
    engine = service.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *a: seen.append(a[2]))
    _, headers = await service.user()
    desk, lamp = await service.product(), await service.product()
    body = wish((lamp, 1), (desk, 1))
    placed = await service.client.post("/api/orders", json=body, headers=headers)
    await service.client.post(f"{placed.headers['location']}/cancel", headers=headers)
    reads = [s for s in seen if "FROM products" in s and "IN (" in s]
    assert len(reads) == 2
    assert all("ORDER BY products.id" in read for read in reads)
    if engine.dialect.name == "postgresql":
        assert all(read.rstrip().endswith("FOR NO KEY UPDATE") for read in reads)


async def test_concurrent_cancels_return_stock_once(service: Service) -> None:
    _, headers = await service.user()
    desk = await service.product(stock=5)
    placed = await service.client.post("/api/orders", json=wish((desk, 3)), headers=headers)
    url = f"{placed.headers['location']}/cancel"
    answers = await asyncio.gather(*(service.client.post(url, headers=headers) for _ in range(8)))
    assert {a.status_code for a in answers} == {200}
    assert await service.stock(desk) == 5


async def test_concurrent_place_and_cancel_keep_stock_consistent(service: Service) -> None:
    buyers = [(await service.user())[1] for _ in range(4)]
    products = [await service.product(stock=50) for _ in range(3)]

    async def churn(number: int) -> None:
        headers = buyers[number % len(buyers)]
        chosen = products if number % 2 else products[::-1]
        placed = await service.client.post(
            "/api/orders", json=wish(*((p, 1) for p in chosen)), headers=headers
        )
        assert placed.status_code == 201, placed.text
        cancelled = await service.client.post(
            f"{placed.headers['location']}/cancel", headers=headers
        )
        assert cancelled.status_code == 200, cancelled.text

    await asyncio.gather(*(churn(number) for number in range(24)))
    assert [await service.stock(product) for product in products] == [50, 50, 50]


async def test_user_deactivated_meanwhile_cannot_order(service: Service) -> None:
    user, _ = await service.user()
    desk = await service.product()
    async with service.database.writing() as session:
        (await session.get_one(User, user.id)).active = False
    with pytest.raises(UnauthorizedError):
        async with service.database.writing() as session:
            await place_order(session, user.id, Wanted([(desk.id, 1)]))


async def test_best_sellers_sum_what_was_placed(service: Service) -> None:
    _, headers = await service.user()
    desk, lamp, sofa = [await service.product(name=name) for name in ("Desk", "Lamp", "Sofa")]
    for body in (wish((desk, 1), (lamp, 2)), wish((lamp, 3)), wish((sofa, 1))):
        placed = await service.client.post("/api/orders", json=body, headers=headers)
    await service.client.post(f"{placed.headers['location']}/cancel", headers=headers)
    report = (await service.client.get("/api/reports/best-sellers?days=7&limit=2")).json()
    assert report["days"] == 7
    assert [(i["name"], i["pieces"], i["orders"]) for i in report["items"]] == [
        ("Lamp", 5, 2),
        ("Desk", 1, 1),
    ]
    problem(await service.client.get("/api/reports/best-sellers?days=0"), 422, "days")


@pytest.mark.parametrize("change", ["rename", "delete"])
async def test_best_sellers_show_products_as_they_are_now(service: Service, change: str) -> None:
    _, headers = await service.user()
    _, admin = await service.user(Role.ADMIN)
    desk, lamp = [await service.product(name=name) for name in ("Desk", "Lamp")]
    await service.client.post("/api/orders", json=wish((desk, 2), (lamp, 1)), headers=headers)

    async def names() -> list[str]:
        report = (await service.client.get("/api/reports/best-sellers?limit=1")).json()
        return [item["name"] for item in report["items"]]

    assert await names() == ["Desk"]
    path, admin = f"/api/products/{desk.id}", admin | {"If-Match": "*"}
    if change == "rename":
        changed = await service.client.patch(path, json={"name": "Table"}, headers=admin)
    else:
        changed = await service.client.delete(path, headers=admin)
    assert changed.is_success, changed.text
    assert await names() == [{"rename": "Table", "delete": "Lamp"}[change]]


async def test_order_does_not_invalidate_best_sellers(
    service: Service, statements: list[str]
) -> None:
    _, headers = await service.user()
    desk = await service.product()
    await service.client.get("/api/reports/best-sellers")
    placed = await service.client.post("/api/orders", json=wish((desk, 1)), headers=headers)
    assert placed.status_code == 201
    statements.clear()
    await service.client.get("/api/reports/best-sellers")
    assert statements == []
