"""Wraps an application in middleware and lifespan hooks."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MethodType
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp


def wrap_outermost(app: FastAPI, wrap: Callable[[ASGIApp], ASGIApp]) -> None:
    """Add an outermost middleware, outside even of middleware that is added later."""
    build = app.build_middleware_stack

    def build_middleware_stack(_app: FastAPI) -> ASGIApp:
        return wrap(build())

    app.build_middleware_stack = MethodType(build_middleware_stack, app)  # type: ignore[method-assign]


def add_lifespan(app: FastAPI, context: Callable[[], AbstractAsyncContextManager[None]]) -> None:
    """Run a context manager around the application's lifespan."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(serving: Any) -> AsyncIterator[Any]:
        async with context(), inner(serving) as state:
            yield state

    app.router.lifespan_context = lifespan


def after_startup(app: FastAPI, call: Callable[[], None]) -> None:
    """Call a function once the application's own lifespan has started; an error ends the start."""
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(serving: Any) -> AsyncIterator[Any]:
        async with inner(serving) as state:
            call()
            yield state

    app.router.lifespan_context = lifespan
