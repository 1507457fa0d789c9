import asyncio
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from service.db.database import connect
from service.sample_data.bulk_load import NotEmptyError, fill
from service.sample_data.generator import DAYS, Shop
from service.seed import arguments, run
from service.settings import Settings
from tests.servers import Postgres

UNTIL = datetime(2026, 5, 17, 12, tzinfo=UTC)


def shop(orders: int = 3000, seed: int = 1) -> Shop:
    return Shop(users=200, products=100, orders=orders, seed=seed, until=UNTIL)


def command(url: str, secrets: Path, *more: str) -> list[str]:
    files = (f"--{who}-password-file={secrets / who}" for who in ("admin", "demo"))
    return [f"--database-url={url}", *files, *more]


def query(url: str, statement: str) -> list[Any]:
    async def ask() -> list[Any]:
        database = connect(Settings(database_url=url))
        try:
            async with database.reading() as session:
                return list(await session.execute(text(statement)))
        finally:
            await database.close()

    return asyncio.run(ask())


def plant(url: str, planted: Shop) -> None:
    async def write() -> None:
        database = connect(Settings(database_url=url))
        try:
            await fill(database, planted, ("admin's hash", "customers' hash"))
        finally:
            await database.close()

    asyncio.run(write())


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/shop.db"


def test_seed_determines_the_data() -> None:
    def rows(made: Shop) -> list[object]:
        return [*made.people("a", "b"), *made.goods(), *made.sales(700)]

    assert rows(shop()) == rows(shop())
    assert rows(shop()) != rows(shop(seed=2))


def test_orders_follow_zipf_distributions() -> None:
    taken: Counter[int] = Counter()
    buyers: Counter[int] = Counter()
    for batch in shop(orders=20_000).sales():
        taken.update(product for _, product, *_ in batch.items)
        buyers.update(user for _, user, *_ in batch.orders)

    assert sum(count for _, count in taken.most_common(10)) > 0.4 * taken.total()
    assert sum(count for _, count in buyers.most_common(20)) > 0.2 * buyers.total()
    assert len(buyers) == 200  # every customer buys


def test_orders_follow_daily_and_weekly_patterns() -> None:
    moments = [order[4] for batch in shop(orders=20_000).sales() for order in batch.orders]
    by_hour = Counter(moment.hour for moment in moments)
    by_day = Counter(moment.weekday() for moment in moments)

    assert moments == sorted(moments)
    assert UNTIL - timedelta(days=DAYS) <= moments[0]
    assert moments[-1] <= UNTIL
    assert by_hour[20] > 5 * by_hour[3]
    assert by_day[6] > by_day[1]


def test_rows_are_consistent(sqlite: str, tmp_path: Path) -> None:
    options = arguments(command(sqlite, tmp_path, "--users=50", "--products=40", "--orders=2000"))

    assert "2,000 orders" in asyncio.run(run(options))

    assert query(sqlite, "SELECT count(*) FROM orders") == [(2000,)]
    wrong_total = """
        SELECT orders.id FROM orders JOIN order_items ON order_id = orders.id
        GROUP BY orders.id, total_cents HAVING total_cents != sum(quantity * price_cents)"""
    assert query(sqlite, wrong_total) == []
    assert query(sqlite, "PRAGMA foreign_key_check") == []
    [(empty, large)] = query(
        sqlite,
        "SELECT min(n), max(n) FROM (SELECT count(order_items.order_id) AS n FROM orders "
        "LEFT JOIN order_items ON order_id = orders.id GROUP BY orders.id)",
    )
    assert (empty, large) == (1, 5)
    [(cancelled, without_moment)] = query(
        sqlite,
        "SELECT count(*), sum(cancelled_at IS NULL) FROM orders WHERE status = 'cancelled'",
    )
    assert 20 < cancelled < 200
    assert without_moment == 0
    too_early = """
        SELECT orders.id FROM orders JOIN users ON users.id = user_id
        WHERE users.created_at > orders.created_at"""
    assert query(sqlite, too_early) == []


