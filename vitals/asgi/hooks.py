"""How probes are attached to an application: around it, and for as long as it serves."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MethodType
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp


def stand_outside(app: FastAPI, around: Callable[[ASGIApp], ASGIApp]) -> None:
    """Put a middleware outside of every other, also of those that are added later."""
    build = app.build_middleware_stack

    def build_middleware_stack(_app: FastAPI) -> ASGIApp:
        return around(build())

    app.build_middleware_stack = MethodType(build_middleware_stack, app)  # type: ignore[method-assign]


def accompany(app: FastAPI, work: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """Have work done while the application serves."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(serving: Any) -> AsyncIterator[Any]:
        async with work(), inner(serving) as state:
            yield state

    app.router.lifespan_context = lifespan
