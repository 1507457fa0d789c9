"""The API in a separate process: ``python -m service``."""

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from argon2 import PasswordHasher

from service.db.database import connect
from service.sample_data.bulk_load import fill
from service.sample_data.generator import Shop
from service.settings import Settings
from stack import readiness
from stack.process.process import Program
from tests.servers import Server, temporary_folder

PASSWORD = "made-up-for-tests"


class Api(Server):
    """A process of the API on a random port; it may be killed and restarted.

    Args:
        settings: Environment variables, such as ``SERVICE_DATABASE_URL``; SQLite by default.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        folder, port = temporary_folder(), readiness.free_port()
        defaults = {
            "SERVICE_PORT": str(port),
            "SERVICE_JWT_KEY_FILE": str(folder / "jwt-key"),
            "SERVICE_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/service.db",
            "SERVICE_HASH_MEMORY_KIB": "64",
            "SERVICE_HASH_PASSES": "1",
            "PYTHONUNBUFFERED": "1",
        }
        self.settings = defaults | dict(settings or {})
        program = Program("api", [sys.executable, "-m", "service"], env=self.settings)
        super().__init__(folder, port, program, lambda: readiness.http_answers(port, "/readyz"))

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash."""
        return f"http://{readiness.LOOPBACK}:{self.port}"

    def stock(self, *, users: int = 5, products: int = 40, orders: int = 200) -> None:
        """Fill the empty database; admin and customers have the password ``PASSWORD``."""
        shop = Shop(users=users, products=products, orders=orders, seed=1, until=datetime.now(UTC))
        hashed = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)

        async def write() -> None:
            database = connect(Settings(database_url=self.settings["SERVICE_DATABASE_URL"]))
            try:
                await fill(database, shop, (hashed, hashed))
            finally:
                await database.close()

        asyncio.run(write())
