"""What visitors of the demo shop do: look around, buy, change their mind, get things wrong."""

import itertools
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

AWAY = frozenset((502, 503, 504))
ORDER_ATTEMPTS = 5
SECONDS_BETWEEN_LOGINS = 4.0
"""Each login costs the API a password hash; visitors stay logged in instead."""
USED_PRODUCTS = 500

Answered = Callable[[str, float], None]
"""Told the status (or ``"no answer"``) of every request and the seconds it took."""
Turn = Callable[[], Awaitable[None]]


class AwayError(Exception):
    """The shop does not answer, or says that it cannot right now."""


class Shop:
    """The API as visitors see it.

    Args:
        client: Connected to the API's address.
        chance: Decides everything that is left to chance.
        turn: Waited for before each request: it sets the pace.
        answered: Told of each answer.
        password: Of the demo users; None when none can log in.
        admin_password: Of the admin, likewise.
        users: Only the first so many log in.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        chance: random.Random,
        turn: Turn,
        answered: Answered,
        *,
        password: str | None = None,
        admin_password: str | None = None,
        users: int = 50,
    ) -> None:
        self.chance = chance
        self._client = client
        self._turn = turn
        self._answered = answered
        self._password = password
        self._admin_password = admin_password
        self._admin_token: str | None = None
        self._users = users
        self._tokens: dict[int, str] = {}
        self._next_login = 0.0
        self._products: list[int] = []
        self._popularity: list[float] = []

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send one request when its turn has come.

        Raises:
            AwayError: No answer, or one that says "later".
        """
        await self._turn()
        started = time.monotonic()
        try:
            response = await self._client.request(method, path, **more)
        except httpx.TransportError as error:
            self._answered("no answer", time.monotonic() - started)
            raise AwayError from error
        self._answered(str(response.status_code), time.monotonic() - started)
        if response.status_code in AWAY:
            raise AwayError
        return response

    async def product(self) -> int:
        """The id of a product, popular ones more often."""
        if not self._products:
            await self._look_at_shelves()
        [product] = self.chance.choices(self._products, cum_weights=self._popularity)
        return product

    async def _look_at_shelves(self) -> None:
        sold = (await self.ask("GET", "/api/reports/best-sellers", params={"limit": 100})).json()
        found = [item["product_id"] for item in sold["items"]]
        query: dict[str, Any] = {"limit": 100}
        while len(found) < USED_PRODUCTS:
            page = (await self.ask("GET", "/api/products", params=query)).json()
            found += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        if not found:
            raise AwayError("an empty shop: wait for its products")
        self._products = list(dict.fromkeys(found))
        ranks = range(1, len(self._products) + 1)
        self._popularity = list(itertools.accumulate(1 / rank for rank in ranks))

    async def login(self) -> dict[str, str] | None:
        """The headers of somebody who is logged in; None when nobody can be right now."""
        if self._password is not None and time.monotonic() >= self._next_login:
            self._next_login = time.monotonic() + SECONDS_BETWEEN_LOGINS
            user = self.chance.randint(1, self._users)
            token = await self._token(f"user{user}@example.com", self._password)
            if token is not None:
                self._tokens[user] = token
        if not self._tokens:
            return None
        return {"Authorization": f"Bearer {self.chance.choice(list(self._tokens.values()))}"}

    async def login_admin(self) -> dict[str, str] | None:
        """The headers of the admin; None when the admin cannot log in."""
        if self._admin_token is None and self._admin_password is not None:
            self._admin_token = await self._token("admin@example.com", self._admin_password)
        return (self._admin_token and {"Authorization": f"Bearer {self._admin_token}"}) or None

    async def _token(self, email: str, password: str) -> str | None:
        form = {"email": email, "password": password}
        response = await self.ask("POST", "/api/users/login", json=form)
        return str(response.json()["access_token"]) if response.is_success else None

    def refused(self, headers: dict[str, str]) -> None:
        """Forget a login that has expired."""
        gone = headers["Authorization"].removeprefix("Bearer ")
        self._tokens = {user: token for user, token in self._tokens.items() if token != gone}
        if self._admin_token == gone:
            self._admin_token = None


