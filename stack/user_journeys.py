"""User journeys of the demo shop: browsing, search, orders, admin work and client errors."""

import itertools
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

UNAVAILABLE = frozenset((502, 503, 504))
ORDER_ATTEMPTS = 5
SECONDS_BETWEEN_LOGINS = 4.0
"""Each login costs the API a password hash, so visitors stay logged in."""
USED_PRODUCTS = 500

OnResponse = Callable[[str, float], None]
"""Called with the status (or ``"no response"``) of every request and its duration in seconds."""
Wait = Callable[[], Awaitable[None]]


class ShopUnavailableError(Exception):
    """The shop does not respond, or responds with 502, 503 or 504."""


class ShopClient:
    """HTTP client of the shop's API, shared by all visitors.

    Args:
        client: Connected to the API.
        rng: Source of all random choices.
        wait: Awaited before each request; sets the request rate.
        on_response: Called for each response.
        password: Password of the demo users; None to never log in.
        admin_password: Password of the admin, likewise.
        users: Number of demo users that log in.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        rng: random.Random,
        wait: Wait,
        on_response: OnResponse,
        *,
        password: str | None = None,
        admin_password: str | None = None,
        users: int = 50,
    ) -> None:
        self.rng = rng
        self._client = client
        self._wait = wait
        self._on_response = on_response
        self._password = password
        self._admin_password = admin_password
        self._admin_token: str | None = None
        self._users = users
        self._tokens: dict[int, str] = {}
        self._next_login = 0.0
        self._products: list[int] = []
        self._popularity: list[float] = []

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send one request at its scheduled time.

        Raises:
            ShopUnavailableError: No response, or one with 502, 503 or 504.
        """
        await self._wait()
        started = time.monotonic()
        try:
            response = await self._client.request(method, path, **more)
        except httpx.TransportError as error:
            self._on_response("no response", time.monotonic() - started)
            raise ShopUnavailableError from error
        self._on_response(str(response.status_code), time.monotonic() - started)
        if response.status_code in UNAVAILABLE:
            raise ShopUnavailableError
        return response

    async def product(self) -> int:
        """The id of a product, popular ones more often."""
        if not self._products:
            await self._load_products()
        [product] = self.rng.choices(self._products, cum_weights=self._popularity)
        return product

    async def _load_products(self) -> None:
        sold = (
            await self.request("GET", "/api/reports/best-sellers", params={"limit": 100})
        ).json()
        found = [item["product_id"] for item in sold["items"]]
        query: dict[str, Any] = {"limit": 100}
        while len(found) < USED_PRODUCTS:
            page = (await self.request("GET", "/api/products", params=query)).json()
            found += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        if not found:
            raise ShopUnavailableError("no products yet")
        self._products = list(dict.fromkeys(found))
        ranks = range(1, len(self._products) + 1)
        self._popularity = list(itertools.accumulate(1 / rank for rank in ranks))

    async def login(self) -> dict[str, str] | None:
        """Headers of a logged-in user; None if no login is available now."""
        if self._password is not None and time.monotonic() >= self._next_login:
            self._next_login = time.monotonic() + SECONDS_BETWEEN_LOGINS
            user = self.rng.randint(1, self._users)
            token = await self._token(f"user{user}@example.com", self._password)
            if token is not None:
                self._tokens[user] = token
        if not self._tokens:
            return None
        return {"Authorization": f"Bearer {self.rng.choice(list(self._tokens.values()))}"}

    async def login_admin(self) -> dict[str, str] | None:
        """Headers of the admin; None if the admin cannot log in."""
        if self._admin_token is None and self._admin_password is not None:
            self._admin_token = await self._token("admin@example.com", self._admin_password)
        return (self._admin_token and {"Authorization": f"Bearer {self._admin_token}"}) or None

    async def _token(self, email: str, password: str) -> str | None:
        form = {"email": email, "password": password}
        response = await self.request("POST", "/api/users/login", json=form)
        return str(response.json()["access_token"]) if response.is_success else None

    def forget_login(self, headers: dict[str, str]) -> None:
        """Forget a login that has expired."""
        expired = headers["Authorization"].removeprefix("Bearer ")
        self._tokens = {user: token for user, token in self._tokens.items() if token != expired}
        if self._admin_token == expired:
            self._admin_token = None


