"""An instrumented service with switchable defects, which drills deploy beside the running stack.

Faults that cannot be injected into the running API, such as a release with N+1 queries, are those
of this service. Parameters make its routes slow; a defect begins with POST /defects/NAME and ends
with DELETE. It listens on loopback and is not a service of the stack.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from types import FunctionType

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from stack.drills.defects import DEFECTS
from stack.readiness import LOOPBACK
from vitals import HttpClients, Objective, instrument

OBJECTIVES = (
    Objective("availability", ratio=0.999),
    Objective("latency", ratio=0.95, within=0.25),
    Objective("latency", ratio=0.95, within=0.1, route="/strict"),
    Objective("queries", ratio=0.95, within=0.1),
    Objective("availability", ratio=0.99, route="/partly"),
    Objective("availability", ratio=0.8, route="/loosely"),
)
_ROWS = 12
_MEMORY_INTERVAL = 0.5
"""Seconds, on the faster time scale of a drill."""
_POOL, _TIMEOUT = "DEFECTIVE_POOL", 0.5


class Service:
    """The service and its defects.

    Args:
        engine: Its database.
        pool: Size of its connection pool.
    """

    def __init__(self, engine: AsyncEngine, pool: int) -> None:
        self.engine = engine
        self.pool = pool
        self.folder = Path(mkdtemp(prefix="vitals-drill-"))
        self.app = FastAPI(title="Defective", lifespan=self._fill_pool)
        self.vitals = instrument(
            self.app,
            engine=engine,
            objectives=OBJECTIVES,
            service_name=os.environ.get("DEFECTIVE_NAME", "defective"),
            version="2.0.0",
            revision="defective",
            logs="host" if "DEFECTIVE_NAME" in os.environ else False,
            explain=False,
            probes=[HttpClients()],
            folders={"data": self.folder},
            memory_interval=_MEMORY_INTERVAL,
        )
        self.metrics_empty = False
        self._active: dict[str, AsyncExitStack] = {}

    @asynccontextmanager
    async def _fill_pool(self, _app: FastAPI) -> AsyncIterator[None]:
        """Open all connections at the start: another drill may revoke the login meanwhile."""
        async with AsyncExitStack() as held:
            with suppress(DBAPIError, OSError):  # login revoked, and this service restarted
                for _ in range(self.pool):
                    await held.enter_async_context(self.engine.connect())
        try:
            yield
        finally:  # uvicorn ends by its signal, which runs nothing at exit
            rmtree(self.folder, ignore_errors=True)

    async def begin(self, name: str) -> None:
        """Begin a defect; `HTTPException` 404 for an unknown one."""
        if name not in DEFECTS:
            raise HTTPException(404, f"no such defect: choose from {', '.join(DEFECTS)}")
        if name not in self._active:
            defect = AsyncExitStack()
            await defect.enter_async_context(DEFECTS[name](self))
            self._active[name] = defect

    async def end(self, name: str) -> None:
        """End a defect."""
        if stack := self._active.pop(name, None):
            await stack.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; the metrics page is empty while `metrics_empty` is set."""
        is_empty = self.metrics_empty and scope.get("path") == "/metrics"
        app: ASGIApp = PlainTextResponse("") if is_empty else self.app
        await app(scope, receive, send)


def build() -> Service:
    """Build it from the environment, as each worker does."""
    pool = int(os.environ[_POOL])
    password = Path(os.environ["DEFECTIVE_PASSWORD_FILE"]).read_text().strip()
    url = make_url(os.environ["DEFECTIVE_DATABASE_URL"]).set(password=password)
    engine = create_async_engine(url, pool_size=pool, max_overflow=0, pool_timeout=_TIMEOUT)
    service = Service(engine, pool)
    _add_routes(service)
    _add_drifting_routes(service.app, engine)
    return service


def _add_routes(service: Service) -> None:
    app, pause = service.app, text("SELECT pg_sleep(:seconds)")

    @app.get("/work")
    @app.get("/strict")
    async def work(seconds: float = 0.0) -> int:
        """Run one query that takes that long."""
        async with service.engine.connect() as connection:
            await connection.execute(pause, {"seconds": seconds})
        return 1

    @app.get("/wait")
    async def wait(seconds: float = 0.0) -> int:
        """Take that long."""
        await asyncio.sleep(seconds)
        return 1

    @app.get("/block")
    async def block(seconds: float) -> int:
        """Hold the event loop that long."""
        time.sleep(seconds)  # noqa: ASYNC251 - the defect
        return 1

    @app.get("/rows")
    async def rows(count: int = _ROWS) -> int:
        """Run one query per row."""
        one = text("SELECT pg_backend_pid() + CAST(:row AS integer)")
        async with service.engine.connect() as connection:
            found = [await connection.execute(one, {"row": number}) for number in range(count)]
        return len(found)

    @app.get("/fail")
    async def fail(function: str) -> None:
        """Fail in a function of that name."""
        code = _fail.__code__.replace(co_name=function, co_qualname=function)
        FunctionType(code, globals())()

    @app.post("/defects/{name}")
    async def begin(name: str) -> None:
        await service.begin(name)

    @app.delete("/defects/{name}")
    async def end(name: str) -> None:
        await service.end(name)


def _fail() -> None:
    raise ValueError("as the drill asks for")


def _add_drifting_routes(app: FastAPI, engine: AsyncEngine) -> None:
    """Add routes that fail, call and query as their parameters say."""
    client = httpx.AsyncClient(trust_env=False)  # it loads certificates, so there is one

    @app.get("/rarely")
    @app.get("/partly")
    @app.get("/loosely")
    async def fail(seconds: float = 0.0, *, fails: bool = False) -> int:
        """Take that long, or fail."""
        await asyncio.sleep(seconds)
        if fails:
            raise KeyError("role")
        return 1

    @app.get("/again")
    async def again(count: int) -> int:
        """Run the same query that many times, which is no N+1."""
        same = text("SELECT pg_postmaster_start_time()")
        async with engine.connect() as connection:
            for _ in range(count):
                await connection.execute(same)
        return count

    @app.get("/call")
    async def call(request: Request, port: int = 0, seconds: float = 0.0) -> bool:
        """Call a service, this one unless a port is given, and do without it if it fails."""
        address = f"http://{LOOPBACK}:{port or request.url.port}/wait"
        with suppress(httpx.HTTPError):
            return (await client.get(address, params={"seconds": seconds})).is_success
        return False


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(
        prog="python -m stack.drills.defective_service", description=__doc__
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pool", type=int, default=5, help="connections to the database")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    os.environ[_POOL] = str(options.pool)
    uvicorn.run(
        "stack.drills.defective_service:build",
        factory=True,
        host=LOOPBACK,
        port=options.port,
        workers=options.workers,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
