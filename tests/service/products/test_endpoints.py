from typing import Any

import pytest

from service.products.repository import SORTS, ProductSort
from service.users.tables import Role
from tests.service.running import Service, problem

pytestmark = pytest.mark.anyio

ANY = {"If-Match": "*"}
DESK = {"name": "Oak desk", "category": "office", "price_cents": 24900, "stock": 3}


async def list_all(service: Service, query: str, *, limit: int = 2) -> list[dict[str, Any]]:
    """Follow `Link: rel="next"` to the end."""
    items: list[dict[str, Any]] = []
    url = f"/api/products?limit={limit}&{query}"
    while url:
        answer = await service.client.get(url)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) <= limit
        items += answer.json()["items"]
        url = answer.links["next"]["url"] if "next" in answer.links else ""
    return items


async def test_create_show_change_and_delete(service: Service) -> None:
    _, admin = await service.user(Role.ADMIN)
    created = await service.client.post("/api/products", json=DESK, headers=admin)
    assert created.status_code == 201
    url = created.headers["location"]
    assert (await service.client.get(url)).json() == created.json()

    changed = await service.client.patch(url, json={"price_cents": 19900}, headers=admin | ANY)
    assert changed.json() == created.json() | {"price_cents": 19900, "version": 2}
    assert (await service.client.get(url)).json() == changed.json()
    assert [p["price_cents"] for p in await list_all(service, "")] == [19900]

    assert (await service.client.delete(url, headers=admin)).status_code == 204
    problem(await service.client.get(url), 404)
    problem(await service.client.delete(url, headers=admin), 404)
    problem(await service.client.patch(url, json={"stock": 1}, headers=admin | ANY), 404)
    assert await list_all(service, "") == []


async def test_new_product_replaces_negative_entry(service: Service) -> None:
    _, admin = await service.user(Role.ADMIN)
    problem(await service.client.get("/api/products/1"), 404)
    await service.client.post("/api/products", json=DESK, headers=admin)
    assert (await service.client.get("/api/products/1")).status_code == 200


@pytest.mark.parametrize("sort", list(ProductSort))
async def test_each_sort_order_pages_through_everything_once(
    service: Service, sort: ProductSort
) -> None:
    # Equal prices and names: only the tie-breaker keeps pages apart.
    for number, price in enumerate((300, 100, 300, 200, 300, 100, 300)):
        category = ("office", "garden")[number % 2]
        await service.product(price_cents=price, name=f"Lamp {price}", category=category)
    listed = await list_all(service, f"sort={sort}")
    assert len({product["id"] for product in listed}) == len(listed) == 7
    key = {
        ProductSort.NEWEST: lambda p: -p["id"],
        ProductSort.NAME: lambda p: (p["name"], p["id"]),
        ProductSort.PRICE: lambda p: (p["price_cents"], p["id"]),
        ProductSort.PRICE_DOWN: lambda p: (-p["price_cents"], -p["id"]),
        ProductSort.CATEGORY: lambda p: (p["category"], -p["id"]),
    }[sort]
    assert listed == sorted(listed, key=key)


async def test_filters_by_category_text_and_price(service: Service) -> None:
    await service.product(name="Oak desk", category="office", price_cents=500)
    await service.product(name="Oak bench", category="garden", price_cents=300)
    await service.product(name="100% cotton_sheet", category="bed", price_cents=100)

    async def names(query: str) -> list[str]:
        return [product["name"] for product in await list_all(service, f"sort=name&{query}")]

    assert await names("category=garden") == ["Oak bench"]
    assert await names("text=OAK") == ["Oak bench", "Oak desk"]
    assert await names("text=%25") == ["100% cotton_sheet"]
    assert await names("text=_") == ["100% cotton_sheet"]
    assert await names("min_price=300&max_price=400") == ["Oak bench"]
    assert await names("category=nowhere") == []
    categories = await service.client.get("/api/categories")
    assert categories.json() == {"items": ["bed", "garden", "office"]}


async def test_row_inserted_between_pages_shifts_nothing(service: Service) -> None:
    for price in (100, 300):
        await service.product(price_cents=price)
    first = await service.client.get("/api/products?sort=price&limit=1")
    await service.product(price_cents=50)
    rest = await service.client.get(first.links["next"]["url"])
    assert [p["price_cents"] for p in rest.json()["items"]] == [300]