async def browse(shop: ShopClient) -> None:
    """Page through a category, and open some of its products."""
    categories = (await shop.request("GET", "/api/categories")).json()["items"]
    query: dict[str, Any] = {"sort": shop.rng.choice(("newest", "name", "price", "-price"))}
    if categories and shop.rng.random() < 0.8:  # noqa: PLR2004 - a share
        query["category"] = shop.rng.choice(categories)
    for _ in range(shop.rng.choice((1, 1, 2, 3))):
        page = (await shop.request("GET", "/api/products", params=query)).json()
        for item in shop.rng.sample(page["items"], min(2, len(page["items"]))):
            await shop.request("GET", f"/api/products/{item['id']}")
        if page["next"] is None:
            return
        query["cursor"] = page["next"]


async def window_shop(shop: ShopClient) -> None:
    """Look at the best sellers and some products."""
    await shop.request("GET", "/api/reports/best-sellers")
    for _ in range(shop.rng.randint(1, 4)):
        await shop.request("GET", f"/api/products/{await shop.product()}")


async def search(shop: ShopClient) -> None:
    """Search for a word; most have results."""
    word = shop.rng.choice(("Lamp", "Kettle", "Nordic", "Tent", "Puzzle", "zebra"))
    await shop.request("GET", "/api/products", params={"text": word})


async def buy(shop: ShopClient) -> None:
    """Log in, order, look at the orders, sometimes cancel."""
    headers = await shop.login()
    if headers is None:
        return
    me = await shop.request("GET", "/api/users/me", headers=headers)
    if me.status_code == httpx.codes.UNAUTHORIZED:
        shop.forget_login(headers)
        return
    wanted = {await shop.product() for _ in range(shop.rng.choice((1, 1, 1, 2, 3)))}
    for product in wanted:
        await shop.request("GET", f"/api/products/{product}")
    placed = await order(shop, headers, wanted)
    await shop.request("GET", "/api/orders", params={"limit": 10}, headers=headers)
    if placed.is_success and shop.rng.random() < 0.1:  # noqa: PLR2004 - a share
        await shop.request("POST", f"/api/orders/{placed.json()['id']}/cancel", headers=headers)


async def order(shop: ShopClient, headers: dict[str, str], products: set[int]) -> httpx.Response:
    """Place an order; retry a lost response with the same idempotency key.

    Raises:
        ShopUnavailableError: Every attempt failed.
    """
    items = [{"product_id": product, "quantity": shop.rng.randint(1, 2)} for product in products]
    headers = headers | {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(ORDER_ATTEMPTS - 1):
        try:
            return await shop.request("POST", "/api/orders", json={"items": items}, headers=headers)
        except ShopUnavailableError:
            continue
    return await shop.request("POST", "/api/orders", json={"items": items}, headers=headers)


async def administer(shop: ShopClient) -> None:
    """Work as the admin: list users, change a price."""
    headers = await shop.login_admin()
    if headers is None:
        return
    people = await shop.request("GET", "/api/users", params={"limit": 20}, headers=headers)
    if people.status_code == httpx.codes.UNAUTHORIZED:
        shop.forget_login(headers)
        return
    path = f"/api/products/{await shop.product()}"
    shown = await shop.request("GET", path)
    if shown.is_success:
        price = round(shown.json()["price_cents"] * shop.rng.uniform(0.95, 1.05))
        # An order in between changes the version: the update fails and the price stays.
        version = {"If-Match": f'"{shown.json()["version"]}"'}
        await shop.request("PATCH", path, json={"price_cents": price}, headers=headers | version)


async def make_mistake(shop: ShopClient) -> None:
    """Send one of the invalid requests that every API gets."""
    mistake = shop.rng.randrange(6)
    if mistake == 0:
        await shop.request("GET", f"/api/products/{shop.rng.randint(10**9, 10**10)}")
    elif mistake == 1:
        await shop.request("GET", "/robots.txt")
    elif mistake == 2:  # noqa: PLR2004 - the third kind
        await shop.request("GET", "/api/products", params={"limit": 0})
    elif mistake == 3:  # noqa: PLR2004 - the fourth
        headers = await shop.login() or {}
        await shop.request("POST", "/api/orders", json={"items": []}, headers=headers)
    elif mistake == 4:  # noqa: PLR2004 - the fifth
        await shop.request("GET", "/api/users/me")
    else:
        await shop.request("GET", "/api/orders", headers={"Authorization": "Bearer expired"})


JOURNEYS = {browse: 40, window_shop: 30, search: 10, buy: 17, make_mistake: 8, administer: 1}
"""The journeys, with their weights."""
