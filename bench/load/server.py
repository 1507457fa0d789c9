"""The API under load: a seeded shop, and the service in a separate process."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import httpx

from service.db.database import connect
from service.sample_data.bulk_load import fill
from service.sample_data.generator import Shop
from service.settings import Settings
from service.users.passwords import Passwords

ROOT = Path(__file__).parents[2]
USERS, PRODUCTS, ORDERS = 200, 100_000, 20_000
UNLIMITED = 10**9


@dataclass(frozen=True)
class SeededDatabase:
    """A seeded database.

    Attributes:
        settings: Settings of the service, without rate limits.
        password: Password of every demo user.
    """

    settings: Settings
    password: str


def prepare(folder: Path, database_url: str = "", redis_url: str = "") -> SeededDatabase:
    """Seed a database, by default SQLite in `folder`; without Redis, caches are in-process."""
    settings = Settings(
        database_url=database_url or f"sqlite+aiosqlite:///{folder}/load.db",
        redis_url=redis_url,
        jwt_key_file=folder / "jwt-key",
        account_attempts=UNLIMITED,
        address_attempts=UNLIMITED,
    )
    password = token_hex(16)
    asyncio.run(_seed(settings, password))
    return SeededDatabase(settings, password)


async def _seed(settings: Settings, password: str) -> None:
    shop = Shop(users=USERS, products=PRODUCTS, orders=ORDERS, seed=1, until=datetime.now(UTC))
    database, passwords = connect(settings), Passwords(settings)
    try:
        hashed = await passwords.hash(password)
        await fill(database, shop, (hashed, hashed))
    finally:
        passwords.close()
        await database.close()


@dataclass(frozen=True)
class Running:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(fixture: SeededDatabase) -> Iterator[Running]:
    """Run the service on a free port until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        f"SERVICE_{name.upper()}": str(value)
        for name, value in fixture.settings.model_dump(exclude_unset=True).items()
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env=os.environ | environment | {"SERVICE_PORT": str(port)},
        stdout=subprocess.DEVNULL,
    )
    running = Running(f"http://127.0.0.1:{port}", process)
    try:
        _wait(running)
        yield running
    finally:
        process.terminate()
        process.wait(30)


def _wait(running: Running, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            if httpx.get(f"{running.url}/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise TimeoutError("the service is not ready: run python -m service to see why")
