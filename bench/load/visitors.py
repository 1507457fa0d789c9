"""Users under load: a locustfile.

Locust patches sockets and threads of its process, so it runs in a separate one:
`bench.load.scenarios` starts it, and nothing else imports this module.
"""

import os
import random
from itertools import count
from types import MappingProxyType
from typing import Any

from locust import FastHttpUser, constant, task

PRODUCTS = int(os.environ.get("LOAD_PRODUCTS", "1000"))
USERS = int(os.environ.get("LOAD_USERS", "50"))
PASSWORD = os.environ.get("LOAD_PASSWORD", "")
SORTS = ("newest", "name", "price", "-price")

_fresh = count(1)
_people = count(1)


class Visitor(FastHttpUser):
    """Sends the next request as soon as it has a response."""

    abstract = True
    wait_time = constant(0)
    default_headers: Any = MappingProxyType({"Accept-Encoding": "gzip"})

    def log_in(self) -> str:
        """Log in as one of the demo users; returns the token."""
        form = {"email": f"user{next(_people) % USERS + 1}@example.com", "password": PASSWORD}
        with self.client.post("/api/users/login", json=form) as answer:
            return str(answer.json()["access_token"])


class Warm(Visitor):
    """Reads cached lists and products."""

    @task
    def read(self) -> None:
        """Read a list or a product."""
        if random.random() < 0.5:
            self.client.get(f"/api/products?sort={random.choice(SORTS)}", name="list")
        else:
            self.client.get(f"/api/products/{random.randint(1, 20)}", name="product")


class Cold(Visitor):
    """Reads lists that are not cached."""

    @task
    def read(self) -> None:
        """Read a list with a new price range."""
        number = next(_fresh)
        self.client.get(f"/api/products?min_price={number}", name="list")


class FullList(Visitor):
    """Reads a cached list of a hundred products."""

    @task
    def read(self) -> None:
        """Read."""
        self.client.get("/api/products?limit=100", name="whole")


class Revalidation(Visitor):
    """Revalidates the list with its ETag."""

    tag = ""

    def on_start(self) -> None:
        """Read it once."""
        answer: Any = self.client.get("/api/products?limit=100", name="first")
        self.tag = answer.headers["etag"]

    @task
    def ask(self) -> None:
        """Send a conditional request."""
        known = {"If-None-Match": self.tag}
        url = "/api/products?limit=100"
        with self.client.get(url, headers=known, name="again", catch_response=True) as answer:
            if answer.status_code != 304:
                answer.failure(f"{answer.status_code} instead of 304")
            else:
                answer.success()


class Login(Visitor):
    """Logs in again and again."""

    @task
    def enter(self) -> None:
        """Log in."""
        self.log_in()


class Shopper(Visitor):
    """Browses, and sometimes buys."""

    headers: Any = None

    def on_start(self) -> None:
        """Log in."""
        self.headers = {"Authorization": f"Bearer {self.log_in()}"}

    @task(8)
    def browse(self) -> None:
        """Read a page and one of its products."""
        page = self.client.get(f"/api/products?sort={random.choice(SORTS)}", name="list")
        items = page.json()["items"]
        self.client.get(f"/api/products/{random.choice(items)['id']}", name="product")

    @task(2)
    def see_best_sellers(self) -> None:
        """Read the best sellers."""
        self.client.get("/api/reports/best-sellers", name="best sellers")

    @task(1)
    def buy(self) -> None:
        """Place an order, and read the orders."""
        line = {"product_id": random.randint(1, PRODUCTS), "quantity": 1}
        self.client.post("/api/orders", json={"items": [line]}, headers=self.headers, name="order")
        self.client.get("/api/orders", headers=self.headers, name="orders")
