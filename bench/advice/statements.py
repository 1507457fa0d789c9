"""Statements on a shop without indexes: those that an index helps, and those that none helps."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Statement:
    """A statement as passed to the driver.

    Attributes:
        name: Its purpose.
        sql: Its text, with parameters ``$1``, ``$2``...
        values: Values of the parameters.
        candidate: A plausible index that must turn out not to help.
        indexed: Whether it runs in the shop that has its indexes.
    """

    name: str
    sql: str
    values: tuple[Any, ...] = field(default=())
    candidate: str = ""
    indexed: bool = False


ORDERS_OF_USER = (
    "SELECT * FROM orders WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT 21"
)
CHEAPEST = "SELECT * FROM products WHERE deleted_at IS NULL ORDER BY price_cents, id LIMIT 21"
OF_CATEGORY = (
    "SELECT * FROM products WHERE deleted_at IS NULL AND category = $1 "
    "ORDER BY created_at DESC, id DESC LIMIT 21"
)
SOLD = (
    "SELECT i.product_id, sum(i.quantity) FROM order_items i JOIN orders o ON o.id = i.order_id "
    "WHERE o.created_at >= $1 AND o.status = 'placed' GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
)

HELPED = (
    Statement("orders of a user", ORDERS_OF_USER, (4711,)),
    Statement("how many a user has", "SELECT count(*) FROM orders WHERE user_id = $1", (4711,)),
    Statement(
        "an order by its key",
        "SELECT * FROM orders WHERE user_id = $1 AND idempotency_key = $2",
        (4711, "none"),
    ),
    Statement("orders of three users", "SELECT * FROM orders WHERE user_id IN (5, 4711, 9999)"),
    Statement(
        "the latest orders",
        "SELECT * FROM orders ORDER BY created_at DESC, id DESC LIMIT 21",
    ),
    Statement(
        "orders of the last hour",
        "SELECT count(*) FROM orders WHERE created_at >= $1",
        (NOW - timedelta(hours=1),),
    ),
    Statement(
        "latest cancelled",
        "SELECT * FROM orders WHERE status = $1 ORDER BY created_at DESC LIMIT 10",
        ("cancelled",),
    ),
    Statement(
        "cancelled today",
        "SELECT * FROM orders WHERE status = $1 AND created_at >= $2",
        ("cancelled", NOW - timedelta(days=1)),
    ),
    Statement("the dearest orders", "SELECT * FROM orders ORDER BY total_cents DESC LIMIT 10"),
    Statement("the dearest order", "SELECT max(total_cents) FROM orders"),
    Statement(
        "a user's or the latest",
        "SELECT * FROM orders WHERE user_id = $1 OR created_at >= $2",
        (4711, NOW - timedelta(minutes=10)),
    ),
    Statement(
        "orders by address",
        "SELECT o.* FROM orders o JOIN users u ON u.id = o.user_id WHERE u.email = $1",
        ("admin@example.com",),
    ),
    Statement(
        "orders of each of some users",
        "SELECT u.id, (SELECT count(*) FROM orders o WHERE o.user_id = u.id) FROM users u "
        "WHERE u.id BETWEEN $1 AND $2",
        (100, 105),
    ),
    Statement("who bought a product", "SELECT * FROM order_items WHERE product_id = $1", (777,)),
    Statement(
        "what else was bought",
        "SELECT b.product_id, count(*) FROM order_items a JOIN order_items b USING (order_id) "
        "WHERE a.product_id = $1 GROUP BY 1 ORDER BY 2 DESC LIMIT 5",
        (777,),
    ),
    Statement("sold in the last hours", SOLD, (NOW - timedelta(hours=3),)),
    Statement("the cheapest products", CHEAPEST),
    Statement("the newest of a category", OF_CATEGORY, ("office",)),
    Statement(
        "products of a price",
        "SELECT * FROM products WHERE price_cents BETWEEN $1 AND $2",
        (100_000, 100_100),
    ),
    Statement("a product by name", "SELECT * FROM products WHERE name = $1", ("Oak Desk 7",)),
    Statement("names that begin so", "SELECT * FROM products WHERE name LIKE 'Velvet Atlas 12%'"),
    Statement(
        "a user by address in any case",
        "SELECT * FROM users WHERE lower(email) = $1",
        ("admin@example.com",),
    ),
    Statement(
        "cancel what a user has",
        "UPDATE orders SET status = 'cancelled' WHERE user_id = $1",
        (4711,),
    ),
    Statement("disable_caches a product", "DELETE FROM order_items WHERE product_id = $1", (778,)),
)

NOT_HELPED = (
    Statement("an order by id", "SELECT * FROM orders WHERE id = $1", (4711,)),
    Statement("all orders", "SELECT count(*) FROM orders"),
    Statement(
        "what most orders are",
        "SELECT sum(total_cents) FROM orders WHERE status = $1",
        ("placed",),
        candidate="CREATE INDEX candidate ON orders (status)",
    ),
    Statement(
        "orders of most of the time",
        "SELECT sum(total_cents) FROM orders WHERE created_at >= $1",
        (NOW - timedelta(days=75),),
        candidate="CREATE INDEX candidate ON orders (created_at)",
    ),
    Statement(
        "a deep page",
        "SELECT * FROM orders ORDER BY created_at DESC, id DESC LIMIT 20 OFFSET $1",
        (90_000,),
    ),
    Statement(
        "names with a word",
        "SELECT * FROM products WHERE name LIKE '%Atlas%'",
        candidate="CREATE INDEX candidate ON products (name)",
    ),
    Statement(
        "orders of a day, cast",
        "SELECT count(*) FROM orders WHERE created_at::date = '2026-01-01'",
        candidate="CREATE INDEX candidate ON orders (created_at)",
    ),
    Statement(
        "in a small table",
        "SELECT * FROM carriers WHERE name = $1",
        ("carrier 7",),
        candidate="CREATE INDEX candidate ON carriers (name)",
    ),
    Statement("by id, backwards", "SELECT * FROM orders ORDER BY id DESC LIMIT 20"),
    Statement("nothing of a table", "SELECT 1"),
    Statement("orders of a user, indexed", ORDERS_OF_USER, (4711,), indexed=True),
    Statement("the cheapest, indexed", CHEAPEST, indexed=True),
    Statement("of a category, indexed", OF_CATEGORY, ("office",), indexed=True),
    Statement("sold, indexed", SOLD, (NOW - timedelta(hours=3),), indexed=True),
    Statement(
        "who bought a product, indexed",
        "SELECT * FROM order_items WHERE product_id = $1",
        (777,),
        indexed=True,
    ),
)
SMALL = (
    "CREATE TABLE IF NOT EXISTS carriers AS "
    "SELECT g AS id, 'carrier ' || g AS name FROM generate_series(1, 40) g"
)
