"""Statements about a shop without indexes: those that an index helps, and those that none does."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Asked:
    """A statement as the driver gets it.

    Attributes:
        name: What it is for.
        sql: Its text; values are ``$1``, ``$2``...
        values: They.
        tried: An index that a person might try, and that must turn out not to help.
        indexed: Whether it is asked in the shop that has its indexes.
    """

    name: str
    sql: str
    values: tuple[Any, ...] = field(default=())
    tried: str = ""
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
    Asked("orders of a user", ORDERS_OF_USER, (4711,)),
    Asked("how many a user has", "SELECT count(*) FROM orders WHERE user_id = $1", (4711,)),
    Asked(
        "an order by its key",
        "SELECT * FROM orders WHERE user_id = $1 AND idempotency_key = $2",
        (4711, "none"),
    ),
    Asked("orders of three users", "SELECT * FROM orders WHERE user_id IN (5, 4711, 9999)"),
    Asked(
        "the latest orders",
        "SELECT * FROM orders ORDER BY created_at DESC, id DESC LIMIT 21",
    ),
    Asked(
        "orders of the last hour",
        "SELECT count(*) FROM orders WHERE created_at >= $1",
        (NOW - timedelta(hours=1),),
    ),
    Asked(
        "latest cancelled",
        "SELECT * FROM orders WHERE status = $1 ORDER BY created_at DESC LIMIT 10",
        ("cancelled",),
    ),
    Asked(
        "cancelled today",
        "SELECT * FROM orders WHERE status = $1 AND created_at >= $2",
        ("cancelled", NOW - timedelta(days=1)),
    ),
    Asked("the dearest orders", "SELECT * FROM orders ORDER BY total_cents DESC LIMIT 10"),
    Asked("the dearest order", "SELECT max(total_cents) FROM orders"),
    Asked(
        "a user's or the latest",
        "SELECT * FROM orders WHERE user_id = $1 OR created_at >= $2",
        (4711, NOW - timedelta(minutes=10)),
    ),
    Asked(
        "orders by address",
        "SELECT o.* FROM orders o JOIN users u ON u.id = o.user_id WHERE u.email = $1",
        ("admin@example.com",),
    ),
    Asked(
        "orders of each of some users",
        "SELECT u.id, (SELECT count(*) FROM orders o WHERE o.user_id = u.id) FROM users u "
        "WHERE u.id BETWEEN $1 AND $2",
        (100, 105),
    ),
    Asked("who bought a product", "SELECT * FROM order_items WHERE product_id = $1", (777,)),
    Asked(
        "what else was bought",
        "SELECT b.product_id, count(*) FROM order_items a JOIN order_items b USING (order_id) "
        "WHERE a.product_id = $1 GROUP BY 1 ORDER BY 2 DESC LIMIT 5",
        (777,),
    ),
    Asked("sold in the last hours", SOLD, (NOW - timedelta(hours=3),)),
    Asked("the cheapest products", CHEAPEST),
    Asked("the newest of a category", OF_CATEGORY, ("office",)),
    Asked(
        "products of a price",
        "SELECT * FROM products WHERE price_cents BETWEEN $1 AND $2",
        (100_000, 100_100),
    ),
    Asked("a product by name", "SELECT * FROM products WHERE name = $1", ("Oak Desk 7",)),
    Asked("names that begin so", "SELECT * FROM products WHERE name LIKE 'Velvet Atlas 12%'"),
    Asked(
        "a user by address in any case",
        "SELECT * FROM users WHERE lower(email) = $1",
        ("admin@example.com",),
    ),
    Asked(
        "cancel what a user has",
        "UPDATE orders SET status = 'cancelled' WHERE user_id = $1",
        (4711,),
    ),
    Asked("forget a product", "DELETE FROM order_items WHERE product_id = $1", (778,)),
)

LEFT_ALONE = (
    Asked("an order by id", "SELECT * FROM orders WHERE id = $1", (4711,)),
    Asked("all orders", "SELECT count(*) FROM orders"),
    Asked(
        "what most orders are",
        "SELECT sum(total_cents) FROM orders WHERE status = $1",
        ("placed",),
        tried="CREATE INDEX tried ON orders (status)",
    ),
    Asked(
        "orders of most of the time",
        "SELECT sum(total_cents) FROM orders WHERE created_at >= $1",
        (NOW - timedelta(days=75),),
        tried="CREATE INDEX tried ON orders (created_at)",
    ),
    Asked(
        "a deep page",
        "SELECT * FROM orders ORDER BY created_at DESC, id DESC LIMIT 20 OFFSET $1",
        (90_000,),
    ),
    Asked(
        "names with a word",
        "SELECT * FROM products WHERE name LIKE '%Atlas%'",
        tried="CREATE INDEX tried ON products (name)",
    ),
    Asked(
        "orders of a day, cast",
        "SELECT count(*) FROM orders WHERE created_at::date = '2026-01-01'",
        tried="CREATE INDEX tried ON orders (created_at)",
    ),
    Asked(
        "in a small table",
        "SELECT * FROM carriers WHERE name = $1",
        ("carrier 7",),
        tried="CREATE INDEX tried ON carriers (name)",
    ),
    Asked("by id, backwards", "SELECT * FROM orders ORDER BY id DESC LIMIT 20"),
    Asked("nothing of a table", "SELECT 1"),
    Asked("orders of a user, indexed", ORDERS_OF_USER, (4711,), indexed=True),
    Asked("the cheapest, indexed", CHEAPEST, indexed=True),
    Asked("of a category, indexed", OF_CATEGORY, ("office",), indexed=True),
    Asked("sold, indexed", SOLD, (NOW - timedelta(hours=3),), indexed=True),
    Asked(
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
