import asyncio
import json
import re
from typing import Any

import pytest
from httpx import Response

from service.conditional_requests import ETag, Precondition, parse_etags
from service.errors import PreconditionFailedError
from service.middleware import etag
from service.users.tables import Role
from tests.service.process import ROOT
from tests.service.running import Service, problem, running
from vitals.metrics.catalogue import CACHE_REQUESTS, HTTP_REQUEST_DURATION
from vitals.testing import Readings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"a"', [ETag("a")]),
        ('W/"a", "b" ,\t"c,d"', [ETag("a", weak=True), ETag("b"), ETag("c,d")]),
        (', "a",, "b",', [ETag("a"), ETag("b")]),
        ('""', [ETag("")]),
        ("", []),
        ("a", []),
        ('w/"a"', []),
        ('"a" "b"', []),
        ('"a", nonsense', [ETag("a")]),
        ('"a', []),
        ('"' + "," * 100_000, []),
    ],
)
def test_parses_etag_lists(header: str, expected: list[ETag]) -> None:
    assert list(parse_etags(header)) == expected


@pytest.mark.parametrize("header", ['"7"', '"6", "7"', "*", None])
def test_strong_etag_or_star_matches(header: str | None) -> None:
    Precondition.optional(header).check(7)


@pytest.mark.parametrize("header", ['"6"', 'W/"7"', "7", '"07"', "", '"7'])
def test_other_values_do_not_match(header: str) -> None:
    with pytest.raises(PreconditionFailedError) as caught:
        Precondition.optional(header).check(7)
    assert caught.value.headers == {"ETag": '"7"'}


DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text())
CACHED = [
    route
    for route, operations in DOCUMENT["paths"].items()
    if "304" in operations.get("get", {}).get("responses", ())
]
assert "/api/products/{product_id}" in CACHED


def url_of(route: str) -> str:
    """A URL of the first row that a test stores."""
    return re.sub(r"\{\w+\}", "1", route)


@pytest.mark.parametrize("url", [*map(url_of, CACHED), "/api/products?limit=1"])
async def test_304_needs_no_query(service: Service, statements: list[str], url: str) -> None:
    await service.product()
    await service.product(category="garden")
    full = await service.client.get(url)
    assert full.status_code == 200
    assert full.headers["cache-control"].startswith("public, max-age=")
    tag = full.headers["etag"]
    assert tag.startswith('W/"')
    statements.clear()
    for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*", f"{tag}, junk"):
        short = await service.client.get(url, headers={"If-None-Match": known})
        assert (short.status_code, short.content) == (304, b""), known
        for name in ("etag", "cache-control", "vary"):
            assert short.headers[name] == full.headers[name]
        assert "content-type" not in short.headers
    two = [("If-None-Match", '"other"'), ("If-None-Match", tag)]
    assert (await service.client.get(url, headers=two)).status_code == 304
    for unknown in ('"other"', 'W/"other"', tag.strip('W/"'), "junk"):
        again = await service.client.get(url, headers={"If-None-Match": unknown})
        assert (again.status_code, again.content) == (200, full.content), unknown
    assert statements == []


