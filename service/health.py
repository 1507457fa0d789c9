"""Health checks: liveness (`/healthz`) and readiness (`/readyz`)."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from service.db.database import Database
from service.errors import UnavailableError
from service.openapi import documented
from vitals.cache import Cache

router = APIRouter(tags=["health"])

PROBE_SECONDS = 2.0
State = Annotated[Literal["ok", "unavailable"], Field(examples=["ok"])]


class Liveness(BaseModel):
    """Result of the liveness check."""

    status: Annotated[Literal["ok"], Field(examples=["ok"])] = "ok"


class Readiness(BaseModel):
    """State of the dependencies; ``degraded`` means without the cache, so slower."""

    status: Annotated[Literal["ok", "degraded"], Field(examples=["ok"])]
    database: State
    cache: State


@router.get("/healthz")
async def get_liveness(response: Response) -> Liveness:
    """Return that the process runs; dependencies are not checked."""
    response.headers["Cache-Control"] = "no-store"
    return Liveness()


@router.get("/readyz", responses=documented(503))
async def get_readiness(request: Request, response: Response) -> Readiness:
    """Return which dependencies respond: no cache is degraded, no database unavailable (503).

    A process that will end is unavailable too, while it still serves.
    """
    if request.app.state.drain.has_begun:
        error = UnavailableError("This process ends: send requests to another one.")
        error.headers = error.headers | {"Cache-Control": "no-store"}
        raise error
    database: Database = request.app.state.database
    cache: Cache = request.app.state.cache
    found = await asyncio.gather(_answers(database.ping()), _answers(cache.ping()))
    states: list[State] = ["ok" if answers else "unavailable" for answers in found]
    if states[0] != "ok":
        error = UnavailableError(
            "The database does not answer.", database=states[0], cache=states[1]
        )
        error.headers = error.headers | {"Cache-Control": "no-store"}
        raise error
    response.headers["Cache-Control"] = "no-store"
    status: Literal["ok", "degraded"] = "ok" if states[1] == "ok" else "degraded"
    return Readiness(status=status, database=states[0], cache=states[1])


async def _answers(ping: Any) -> bool:
    """Return whether a dependency answers in time: a frozen one must not block the probe."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return await ping is not False
    except (UnavailableError, TimeoutError):
        return False
