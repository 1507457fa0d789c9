"""Wraps an application in middleware and lifespan hooks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

MAX_LAYERS = 100


def wrap_outermost(app: FastAPI, wrap: Callable[[ASGIApp], ASGIApp]) -> None:
    """Add an outermost middleware, outside even of middleware that is added later.

    Other instrumentations replace ``app.build_middleware_stack``, and expect what Starlette builds
    from the one that they replace. So the stack is wrapped when it is set, whatever has built it:
    the application's class becomes a subclass that notices the assignment.
    """
    kind = type(app)

    class Wrapped(kind):  # type: ignore[valid-type, misc]
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "middleware_stack" and value is not None:
                value = wrap(value)
            super().__setattr__(name, value)

    Wrapped.__name__, Wrapped.__qualname__ = kind.__name__, kind.__qualname__
    Wrapped.__module__, Wrapped.__doc__ = kind.__module__, kind.__doc__
    app.__class__ = Wrapped


def layers(app: Any) -> Iterator[Any]:
    """A middleware stack from the outside in, as far as each layer has the next as ``app``."""
    for _ in range(MAX_LAYERS):
        if app is None:
            return
        yield app
        app = getattr(app, "app", None)


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