@pytest.mark.parametrize("route", CACHED)
async def test_repeated_conditional_request_skips_parsing(
    light: Service, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await light.product()
    url = url_of(route)
    known = {"If-None-Match": (await light.client.get(url)).headers["etag"]}
    first = await light.client.get(url, headers=known)
    with monkeypatch.context() as patched:
        patched.setattr(light.app.router, "__call__", None, raising=False)
        patched.setattr(type(light.app.router), "__call__", None)
        second = await light.client.get(url, headers=known)
        head = await light.client.head(url, headers=known)
    assert (first.status_code, second.status_code, head.status_code) == (304, 304, 304)
    names = ("etag", "cache-control", "vary")
    assert [first.headers[n] for n in names] == [second.headers[n] for n in names]
    readings = Readings.of(light.app)
    labels = {"http_route": route, "http_response_status_code": "304"}
    assert readings.value(HTTP_REQUEST_DURATION, "_count", **labels) == 3
    assert readings.value(CACHE_REQUESTS, result="hit") == 3
    assert readings.value(CACHE_REQUESTS, result="miss") == 1


async def test_remembered_urls_are_bounded(light: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etag, "MAX_URLS", 3)
    for limit in (*range(1, 8), 1):
        url = f"/api/products?limit={limit}"
        for _ in range(2):
            answer = await light.client.get(url, headers={"If-None-Match": "*"})
            assert answer.status_code == 304
        problem(await light.client.get("/api/products/9", headers={"If-None-Match": "*"}), 404)
    stack: Any = light.app.middleware_stack
    while not isinstance(stack, etag.Revalidation):
        stack = getattr(stack, "app", None) or stack._app
    assert len(stack._known) == 3


@pytest.mark.parametrize("url", ["/api/products/1", "/api/products?limit=1"])
async def test_a_change_is_never_a_304(service: Service, url: str) -> None:
    _, admin = await service.user(Role.ADMIN)
    product = await service.product()
    known = {"If-None-Match": (await service.client.get(url)).headers["etag"]}
    for price in (1, 2):
        await service.client.patch(
            f"/api/products/{product.id}",
            json={"price_cents": price},
            headers=admin | {"If-Match": f'"{price}"'},
        )
        answer = await service.client.get(url, headers=known)
        assert answer.status_code == 200
        assert f'"price_cents":{price}' in answer.text
        known = {"If-None-Match": answer.headers["etag"]}
        for _ in range(2):
            assert (await service.client.get(url, headers=known)).status_code == 304


async def test_order_changes_version_and_etag(service: Service) -> None:
    _, buyer = await service.user()
    product = await service.product()
    url = f"/api/products/{product.id}"
    before = await service.client.get(url)
    lines = {"items": [{"product_id": product.id, "quantity": 1}]}
    order = await service.client.post("/api/orders", json=lines, headers=buyer)
    after = await service.client.get(url, headers={"If-None-Match": before.headers["etag"]})
    assert (before.json()["version"], after.json()["version"]) == (1, 2)
    await service.client.post(f"/api/orders/{order.json()['id']}/cancel", headers=buyer)
    assert (await service.client.get(url)).json()["version"] == 3


async def test_workers_make_equal_etags(service: Service) -> None:
    await service.product()
    async with running(service.app.state.settings) as other:
        for url in map(url_of, CACHED):
            ours, theirs = await service.client.get(url), await other.client.get(url)
            assert ours.headers["etag"] == theirs.headers["etag"]


async def test_missing_resource_is_404_despite_if_none_match(light: Service) -> None:
    problem(await light.client.get("/api/products/1", headers={"If-None-Match": "*"}), 404)


async def patch(service: Service, url: str, admin: dict[str, str], tag: str | None) -> Response:
    headers = admin if tag is None else admin | {"If-Match": tag}
    return await service.client.patch(url, json={"stock": 5}, headers=headers)


async def test_patch_requires_if_match(service: Service) -> None:
    _, admin = await service.user(Role.ADMIN)
    product = await service.product()
    url = f"/api/products/{product.id}"
    problem(await patch(service, url, admin, None), 428, "If-Match")
    for wrong in ('"2"', 'W/"1"', "1", "junk", '"' + "9" * 50 + '"'):
        refused = await patch(service, url, admin, wrong)
        problem(refused, 412, "If-Match")
        assert refused.headers["etag"] == '"1"'
    assert await service.stock(product) == 10
    done = await patch(service, url, admin, '"0", "1"')
    assert (done.status_code, done.headers["etag"], done.json()["version"]) == (200, '"2"', 2)
    problem(await patch(service, url, admin, '"1"'), 412, "If-Match")
    assert (await patch(service, url, admin, "*")).headers["etag"] == '"3"'
    problem(await patch(service, "/api/products/424242", admin, '"1"'), 404)


async def test_second_change_of_same_version_is_412(service: Service) -> None:
    _, admin = await service.user(Role.ADMIN)
    product = await service.product()
    url = f"/api/products/{product.id}"
    answers = await asyncio.gather(*(patch(service, url, admin, '"1"') for _ in range(5)))
    assert sorted(a.status_code for a in answers) == [200, 412, 412, 412, 412]


async def test_delete_supports_if_match(service: Service) -> None:
    _, admin = await service.user(Role.ADMIN)
    for tag, status in (('"2"', 412), ('"1"', 204)):
        product = await service.product()
        url = f"/api/products/{product.id}"
        answer = await service.client.delete(url, headers=admin | {"If-Match": tag})
        assert answer.status_code == status


async def test_a_new_product_has_a_version(light: Service) -> None:
    _, admin = await light.user(Role.ADMIN)
    new = {"name": "Oak desk", "category": "office", "price_cents": 1}
    made = await light.client.post("/api/products", json=new, headers=admin)
    assert (made.headers["etag"], made.json()["version"]) == ('"1"', 1)
