"""Registers a user, logs in, and orders two pieces of the first product: what the test prints."""

import json
import sys
from typing import TypeVar

from shop_client import AuthenticatedClient, Client
from shop_client.api.orders import get_order, place_order
from shop_client.api.products import list_products
from shop_client.api.users import log_in, register_user
from shop_client.models import ItemIn, Login, OrderIn, Problem, ProductSort, Registration

PASSWORD = "correct horse battery staple"
T = TypeVar("T")


def expect(result: T | Problem | None) -> T:
    if result is None or isinstance(result, Problem):
        raise TypeError(result.detail if result else "no data")
    return result


url = sys.argv[1]
anybody = Client(base_url=url, raise_on_unexpected_status=True)
registration = Registration(email="py@example.com", name="Ada", password=PASSWORD)
user = expect(register_user.sync(client=anybody, body=registration))
token = expect(log_in.sync(client=anybody, body=Login(email=user.email, password=PASSWORD)))
client = AuthenticatedClient(base_url=url, token=token.access_token)
page = expect(list_products.sync(client=anybody, sort=ProductSort.PRICE, limit=5))
item = ItemIn(product_id=page.items[0].id, quantity=2)
order = expect(place_order.sync(client=client, body=OrderIn([item]), idempotency_key="first"))
missing = get_order.sync(order.id + 1, client=client)
status = missing.status if isinstance(missing, Problem) else None
json.dump({"order": order.to_dict(), "missing": status}, sys.stdout)
