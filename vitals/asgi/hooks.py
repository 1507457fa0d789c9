"""Wraps an application in middleware and lifespan hooks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
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


def reuse_middleware(app: FastAPI) -> None:
    """Let middleware that is added from now on wrap the stack that is built already.

    The stack is not built anew, because what the host's middleware holds would be lost.
    """
    built = app.middleware_stack
    app.build_middleware_stack = MethodType(lambda _app: built, app)  # type: ignore[method-assign]


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


def run_until_task_ends(
    contexts: Sequence[Callable[[], AbstractAsyncContextManager[None]]],
) -> asyncio.Task[None]:
    """Run context managers until the current task ends, such as that of a lifespan."""
    ended = asyncio.Event()

    async def run() -> None:
        async with AsyncExitStack() as stack:
            for context in contexts:
                await stack.enter_async_context(context())
            await ended.wait()

    current = asyncio.current_task()
    if current is not None:
        current.add_done_callback(lambda _task: ended.set())
    return asyncio.get_running_loop().create_task(run(), name="vitals lifespan")
