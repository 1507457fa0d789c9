"""The bottlenecks page of the API, for admins only."""

import pytest

from service.users.tables import Role
from tests.service.running import Service
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


async def test_other_users_cannot_read_it(light: Service) -> None:
    _, user = await light.user()
    for headers in ({}, user, {"Authorization": "Bearer nonsense"}):
        assert (await light.client.get(PATH, headers=headers)).status_code == 403
