"""The service whose requests are slow, each for one reason: ``target.py LOOP PORT``."""

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextvars import Context
from typing import Annotated, Any

import anyio.to_thread
import httpx
import redis.asyncio
import uvicorn
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, BeforeValidator, PlainSerializer
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.types import ASGIApp, Receive, Scope, Send

from vitals import HttpClients, instrument, watch
from vitals.asgi.request_context import RequestContext
from vitals.asgi.request_times import PARTS
from vitals.host import Host

SLOW = 0.2
"""Seconds that the one reason takes."""
CHUNKS, CHUNK = 400, b"x" * 65_536
"""A body that no socket's buffers hold."""


def slowly(value: Any) -> Any:
    """Take the time, on the loop."""
    time.sleep(SLOW)
    return value


class Question(BaseModel):
    """A body that is slow to check."""

    number: Annotated[int, BeforeValidator(slowly)]


class Answer(BaseModel):
    """An answer that is slow to render."""

    number: Annotated[int, PlainSerializer(slowly)]


class Kept:
    """A probe that keeps the parts of each request by its route."""

    def __init__(self) -> None:
        self.parts: defaultdict[str, list[dict[str, float]]] = defaultdict(list)

    def attach(self, host: Host) -> None:
        """Keep from now on."""
        host.on_finished(self._keep)

    def _keep(self, request: RequestContext) -> None:
        if request.parts is not None:
            self.parts[request.route].append(dict(zip(PARTS, request.parts, strict=True)))


class SlowLayer:
    """A middleware that is slow for one path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope.get("path") == "/middleware":
            await asyncio.sleep(SLOW)
        await self.app(scope, receive, send)


def elsewhere(work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Run what is no request's."""
    return asyncio.get_running_loop().create_task(work, context=Context())


async def slow_dependency() -> AsyncIterator[int]:
    """Be slow."""
    await asyncio.sleep(SLOW)
    yield 1


def make(port: int) -> FastAPI:  # noqa: C901, PLR0915  # every reason
    """The service."""
    app = FastAPI()
    app.add_middleware(SlowLayer)
    database, address = os.environ["DATABASE"], os.environ["REDIS"]
    engine = create_async_engine(database, pool_size=1, max_overflow=0)
    client = redis.asyncio.Redis.from_url(address)
    other = redis.asyncio.Redis.from_url(address)
    outgoing = httpx.AsyncClient()
    lock = asyncio.Lock()
    kept = Kept()

    @app.get("/kept")
    async def parts(route: str) -> list[dict[str, float]]:
        return kept.parts.pop(route, [])

    @app.get("/quick")
    @app.get("/queue")
    @app.get("/middleware")
    async def quick() -> int:
        return 1

    @app.get("/dependencies")
    async def dependencies(number: Annotated[int, Depends(slow_dependency)]) -> int:
        return number

    @app.post("/validation")
    async def validation(question: Question) -> int:
        return question.number

    @app.get("/endpoint")
    async def endpoint() -> int:
        await asyncio.sleep(SLOW)
        return 1

    @app.get("/endpoint-in-a-thread")
    def endpoint_in_a_thread() -> int:
        return int(slowly(1))

    @app.get("/query")
    async def query() -> int:
        async with engine.connect() as connection:
            await connection.execute(text(f"SELECT pg_sleep({SLOW})"))
        return 1

    @app.get("/cache")
    async def cache() -> int:
        await other.client_pause(int(SLOW * 1000))
        await client.get("key")
        return 1

    @app.get("/http_call")
    async def http_call() -> int:
        await outgoing.get(f"http://127.0.0.1:{port}/endpoint")
        return 1

    @app.get("/pool_wait")
    async def pool_wait() -> int:
        held = asyncio.Event()

        async def hold() -> None:
            async with engine.connect():
                held.set()
                await asyncio.sleep(SLOW)

        task = elsewhere(hold())
        await held.wait()
        async with engine.connect():
            await task
        return 1

    @app.get("/lock")
    async def waits_for_lock() -> int:
        await lock.acquire()
        asyncio.get_running_loop().call_later(SLOW, lock.release)
        async with lock:
            return 1

    @app.get("/thread")
    async def thread() -> int:
        limiter = anyio.to_thread.current_default_thread_limiter()
        tokens, limiter.total_tokens = limiter.total_tokens, 1
        held = elsewhere(anyio.to_thread.run_sync(slowly, None))
        await asyncio.sleep(0)
        try:
            await anyio.to_thread.run_sync(int)
            await held
        finally:
            limiter.total_tokens = tokens
        return 1

    @app.get("/serialisation")
    async def serialisation() -> Answer:
        return Answer(number=1)

    @app.get("/sending")
    async def sending() -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            for _ in range(CHUNKS):
                yield CHUNK

        return StreamingResponse(body())

    instrument(app, engine=engine, service_name="parts", logs=False, probes=[HttpClients(), kept])
    watch(client, cache="parts")
    return app


if __name__ == "__main__":
    uvicorn.run(make(int(sys.argv[2])), port=int(sys.argv[2]), loop=sys.argv[1], log_level="error")
