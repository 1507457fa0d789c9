"""A service of the kit that can be made defective: what a drill deploys beside the running stack.

Faults that a running API has no door for, such as a release with N+1, are those of this service.
Routes are slow or ask too often when asked to; a defect begins with POST /defects/NAME and ends
with DELETE. It listens on loopback and is never part of the stack itself.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI, HTTPException
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from stack.drills.defects import DEFECTS
from stack.readiness import LOOPBACK
from vitals import Objective, instrument

OBJECTIVES = (
    Objective("availability", target=0.999),
    Objective("latency", target=0.95, threshold=0.25),
    Objective("latency", target=0.95, threshold=0.1, route="/promised"),
    Objective("queries", target=0.95, threshold=0.1),
)
_ROWS = 12
_POOL, _TIMEOUT = "DEFECTIVE_POOL", 0.5


class Service:
    """The service and what can be wrong with it.

    Args:
        engine: Its database.
        pool: How many connections it has.
    """

    def __init__(self, engine: AsyncEngine, pool: int) -> None:
        self.engine = engine
        self.pool = pool
        self.app = FastAPI(title="Defective", lifespan=self._fill_pool)
        self.vitals = instrument(
            self.app,
            engine=engine,
            objectives=OBJECTIVES,
            service_name="defective",
            version="2.0.0",
            revision="defective",
            logs=False,
            explain=False,
        )
        self.is_mute = False
        self._present: dict[str, AsyncExitStack] = {}

    @asynccontextmanager
    async def _fill_pool(self, _app: FastAPI) -> AsyncIterator[None]:
        """Log in as often as ever: another drill may keep our role out in the meantime."""
        async with AsyncExitStack() as held:
            with suppress(DBAPIError, OSError):  # it is kept out, and we were started again
                for _ in range(self.pool):
                    await held.enter_async_context(self.engine.connect())
        yield

    async def begin(self, name: str) -> None:
        """Become defective; `HTTPException` 404 for an unknown defect."""
        if name not in DEFECTS:
            raise HTTPException(404, f"no such defect; there are: {', '.join(DEFECTS)}")
        if name not in self._present:
            defect = AsyncExitStack()
            await defect.enter_async_context(DEFECTS[name](self))
            self._present[name] = defect

    async def end(self, name: str) -> None:
        """Be well again in this respect."""
        if stack := self._present.pop(name, None):
            await stack.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; the metrics with nothing while mute."""
        says_nothing = self.is_mute and scope.get("path") == "/metrics"
        answer: ASGIApp = PlainTextResponse("") if says_nothing else self.app
        await answer(scope, receive, send)


def build() -> Service:
    """Build it from the environment, as each worker does."""
    pool = int(os.environ[_POOL])
    password = Path(os.environ["DEFECTIVE_PASSWORD_FILE"]).read_text().strip()
    url = make_url(os.environ["DEFECTIVE_DATABASE_URL"]).set(password=password)
    engine = create_async_engine(url, pool_size=pool, max_overflow=0, pool_timeout=_TIMEOUT)
    service = Service(engine, pool)
    _add_routes(service)
    return service


def _add_routes(service: Service) -> None:
    app, pause = service.app, text("SELECT pg_sleep(:seconds)")

    @app.get("/work")
    @app.get("/promised")
    async def work(seconds: float = 0.0) -> int:
        """Ask the database one question, which takes that long."""
        async with service.engine.connect() as connection:
            await connection.execute(pause, {"seconds": seconds})
        return 1

    @app.get("/wait")
    async def wait(seconds: float = 0.0) -> int:
        """Take that long."""
        await asyncio.sleep(seconds)
        return 1

    @app.get("/rows")
    async def rows() -> int:
        """Ask once a row."""
        one = text("SELECT pg_backend_pid() + CAST(:row AS integer)")
        async with service.engine.connect() as connection:
            return sum([(await connection.execute(one, {"row": n})).scalar_one() for n in _ALL])

    @app.post("/defects/{name}")
    async def begin(name: str) -> None:
        await service.begin(name)

    @app.delete("/defects/{name}")
    async def end(name: str) -> None:
        await service.end(name)


_ALL = range(_ROWS)


def main() -> None:
    """Serve until we are ended."""
    parser = argparse.ArgumentParser(prog="python -m stack.drills.defective", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pool", type=int, default=5, help="connections to the database")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    os.environ[_POOL] = str(asked.pool)
    uvicorn.run(
        "stack.drills.defective:build",
        factory=True,
        host=LOOPBACK,
        port=asked.port,
        workers=asked.workers,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
