"""The real app in this process, on a real database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient, Response
from sqlalchemy import select

from service.auth import AccessTokens
from service.db.database import Database
from service.main import build
from service.products.tables import Product
from service.settings import Settings
from service.users.tables import Role, User

PASSWORD = "correct horse battery staple"
_numbers = count(1)


@dataclass(frozen=True)
class Service:
    """A running service and a client that talks to it."""

    app: FastAPI
    client: AsyncClient

    @property
    def database(self) -> Database:
        database: Database = self.app.state.database
        return database

    async def user(self, role: Role = Role.USER) -> tuple[User, dict[str, str]]:
        """Store a user; return it and its request headers."""
        hashed = await self.app.state.passwords.hash(PASSWORD)
        user = User(
            email=f"user{next(_numbers)}@example.com", name="Ada", password_hash=hashed, role=role
        )
        async with self.database.writing() as session:
            session.add(user)
        tokens: AccessTokens = self.app.state.tokens
        return user, {"Authorization": f"Bearer {tokens.issue(user)}"}

    async def product(self, **columns: Any) -> Product:
        """Store a product."""
        defaults = {"name": "Oak desk", "category": "office", "price_cents": 1000, "stock": 10}
        product = Product(**defaults | columns)
        async with self.database.writing() as session:
            session.add(product)
        return product

    async def stock(self, product: Product) -> int | None:
        """Return a product's stock in the database."""
        async with self.database.reading() as session:
            left: int | None = await session.scalar(
                select(Product.stock).where(Product.id == product.id)
            )
        return left


def settings_for(folder: Path, database_url: str = "", **others: Any) -> Settings:
    """Return settings for a test: cheap hashes, files in ``folder``."""
    defaults: dict[str, Any] = {
        "database_url": database_url or f"sqlite+aiosqlite:///{folder}/service.db",
        "jwt_key_file": folder / "jwt-key",
        "hash_memory_kib": 64,
        "hash_passes": 1,
    }
    return Settings(**defaults | others)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    """Start the service and stop it again."""
    app = build(settings)
    # A defect must appear as a 500, as clients see it, and not as an exception.
    transport = ASGITransport(app, raise_app_exceptions=False)
    async with (
        LifespanManager(app, startup_timeout=30, shutdown_timeout=30),
        AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        yield Service(app, client)


def problem(response: Response, status: int, *where: str) -> dict[str, Any]:
    """Expect problem details with a status, naming exactly these locations."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    named = [
        fault.get("pointer", fault.get("parameter", fault.get("header")))
        for fault in body.get("errors", [])
    ]
    assert named == list(where), body
    return body
