"""The service with everything on, and what may never happen when somebody asks it something."""

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from asgi_lifespan import LifespanManager
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from service.auth import AccessTokens
from service.db.database import Database
from service.main import build
from service.products.tables import Product
from service.settings import Settings
from service.users.tables import Role, User
from vitals import BodyLogging
from vitals.logging.setup import configure, unconfigure

PATIENCE = 10.0
"""Seconds after which it is taken that no answer will come; most take a millisecond."""

UNLIMITED = 10**9

TOKEN = "Zx9-Vq7_" * 6
"""A secret by its looks: wherever it stands whole, nobody may read it."""

PASSWORD = "hunter-two-7"  # noqa: S105 - planted
"""A secret by the name it stands under: planted only where that name stays intact."""


class BrokenPromiseError(Exception):
    """Something happened that never may."""


@dataclass(frozen=True)
class Attempt:
    """A request as somebody makes it who need not keep to anything.

    Attributes:
        method: In capitals.
        path: Without a query.
        headers: As ASGI has them; `authorization` is added where the caller is known.
        parts: The body, in the parts that it comes in.
        known: Whether an admin asks.
        stays: Whether the client sends the end of the body, and waits for the answer.
    """

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    parts: tuple[bytes, ...]
    known: bool
    stays: bool


class Watched(io.StringIO):
    """A stream that keeps nothing but what gives a secret away."""

    def __init__(self) -> None:
        super().__init__()
        self.told = ""
        self.lines = 0

    def write(self, text: str) -> int:
        """Look through lines."""
        self.lines += text.count("\n")
        if TOKEN in text or PASSWORD in text:
            self.told += text
        return len(text)


class Target:
    """The service, in this process.

    Args:
        app: It.
        token: Of an admin.
        log: What it logs.
    """

    def __init__(self, app: FastAPI, token: str, log: Watched) -> None:
        self._app = app
        self._authorization = (b"authorization", f"Bearer {token}".encode())
        self.log = log

    async def judge(self, attempt: Attempt) -> int:
        """Make an attempt; returns the status of its answer, 0 where nobody waited for it.

        Raises:
            BrokenPromiseError: It took too long, failed, was not answered, or was told too much of.
        """
        try:
            return await self._judge(attempt)
        except BrokenPromiseError as error:
            raise BrokenPromiseError(f"{error}: {attempt}") from error

    async def _judge(self, attempt: Attempt) -> int:
        sent: list[Any] = []
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ask(attempt, sent)
        except TimeoutError as error:
            raise BrokenPromiseError("no answer") from error
        except Exception as error:
            raise BrokenPromiseError(f"answers 500 for {error!r}") from error
        for handler in logging.getLogger().handlers:
            handler.flush()
        if self.log.told:
            told, self.log.told = self.log.told, ""
            raise BrokenPromiseError(f"a secret was told: {told}")
        starts: list[int] = [message["status"] for message in sent if "status" in message]
        if len(starts) > 1 or (attempt.stays and not starts):
            raise BrokenPromiseError(f"answers {starts}")
        if not attempt.stays:  # and whoever read the body was told so, which none survives
            return 0
        if starts[0] >= 500:
            raise BrokenPromiseError(f"answers {starts[0]}")
        return starts[0]

    async def _ask(self, attempt: Attempt, sent: list[Any]) -> None:
        parts = list(attempt.parts)

        async def receive() -> dict[str, Any]:
            if parts:
                more = len(parts) > 1 or not attempt.stays
                return {"type": "http.request", "body": parts.pop(0), "more_body": more}
            if attempt.stays:
                await asyncio.Event().wait()  # as a client does that waits for its answer
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        known = (self._authorization,) if attempt.known else ()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": attempt.method,
            "path": attempt.path,
            "raw_path": attempt.path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [(b"host", b"test"), *attempt.headers, *known],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8_000),
        }
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:  # as whoever reads a body is told
            if attempt.stays:
                raise


@asynccontextmanager
async def target(folder: Path) -> AsyncIterator[Target]:
    """The service on an empty database, telling all bodies, with endpoints that repeat them."""
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{folder}/fuzz.db",
        jwt_key_file=folder / "jwt-key",
        account_attempts=UNLIMITED,
        address_attempts=UNLIMITED,
        hash_memory_kib=64,
        hash_passes=1,
    )
    everything = BodyLogging(share=1.0, lines_per_second=UNLIMITED, text=True)
    with patch("service.main.BodyLogging", return_value=everything):
        app = build(settings)
    _repeat(app)
    log = Watched()
    configure("fuzz", stream=log)
    try:
        async with LifespanManager(app):
            token = await _furnish(app)
            yield Target(app, token, log)
    finally:
        unconfigure()


def _repeat(app: FastAPI) -> None:
    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type=request.headers.get("content-type"))

    @app.post("/stream")
    async def stream(request: Request) -> StreamingResponse:
        body = await request.body()
        parts = iter((body[:7], body[7:]))
        return StreamingResponse(parts, media_type=request.headers.get("content-type"))

    @app.post("/deaf")
    async def deaf() -> str:
        return "not read"


async def _furnish(app: FastAPI) -> str:
    """Store a product and an admin; returns a token of the latter."""
    database: Database = app.state.database
    tokens: AccessTokens = app.state.tokens
    hashed = await app.state.passwords.hash("long enough to be one")
    admin = User(email="ada@example.com", name="Ada", password_hash=hashed, role=Role.ADMIN)
    async with database.writing() as session:
        session.add(admin)
        session.add(Product(name="Oak desk", category="office", price_cents=1000, stock=10))
    return tokens.issue(admin)