async def browse(shop: Shop) -> None:
    """Look through a category, page by page, and at some things in it."""
    categories = (await shop.ask("GET", "/api/categories")).json()["items"]
    query: dict[str, Any] = {"sort": shop.chance.choice(("newest", "name", "price", "-price"))}
    if categories and shop.chance.random() < 0.8:  # noqa: PLR2004 - a share
        query["category"] = shop.chance.choice(categories)
    for _ in range(shop.chance.choice((1, 1, 2, 3))):
        page = (await shop.ask("GET", "/api/products", params=query)).json()
        for item in shop.chance.sample(page["items"], min(2, len(page["items"]))):
            await shop.ask("GET", f"/api/products/{item['id']}")
        if page["next"] is None:
            return
        query["cursor"] = page["next"]


async def window_shop(shop: Shop) -> None:
    """See what others buy."""
    await shop.ask("GET", "/api/reports/best-sellers")
    for _ in range(shop.chance.randint(1, 4)):
        await shop.ask("GET", f"/api/products/{await shop.product()}")


async def search(shop: Shop) -> None:
    """Look for a word; most are found."""
    word = shop.chance.choice(("Lamp", "Kettle", "Nordic", "Tent", "Puzzle", "zebra"))
    await shop.ask("GET", "/api/products", params={"text": word})


async def buy(shop: Shop) -> None:
    """Log in, order, look at the orders, sometimes cancel."""
    headers = await shop.login()
    if headers is None:
        return
    me = await shop.ask("GET", "/api/users/me", headers=headers)
    if me.status_code == httpx.codes.UNAUTHORIZED:
        shop.refused(headers)
        return
    wanted = {await shop.product() for _ in range(shop.chance.choice((1, 1, 1, 2, 3)))}
    for product in wanted:
        await shop.ask("GET", f"/api/products/{product}")
    placed = await order(shop, headers, wanted)
    await shop.ask("GET", "/api/orders", params={"limit": 10}, headers=headers)
    if placed.is_success and shop.chance.random() < 0.1:  # noqa: PLR2004 - a share
        await shop.ask("POST", f"/api/orders/{placed.json()['id']}/cancel", headers=headers)


async def order(shop: Shop, headers: dict[str, str], products: set[int]) -> httpx.Response:
    """Place an order; an answer that is lost is asked for again, by the same key.

    Raises:
        AwayError: Every attempt was in vain.
    """
    items = [{"product_id": product, "quantity": shop.chance.randint(1, 2)} for product in products]
    headers = headers | {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(ORDER_ATTEMPTS - 1):
        try:
            return await shop.ask("POST", "/api/orders", json={"items": items}, headers=headers)
        except AwayError:
            continue
    return await shop.ask("POST", "/api/orders", json={"items": items}, headers=headers)


async def tend(shop: Shop) -> None:
    """Work as the admin: see who is there, change a price."""
    headers = await shop.login_admin()
    if headers is None:
        return
    people = await shop.ask("GET", "/api/users", params={"limit": 20}, headers=headers)
    if people.status_code == httpx.codes.UNAUTHORIZED:
        shop.refused(headers)
        return
    path = f"/api/products/{await shop.product()}"
    shown = await shop.ask("GET", path)
    if shown.is_success:
        price = round(shown.json()["price_cents"] * shop.chance.uniform(0.95, 1.05))
        # Somebody who buys it meanwhile changes it too: then the price stays for now.
        version = {"If-Match": f'"{shown.json()["version"]}"'}
        await shop.ask("PATCH", path, json={"price_cents": price}, headers=headers | version)


async def stumble(shop: Shop) -> None:
    """Make a mistake of the kinds that every API sees."""
    mistake = shop.chance.randrange(6)
    if mistake == 0:
        await shop.ask("GET", f"/api/products/{shop.chance.randint(10**9, 10**10)}")
    elif mistake == 1:
        await shop.ask("GET", "/robots.txt")
    elif mistake == 2:  # noqa: PLR2004 - the third kind
        await shop.ask("GET", "/api/products", params={"limit": 0})
    elif mistake == 3:  # noqa: PLR2004 - the fourth
        headers = await shop.login() or {}
        await shop.ask("POST", "/api/orders", json={"items": []}, headers=headers)
    elif mistake == 4:  # noqa: PLR2004 - the fifth
        await shop.ask("GET", "/api/users/me")
    else:
        await shop.ask("GET", "/api/orders", headers={"Authorization": "Bearer expired"})


JOURNEYS = {browse: 40, window_shop: 30, search: 10, buy: 17, stumble: 8, tend: 1}
"""What visitors come for, and how often."""