async def test_cursor_is_bound_to_its_list(light: Service) -> None:
    for _ in range(3):
        await light.product()
    answer = await light.client.get("/api/products?limit=1&sort=price&category=office")
    cursor = answer.json()["next"]
    good = await light.client.get(
        f"/api/products?limit=2&sort=price&category=office&cursor={cursor}"
    )
    assert good.status_code == 200
    other = "B" if cursor[0] == "A" else "A"
    for query in (
        f"sort=name&category=office&cursor={cursor}",
        f"sort=price&cursor={cursor}",
        f"sort=price&category=office&cursor={cursor[:-1]}",
        f"sort=price&category=office&cursor={other + cursor[1:]}",
        "cursor=",
        "cursor=%00",
        "cursor=é",
        "cursor=W10",
    ):
        answer = await light.client.get(f"/api/products?{query}")
        problem(answer, 400, "cursor")
    _, admin = await light.user(Role.ADMIN)
    problem(await light.client.get(f"/api/users?cursor={cursor}", headers=admin), 400, "cursor")


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=999999999999999999999999", "limit"),
        ("limit=x", "limit"),
        ("sort=random", "sort"),
        ("text=%00", "text"),
        ("text=", "text"),
        ("category=%00", "category"),
        ("min_price=-1", "min_price"),
        ("max_price=99999999999999999999", "max_price"),
    ],
)
async def test_bad_queries_name_the_parameter(light: Service, query: str, where: str) -> None:
    problem(await light.client.get(f"/api/products?{query}"), 422, where)


@pytest.mark.parametrize("product_id", ["0", "-1", str(2**63), "9" * 5000, "x", "1.5", "%00"])
async def test_bad_ids_name_the_parameter(light: Service, product_id: str) -> None:
    problem(await light.client.get(f"/api/products/{product_id}"), 422, "product_id")


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"stock": -1}, "/stock"),
        ({"price_cents": -1}, "/price_cents"),
        ({"price_cents": 2**64}, "/price_cents"),
        ({"price_cents": "100"}, "/price_cents"),
        ({"price_cents": 1.5}, "/price_cents"),
        ({"name": None}, "/name"),
        ({"name": " "}, "/name"),
        ({"description": "a\x00b"}, "/description"),
        ({"id": 1}, "/id"),
        ({"a/b~c": 1}, "/a~1b~0c"),
    ],
)
async def test_bad_products_name_the_field(
    light: Service, wrong: dict[str, Any], where: str
) -> None:
    _, admin = await light.user(Role.ADMIN)
    product = await light.product()
    created = await light.client.post("/api/products", json=DESK | wrong, headers=admin)
    problem(created, 422, where)
    url = f"/api/products/{product.id}"
    problem(await light.client.patch(url, json=wrong, headers=admin), 422, where)


async def test_an_empty_change_is_refused(light: Service) -> None:
    _, admin = await light.user(Role.ADMIN)
    product = await light.product()
    answer = await light.client.patch(f"/api/products/{product.id}", json={}, headers=admin)
    problem(answer, 422, "")


async def test_only_admins_write(light: Service) -> None:
    _, headers = await light.user()
    product = await light.product()
    for method, url in (
        ("POST", "/api/products"),
        ("PATCH", f"/api/products/{product.id}"),
        ("DELETE", f"/api/products/{product.id}"),
    ):
        body: dict[str, Any] = {} if method == "DELETE" else {"json": DESK}
        problem(await light.client.request(method, url, **body), 401)
        problem(await light.client.request(method, url, headers=headers, **body), 403)
    assert await light.stock(product) == 10


@pytest.mark.parametrize("sort", list(SORTS))
async def test_a_page_is_one_range_of_an_index(
    service: Service, statements: list[str], sort: ProductSort
) -> None:
    for _ in range(3):
        await service.product()
    cursor = (await service.client.get(f"/api/products?limit=1&sort={sort}")).json()["next"]
    statements.clear()
    await service.client.get(f"/api/products?limit=1&sort={sort}&cursor={cursor}")
    (statement,) = statements
    *equal, last = SORTS[sort].groups
    comparison = "<" if last.descending else ">"
    columns = ", ".join(f"products.{column.key}" for column in last.columns)
    assert f"({columns}) {comparison} (" in statement
    assert all(f"products.{c.key} = " in statement for run in equal for c in run.columns)
    assert " OR " not in statement
    # For SQLite, SQLAlchemy adds OFFSET 0 after each LIMIT.
    assert "OFFSET" not in statement.removesuffix("OFFSET ?")
    assert "count(" not in statement.lower()


async def test_second_read_is_served_from_cache(service: Service, statements: list[str]) -> None:
    product = await service.product()
    for url in (f"/api/products/{product.id}", "/api/products?sort=name", "/api/categories"):
        first = await service.client.get(url)
        statements.clear()
        assert (await service.client.get(url)).json() == first.json()
        assert statements == []
