"""The bottlenecks page of the API, for admins only."""

import pytest

from service.users.tables import Role
from tests.service.running import PASSWORD, Service
from vitals.db.insight.bottlenecks_page import PATH

pytestmark = pytest.mark.anyio


async def test_admins_read_the_ranked_list(service: Service) -> None:
    _, admin = await service.user(Role.ADMIN)
    product = await service.product()
    assert (await service.client.get(f"/api/products/{product.id}")).status_code == 200
    answer = await service.client.get(PATH, headers=admin)
    assert answer.status_code == 200
    routes = {
        part["route"]: part["source"]
        for one in answer.json()["bottlenecks"]
        for part in one["routes"]
    }
    assert routes["/api/products/{product_id}"].startswith("service/products/")


async def test_admins_log_in_with_a_browser(light: Service) -> None:
    person, _ = await light.user(Role.ADMIN)
    browser = {"accept": "text/html", "origin": str(light.client.base_url).rstrip("/")}
    asked = await light.client.get(PATH, headers=browser)
    assert asked.status_code == 401
    assert "name=password" in asked.text
    wrong = {"name": person.email, "password": "not the password"}
    for form in (wrong, {"name": "no address", "password": "x"}, {"name": person.email}):
        refused = await light.client.post(PATH, data=form, headers=browser)
        assert (refused.status_code, refused.cookies.get("vitals_admin")) == (401, None)
        assert "wrong name or password" in refused.text
    form = {"name": person.email, "password": PASSWORD}
    entered = await light.client.post(f"{PATH}?range=1h", data=form, headers=browser)
    assert (entered.status_code, entered.headers["location"]) == (303, f"{PATH}?range=1h")
    shown = await light.client.get(entered.headers["location"], headers=browser)
    assert shown.status_code == 200
    assert "Statements by total database time" in shown.text
    light.client.cookies.clear()


async def test_other_users_cannot_log_in(light: Service) -> None:
    person, _ = await light.user()
    form = {"name": person.email, "password": PASSWORD}
    refused = await light.client.post(PATH, data=form, headers={"accept": "text/html"})
    assert (refused.status_code, refused.cookies.get("vitals_admin")) == (403, None)
    assert "for administrators only" in refused.text


async def test_other_users_cannot_read_it(light: Service) -> None:
    _, user = await light.user()
    for headers in ({}, user, {"Authorization": "Bearer nonsense"}):
        assert (await light.client.get(PATH, headers=headers)).status_code == 403