def test_admin_and_customers_log_in_with_the_passwords_of_the_files(
    sqlite: str, tmp_path: Path
) -> None:
    (tmp_path / "admin").write_text("correct horse\n")
    options = arguments(command(sqlite, tmp_path, "--users=3", "--products=2", "--orders=5"))
    asyncio.run(run(options))

    people = query(sqlite, "SELECT email, role, password_hash FROM users ORDER BY id")

    assert [(email, role) for email, role, _ in people] == [
        ("admin@example.com", "admin"),
        ("user1@example.com", "user"),
        ("user2@example.com", "user"),
        ("user3@example.com", "user"),
    ]
    hashes = [stored for *_, stored in people]
    assert PasswordHasher().verify(hashes[0], "correct horse")
    demo = tmp_path / "demo"
    assert demo.stat().st_mode & 0o777 == 0o600
    assert PasswordHasher().verify(hashes[3], demo.read_text().strip())


def test_filled_database_is_kept_without_reset(sqlite: str, tmp_path: Path) -> None:
    plant(sqlite, shop(orders=100))
    again = command(sqlite, tmp_path, "--users=3", "--products=2", "--orders=5")

    with pytest.raises(NotEmptyError, match="users"):
        asyncio.run(run(arguments(again)))
    assert query(sqlite, "SELECT count(*) FROM orders") == [(100,)]

    asyncio.run(run(arguments([*again, "--reset"])))
    assert query(sqlite, "SELECT count(*) FROM orders") == [(5,)]


@pytest.mark.slow
def test_the_refusal_says_what_to_do(sqlite: str, tmp_path: Path) -> None:
    plant(sqlite, shop(orders=10))

    def again(*options: str) -> subprocess.CompletedProcess[str]:
        words = command(sqlite, tmp_path, *options)
        return subprocess.run(
            [sys.executable, "-m", "service.seed", *words],
            capture_output=True,
            text=True,
            check=False,
        )

    refused, content = again(), again("--if-empty")

    assert refused.returncode == 1
    assert "--reset" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (content.returncode, content.stderr) == (0, "")
    assert content.stdout.startswith("not seeded: ")
    assert query(sqlite, "SELECT count(*) FROM orders") == [(10,)]


@pytest.mark.servers
def test_postgres_has_same_data_and_sequences_continue(postgres: Postgres) -> None:
    url = postgres.database()

    plant(url, shop())

    rows = [order for batch in shop().sales() for order in batch.orders]
    stored = query(
        url,
        "SELECT id, user_id, status, total_cents, created_at, cancelled_at FROM orders ORDER BY id",
    )
    assert [tuple(row) for row in stored] == rows
    name = url.rpartition("/")[2]
    placed = postgres.sql(
        "INSERT INTO orders (user_id, status, total_cents, created_at) "
        "VALUES (2, 'placed', 1, now()) RETURNING id",
        database=name,
    )
    assert placed.split()[0] == "3001"


@pytest.mark.servers
def test_killed_seed_leaves_nothing_and_can_be_repeated(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.database()
    large = command(url, tmp_path, "--users=100", "--products=100", "--orders=1000000")
    writing = "SELECT count(*) FROM pg_stat_activity WHERE state != 'idle' AND query LIKE 'COPY%'"

    with subprocess.Popen([sys.executable, "-m", "service.seed", *large]) as killed:
        deadline = time.monotonic() + 30
        while postgres.sql(writing).strip() == "0" and time.monotonic() < deadline:
            assert killed.poll() is None
        killed.kill()
    while postgres.sql(writing).strip() != "0" and time.monotonic() < deadline:
        pass  # the server notices that its client is gone

    counts = "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM orders)"
    assert query(url, counts) == [(0,)]
    plant(url, shop(orders=10))
    assert query(url, "SELECT count(*) FROM orders") == [(10,)]
