"""Spans of background tasks are linked to the span of their request."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.vitals.tracing.receiver import Receiver, receiving
from vitals import Vitals, instrument


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def run(endpoint: str | None, path: str, ratio: float = 1.0, **options: Any) -> None:
    """Send a request, let its background task end, and export the spans."""
    engine = create_async_engine("sqlite+aiosqlite://")
    app = FastAPI()
    vitals: Vitals = instrument(
        app,
        engine=engine,
        otlp_endpoint=endpoint,
        trace_ratio=ratio,
        logs=False,
        explain=False,
        **options,
    )
    kept: list[asyncio.Task[None]] = []

    async def work(*, fail: bool = False) -> None:
        await asyncio.sleep(0)
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        if fail:
            raise LookupError

    @app.get("/task")
    async def task(tasks: BackgroundTasks, *, fail: bool = False) -> None:
        tasks.add_task(work, fail=fail)

    @app.get("/outlives")
    async def outlives() -> None:
        kept.append(asyncio.create_task(work()))

    async def once() -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.get(path)
        await asyncio.gather(*kept)
        await engine.dispose()

    asyncio.run(once())
    if vitals.tracing is not None:
        vitals.tracing.shut_down()


def one(receiver: Receiver, name: str) -> Span:
    (found,) = (span for span in receiver.spans if span.name.startswith(name))
    return found


def links(span: Span) -> list[tuple[bytes, bytes]]:
    return [(link.trace_id, link.span_id) for link in span.links]


def test_a_background_task_has_a_span_with_its_queries(receiver: Receiver) -> None:
    run(receiver.url, "/task")
    request, task, query = (one(receiver, name) for name in ("GET /task", "background", "SELECT"))
    assert links(task) == [(request.trace_id, request.span_id)]
    assert task.trace_id == request.trace_id
    assert task.start_time_unix_nano >= request.start_time_unix_nano
    assert task.name.endswith("work")
    assert query.parent_span_id == task.span_id
    assert links(query) == []


def test_the_span_of_a_failed_task_is_marked_and_that_of_its_request_is_not(
    receiver: Receiver,
) -> None:
    run(receiver.url, "/task?fail=true")
    request, task = (one(receiver, name) for name in ("GET /task", "background"))
    assert task.status.code == Status.STATUS_CODE_ERROR
    assert request.status.code != Status.STATUS_CODE_ERROR


def test_a_query_of_a_task_that_outlives_its_request_is_linked_to_it(receiver: Receiver) -> None:
    run(receiver.url, "/outlives")
    request, query = (one(receiver, name) for name in ("GET /outlives", "SELECT"))
    assert links(query) == [(request.trace_id, request.span_id)]
    assert query.trace_id == request.trace_id


@pytest.mark.parametrize("path", ["/task", "/outlives"])
def test_background_tasks_of_a_trace_that_is_not_sampled_are_not_either(
    path: str, receiver: Receiver
) -> None:
    run(receiver.url, path, ratio=0.0, trace_tail=False)
    assert receiver.spans == []
