"""Generator of sample data with a realistic skew; the same seed makes the same data.

Few products take most orders and few customers place many (Zipf), evenings and weekends are
busy, most orders hold one or two products, and some are cancelled.
"""

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.orders.tables import OrderStatus

DAYS = 90
"""Age of the oldest orders."""

ADMIN_EMAIL = "admin@example.com"
CATEGORIES = {
    "books": "Novel Atlas Cookbook Biography Almanac",
    "kitchen": "Kettle Skillet Teapot Grater Carafe",
    "garden": "Trowel Lantern Planter Hose Bench",
    "toys": "Puzzle Kite Robot Marbles Puppet",
    "audio": "Headphones Speaker Turntable Microphone Radio",
    "office": "Notebook Stapler Lamp Chair Organizer",
    "sports": "Racket Mat Helmet Bottle Gloves",
    "clothing": "Jacket Scarf Shirt Socks Cap",
    "travel": "Backpack Suitcase Pillow Adapter Pouch",
    "outdoor": "Tent Compass Hammock Stove Torch",
}
ADJECTIVES = (
    "Quiet Bright Sturdy Gentle Swift Amber Nordic Classic Compact Modern "
    "Silver Humble Golden Rustic Velvet Urban Coastal Alpine Solid Clever"
)
FIRST_NAMES = (
    "Ada Ben Chloe Daniel Emma Farid Grace Hugo Ines Jonas Kim Lena Marco Nora Omar Paula "
    "Quinn Rosa Sam Tara Uma Viktor Wanda Yuna Zoe"
)
LAST_NAMES = (
    "Adler Baker Costa Dubois Eriksen Fischer Garcia Haas Ito Jansen Kaya Lee Moreau Novak "
    "Olsen Park Rossi Silva Tanaka Usman Vega Weber Yilmaz Zhang"
)

HOURS = (2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 14, 15, 13, 12, 12, 13, 16, 20, 24, 25, 21, 13, 6)
"""How busy each hour of the day is, from midnight."""
WEEKDAYS = (1.0, 0.95, 0.95, 1.0, 1.1, 1.3, 1.35)
"""How busy each day of the week is, from Monday."""

ITEM_COUNTS, ITEM_WEIGHTS = (1, 2, 3, 4, 5), (50, 27, 13, 7, 3)
QUANTITIES, QUANTITY_WEIGHTS = (1, 2, 3, 4), (78, 15, 5, 2)
CANCELLED_SHARE = 0.04
STOCK = 1_000_000
"""Of each product, so that traffic does not exhaust it."""


def zipf(count: int, exponent: float) -> list[float]:
    """Cumulative weights of ranks 1 to ``count``: rank r weighs ``1 / r ** exponent``."""
    return list(itertools.accumulate(1 / rank**exponent for rank in range(1, count + 1)))


@dataclass(frozen=True)
class OrderBatch:
    """Some orders, oldest first, and their items; rows are in the order of the columns below."""

    orders: list[tuple[int, int, str, int, datetime, datetime | None]]
    items: list[tuple[int, int, int, int]]


USER_COLUMNS = ("id", "email", "name", "password_hash", "role", "active", "token_version",
                "created_at")  # fmt: skip
PRODUCT_COLUMNS = ("id", "name", "description", "category", "price_cents", "stock", "created_at")
ORDER_COLUMNS = ("id", "user_id", "status", "total_cents", "created_at", "cancelled_at")
ITEM_COLUMNS = ("order_id", "product_id", "quantity", "price_cents")

User = tuple[int, str, str, str, str, bool, int, datetime]
Product = tuple[int, str, str, str, int, int, datetime]


