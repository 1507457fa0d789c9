"""A service whose requests fail and are slow in every way that a service has, beside the API.

Outside of everything that the kit sees stands a clock of the bench's own.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import BackgroundTasks, FastAPI, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stack.readiness import LOOPBACK
from vitals import Objective, instrument

NAME = "kept"
TIMES = "times.jsonl"
"""The file in the folder to which the clock writes a trace id and seconds for each request."""
THRESHOLD = 0.25
_SLOW = 0.4
_log = logging.getLogger(__name__)


class Clock:
    """Measures each request outside of the instrumented application.

    Args:
        app: The application.
        times: Where to write.
    """

    def __init__(self, app: ASGIApp, times: Path) -> None:
        self._app = app
        self._times = os.open(times, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, seconds = time.perf_counter(), 0.0
        is_stream = True

        async def timed(message: Message) -> None:
            nonlocal seconds, is_stream
            await send(message)
            if message["type"] == "http.response.start":
                is_stream = all(name != b"content-length" for name, _ in message["headers"])
            elif not seconds or not is_stream:
                seconds = time.perf_counter() - began

        try:
            await self._app(scope, receive, timed)
        finally:
            sent = dict(scope["headers"]).get(b"traceparent", b"").decode()
            line = json.dumps([sent[3:35], seconds or time.perf_counter() - began]) + "\n"
            os.write(self._times, line.encode())


def build() -> Clock:
    """Build it, as each worker does."""
    app = FastAPI()
    folder = Path(os.environ["KEPT_FOLDER"])
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/kept.sqlite3")
    instrument(
        app,
        engine=engine,
        objectives=[
            Objective("availability", ratio=0.999),
            Objective("latency", ratio=0.95, within=THRESHOLD),
        ],
        service_name=NAME,
        logs="json",
        explain=False,
    )

    async def query(times: int) -> None:
        async with engine.connect() as connection:
            for number in range(times):
                await connection.execute(text("SELECT :number"), {"number": number})
        _log.info("asked the database")

    for kind, endpoint in _endpoints(query).items():
        app.get(f"/{kind}")(endpoint)

    @app.websocket("/socket")
    async def socket(connection: WebSocket) -> None:
        await connection.accept()
        await query(1)
        raise LookupError("a socket that fails")

    return Clock(app, folder / TIMES)


def _endpoints(  # noqa: C901  # one of each kind
    query: Callable[[int], Any],
) -> dict[str, Callable[..., Any]]:
    """Endpoints by their path, which says what is bad about them."""

    async def ok() -> int:
        await query(1)
        return 1

    async def fails() -> int:
        await query(2)
        raise KeyError("role")

    async def answers_503() -> JSONResponse:
        await query(2)
        return JSONResponse({}, 503)

    async def slow() -> int:
        await query(3)
        await asyncio.sleep(_SLOW)
        return 1

    def slow_in_thread() -> int:
        time.sleep(_SLOW)
        return 1

    async def blocks() -> int:
        time.sleep(_SLOW)  # noqa: ASYNC251 - what is bad
        return 1

    async def late() -> StreamingResponse:
        await query(1)
        await asyncio.sleep(_SLOW)
        return StreamingResponse(_parts(fails=False))

    async def breaks() -> StreamingResponse:
        await query(1)
        return StreamingResponse(_parts(fails=True))

    async def background(work: BackgroundTasks) -> int:
        work.add_task(_fail_later)
        await query(1)
        return 1

    async def deadline() -> int:
        await query(1)
        async with asyncio.timeout(0.1):
            await asyncio.sleep(_SLOW)
        return 1

    async def n_plus_one() -> int:
        await query(30)
        return 1

    return {
        each.__name__: each
        for each in (
            *(ok, fails, answers_503, slow, slow_in_thread, blocks, late, breaks),
            *(background, deadline, n_plus_one),
        )
    }


async def _parts(*, fails: bool) -> AsyncIterator[bytes]:
    for number in range(5):
        yield b"part\n"
        await asyncio.sleep(0.01)
        if fails and number:
            raise OSError("a stream that breaks")


async def _fail_later() -> None:
    await asyncio.sleep(0.05)
    raise ValueError("work that fails")


def main() -> None:
    """Serve with two workers until the process is ended."""
    Path(os.environ["KEPT_FOLDER"]).mkdir(exist_ok=True)
    uvicorn.run(
        "bench.kept_traces.target:build",
        factory=True,
        host=LOOPBACK,
        port=int(os.environ["KEPT_PORT"]),
        workers=2,
        ws="wsproto",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )


if __name__ == "__main__":
    main()
