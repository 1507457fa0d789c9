"""The fuzzed service with everything on, and the invariants of its responses and logs."""

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

TIMEOUT = 10.0
"""Seconds until a missing response counts as an error; most take a millisecond."""

UNLIMITED = 10**9

TOKEN = "Zx9-Vq7_" * 6
"""A secret recognised by its pattern: it must not be logged anywhere."""

PASSWORD = "hunter-two-7"  # noqa: S105 - planted
"""A secret recognised by its field name: planted only where the name stays intact."""


class InvariantError(Exception):
    """An invariant was violated."""


@dataclass(frozen=True)
class Attempt:
    """A request, which may violate the protocol.

    Attributes:
        method: Upper-case method.
        path: Path without a query.
        headers: As in ASGI; `authorization` is added if authenticated.
        parts: The chunks of the body.
        authenticated: Whether the caller is an admin.
        waits: Whether the client sends the whole body, and waits for the response.
    """

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    parts: tuple[bytes, ...]
    authenticated: bool
    waits: bool


class LeakDetector(io.StringIO):
    """A log stream that keeps only lines that contain a secret."""

    def __init__(self) -> None:
        super().__init__()
        self.leaked = ""
        self.lines = 0

    def write(self, text: str) -> int:
        """Check written lines."""
        self.lines += text.count("\n")
        if TOKEN in text or PASSWORD in text:
            self.leaked += text
        return len(text)


class Target:
    """The service, in this process.

    Args:
        app: The application.
        token: Access token of an admin.
        log: Its log stream.
    """

    def __init__(self, app: FastAPI, token: str, log: LeakDetector) -> None:
        self._app = app
        self._authorization = (b"authorization", f"Bearer {token}".encode())
        self.log = log

    async def send(self, attempt: Attempt) -> int:
        """Send a request; returns the status of the response, 0 if the client did not wait for it.

        Raises:
            InvariantError: It took too long, failed, had no response, or leaked a secret.
        """
        try:
            return await self._send(attempt)
        except InvariantError as error:
            raise InvariantError(f"{error}: {attempt}") from error

    async def _send(self, attempt: Attempt) -> int:
        sent: list[Any] = []
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._request(attempt, sent)
        except TimeoutError as error:
            raise InvariantError("no response") from error
        except Exception as error:
            raise InvariantError(f"responds 500 for {error!r}") from error
        for handler in logging.getLogger().handlers:
            handler.flush()
        if self.log.leaked:
            leaked, self.log.leaked = self.log.leaked, ""
            raise InvariantError(f"a secret was logged: {leaked}")
        starts: list[int] = [message["status"] for message in sent if "status" in message]
        if len(starts) > 1 or (attempt.waits and not starts):
            raise InvariantError(f"responds {starts}")
        if not attempt.waits:  # the application gets a ClientDisconnect then
            return 0
        if starts[0] >= 500:
            raise InvariantError(f"responds {starts[0]}")
        return starts[0]

    async def _request(self, attempt: Attempt, sent: list[Any]) -> None:
        parts = list(attempt.parts)

        async def receive() -> dict[str, Any]:
            if parts:
                more = len(parts) > 1 or not attempt.waits
                return {"type": "http.request", "body": parts.pop(0), "more_body": more}
            if attempt.waits:
                await asyncio.Event().wait()  # as with a client that waits for the response
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        authenticated = (self._authorization,) if attempt.authenticated else ()
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
            "headers": [(b"host", b"test"), *attempt.headers, *authenticated],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8_000),
        }
        try:
            await self._app(scope, receive, send)
        except ClientDisconnect:  # raised to the reader of the body
            if attempt.waits:
                raise


@asynccontextmanager
async def target(folder: Path) -> AsyncIterator[Target]:
    """The service on an empty database, logging all bodies, with endpoints that echo them."""
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
    _add_echo_endpoints(app)
    log = LeakDetector()
    configure("fuzz", stream=log)
    try:
        async with LifespanManager(app):
            token = await _seed(app)
            yield Target(app, token, log)
    finally:
        unconfigure()


def _add_echo_endpoints(app: FastAPI) -> None:
    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type=request.headers.get("content-type"))

    @app.post("/stream")
    async def stream(request: Request) -> StreamingResponse:
        body = await request.body()
        parts = iter((body[:7], body[7:]))
        return StreamingResponse(parts, media_type=request.headers.get("content-type"))

    @app.post("/unread")
    async def unread() -> str:
        return "not read"


async def _seed(app: FastAPI) -> str:
    """Store a product and an admin; returns an access token of the admin."""
    database: Database = app.state.database
    tokens: AccessTokens = app.state.tokens
    hashed = await app.state.passwords.hash("long enough to be one")
    admin = User(email="ada@example.com", name="Ada", password_hash=hashed, role=Role.ADMIN)
    async with database.writing() as session:
        session.add(admin)
        session.add(Product(name="Oak desk", category="office", price_cents=1000, stock=10))
    return tokens.issue(admin)