class Shop:
    """Users, products and orders made from one seed.

    Args:
        users: Customers, beside the admin, who has id 1.
        products: Products, ids from 1. Which of them are popular is shuffled.
        orders: Orders, ids from 1, in the order of time.
        seed: The same seed, sizes and moment make the same rows.
        until: The moment of the last order.
    """

    def __init__(self, *, users: int, products: int, orders: int, seed: int, until: datetime):
        self.users, self.products, self.orders = users, products, orders
        self._until = until
        self._seed = seed
        chance = self._chance("prices")
        self._prices = [_price(chance) for _ in range(products)]

    def _chance(self, what: str) -> random.Random:
        """Return a separate random stream per purpose, so that call order does not matter."""
        return random.Random(f"{self._seed} {what}")  # noqa: S311 - sample data

    def people(self, admin_hash: str, demo_hash: str) -> Iterator[User]:
        """The admin, then user1, user2, ...; all customers share one password."""
        opened = self._until - timedelta(days=720)
        yield 1, ADMIN_EMAIL, "Admin", admin_hash, "admin", True, 1, opened
        chance = self._chance("people")
        first, last = FIRST_NAMES.split(), LAST_NAMES.split()
        for number in range(1, self.users + 1):
            name = f"{chance.choice(first)} {chance.choice(last)}"
            email = f"user{number}@example.com"
            joined = self._before_orders(chance, opened)
            yield number + 1, email, name, demo_hash, "user", True, 1, joined

    def goods(self) -> Iterator[Product]:
        """Yield the products."""
        opened = self._until - timedelta(days=720)
        chance = self._chance("goods")
        categories, adjectives = list(CATEGORIES), ADJECTIVES.split()
        shares = zipf(len(categories), 0.6)
        for number, price in enumerate(self._prices, start=1):
            [category] = chance.choices(categories, cum_weights=shares)
            noun = chance.choice(CATEGORIES[category].split())
            name = f"{chance.choice(adjectives)} {noun} {number}"
            about = f"{name}: a fine thing from our {category} department."
            created = self._before_orders(chance, opened)
            yield number, name, about, category, price, STOCK, created

    def _before_orders(self, chance: random.Random, opened: datetime) -> datetime:
        seconds = (self._until - timedelta(days=DAYS) - opened).total_seconds()
        return opened + timedelta(seconds=chance.uniform(0, seconds))

    def sales(self, size: int = 10_000) -> Iterator[OrderBatch]:
        """All orders, in batches of ``size``; memory holds one batch."""
        customers = list(range(2, self.users + 2))
        goods = list(range(1, self.products + 1))
        chance = self._chance("sales")
        chance.shuffle(customers)
        chance.shuffle(goods)
        busy, popular = zipf(self.users, 0.8), zipf(self.products, 1.0)
        moments = self._moments()
        for first in range(1, self.orders + 1, size):
            count = min(size, self.orders - first + 1)
            buyers = chance.choices(customers, cum_weights=busy, k=count)
            baskets = _baskets(chance, count, goods, popular)
            batch = OrderBatch([], [])
            for number, buyer, basket in zip(itertools.count(first), buyers, baskets, strict=False):
                placed = next(moments)
                self._add(batch, chance, placed, number=number, buyer=buyer, basket=basket)
            yield batch

    def _add(
        self,
        batch: OrderBatch,
        chance: random.Random,
        placed: datetime,
        *,
        number: int,
        buyer: int,
        basket: dict[int, int],
    ) -> None:
        total = 0
        for product, quantity in basket.items():
            price = self._prices[product - 1]
            total += quantity * price
            batch.items.append((number, product, quantity, price))
        status, cancelled = OrderStatus.PLACED.value, None
        if chance.random() < CANCELLED_SHARE:
            status = OrderStatus.CANCELLED.value
            wait = timedelta(seconds=chance.expovariate(1 / 1800))
            cancelled = min(placed + wait, self._until)
        batch.orders.append((number, buyer, status, total, placed, cancelled))

    def _moments(self) -> Iterator[datetime]:
        """The times of all orders, ascending, in the rhythm of days and weeks."""
        chance = self._chance("moments")
        hours = [self._until - timedelta(hours=back) for back in range(DAYS * 24, 0, -1)]
        weights = [HOURS[hour.hour] * WEEKDAYS[hour.weekday()] for hour in hours]
        share = self.orders / sum(weights)
        due = 0.0
        placed = 0
        for hour, weight in zip(hours, weights, strict=True):
            due += weight * share
            count = round(due) - placed
            placed += count
            for seconds in sorted(chance.uniform(0, 3600) for _ in range(count)):
                yield hour + timedelta(seconds=seconds)
        while True:  # rounding may leave one more order
            yield self._until


def _price(chance: random.Random) -> int:
    """Cents: around 25.00, few are dear, all end in 9."""
    return min(int(math.exp(chance.gauss(7.8, 0.8))), 250_000) // 10 * 10 + 9


def _baskets(
    chance: random.Random, count: int, goods: Sequence[int], popular: Sequence[float]
) -> Iterator[dict[int, int]]:
    """Quantities by product, one basket per order; a product taken twice is one item."""
    sizes = chance.choices(ITEM_COUNTS, ITEM_WEIGHTS, k=count)
    total = sum(sizes)
    taken = iter(chance.choices(goods, cum_weights=popular, k=total))
    pieces = iter(chance.choices(QUANTITIES, QUANTITY_WEIGHTS, k=total))
    for size in sizes:
        yield dict(itertools.islice(zip(taken, pieces, strict=True), size))
