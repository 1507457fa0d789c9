"""Background tasks: work of their own, after the response and beyond the request."""

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response

from tests.vitals.client import fetch
from vitals import instrument
from vitals.http.background import TaskFactory
from vitals.metrics.catalogue import (
    DB_BACKGROUND_QUERIES,
    DB_N_PLUS_ONE,
    DB_QUERIES_PER_REQUEST,
    HTTP_ACTIVE_BACKGROUND_TASKS,
    HTTP_ACTIVE_REQUESTS,
    HTTP_BACKGROUND_DURATION,
    HTTP_REQUEST_DURATION,
)
from vitals.testing import Readings


class Service:
    """An application whose background tasks wait for the test.

    Attributes:
        over: Lets the tasks end.
        begun: How many have begun.
        kept: Tasks that outlive their requests.
    """

    def __init__(self, engine: AsyncEngine | None = None) -> None:
        self.app = FastAPI()
        self.engine = engine
        self.over = asyncio.Event()
        self.begun = 0
        self.kept: list[asyncio.Task[None]] = []
        instrument(self.app, engine=engine, logs=False, explain=False)
        self.app.add_api_route("/task", self.task, methods=["POST"])
        self.app.add_api_route("/fails", self.fails, methods=["POST"])
        self.app.add_api_route("/outlives", self.outlives, methods=["POST"])
        self.app.add_api_route("/response", self.response, methods=["POST"])
        self.app.add_api_route("/stream", self.stream, methods=["POST"])
        self.app.add_api_route("/refused", self.refused, methods=["POST"])
        self.app.add_api_route("/none", self.none, methods=["POST"])

    async def work(self) -> None:
        self.begun += 1
        if self.engine is not None:
            for number in range(20):
                await self.query(number)
        await self.over.wait()

    async def query(self, number: int) -> None:
        assert self.engine is not None
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT :number"), {"number": number})

    async def break_down(self) -> None:
        await self.work()
        raise LookupError

    async def task(self, tasks: BackgroundTasks) -> str:
        if self.engine is not None:
            await self.query(0)
        tasks.add_task(self.work)
        return "answered"

    async def fails(self, tasks: BackgroundTasks) -> str:
        tasks.add_task(self.break_down)
        return "answered"

    async def outlives(self, *, fail: bool = False) -> str:
        if self.engine is not None:
            await self.query(0)
        self.kept.append(asyncio.create_task(self.break_down() if fail else self.work()))
        return "answered"

    async def response(self) -> Response:
        return JSONResponse("answered", background=BackgroundTask(self.work))

    async def stream(self) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b'"answered"'

        return StreamingResponse(parts(), background=BackgroundTask(self.work))

    async def refused(self) -> Response:
        raise Refused

    async def none(self, _: None = Depends(asyncio.sleep)) -> str:
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))
        return "answered"

    def value(self, *arguments: Any, **labels: str) -> float:
        return Readings.of(self.app).value(*arguments, **labels)

    async def during(self, path: str, check: Callable[[], Awaitable[None] | None]) -> None:
        """Send a request, and check while its background task runs."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            running = asyncio.create_task(client.post(path))
            while not self.begun or not self.value(HTTP_ACTIVE_BACKGROUND_TASKS):
                await asyncio.sleep(0)
            check()
            self.over.set()
            await running
            await asyncio.gather(*self.kept, return_exceptions=True)
            await asyncio.sleep(0)


class Refused(Exception):  # noqa: N818  # it is no error
    """Answered by a handler, whose response has a background task."""


def run(path: str, check: Callable[[Service], None], **options: Any) -> Service:
    async def both() -> Service:
        service = Service()
        prepare = options.get("prepare")
        if prepare is not None:
            prepare(service)
        await service.during(path, lambda: check(service))
        return service

    return asyncio.run(both())


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize("path", ["/task", "/response", "/stream", "/outlives", "/refused"])
def test_a_request_is_finished_while_its_background_task_runs(
    path: str, *, middleware: bool
) -> None:
    def prepare(service: Service) -> None:
        async def pass_on(request: Request, call: Any) -> Any:
            return await call(request)

        async def answer(_: Request, __: Exception) -> Response:
            return JSONResponse("later", 503, background=BackgroundTask(service.work))

        service.app.add_exception_handler(Refused, answer)
        if middleware:
            service.app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)

    def check(service: Service) -> None:
        assert service.value(HTTP_ACTIVE_REQUESTS) == 0
        status = "503" if path == "/refused" else "200"
        labels = {"http_route": path, "http_response_status_code": status}
        assert service.value(HTTP_REQUEST_DURATION, "_count", **labels) == 1
        assert service.value(HTTP_ACTIVE_BACKGROUND_TASKS, http_route=path) == 1
        assert service.value(HTTP_BACKGROUND_DURATION, "_count") == 0

    service = run(path, check, prepare=prepare)
    assert service.value(HTTP_ACTIVE_BACKGROUND_TASKS) == 0
    assert service.value(HTTP_BACKGROUND_DURATION, "_count", http_route=path, error_type="") == 1
    assert service.value(HTTP_BACKGROUND_DURATION, "_count") == 1
    assert service.value(HTTP_REQUEST_DURATION, "_count") == 1


@pytest.mark.parametrize("path", ["/fails", "/outlives?fail=true"])
def test_a_failing_background_task_is_counted_by_its_error(path: str) -> None:
    service = run(path, lambda _: None)
    route = path.partition("?")[0]
    failed = {"http_route": route, "error_type": "LookupError"}
    assert service.value(HTTP_BACKGROUND_DURATION, "_count", **failed) == 1
    assert service.value(HTTP_REQUEST_DURATION, "_count", error_type="") == 1
    assert service.value(HTTP_ACTIVE_BACKGROUND_TASKS) == 0


def test_asyncio_still_reports_the_error_of_a_task_that_nobody_awaits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service()
    service.over.set()

    async def once() -> None:
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.post("/outlives?fail=true")
        while not service.value(HTTP_BACKGROUND_DURATION, "_count"):
            await asyncio.sleep(0)
        service.kept.clear()
        gc.collect()

    with caplog.at_level(logging.ERROR, "asyncio"):
        asyncio.run(once())
    assert "never retrieved" in caplog.text


def test_a_cancelled_task_is_counted_as_cancelled() -> None:
    def cancel(service: Service) -> None:
        service.kept[0].cancel()

    service = run("/outlives", cancel)
    assert service.value(HTTP_BACKGROUND_DURATION, "_count", error_type="CancelledError") == 1


def test_what_ends_with_the_request_is_no_background_task() -> None:
    """Tasks of a request, and the clean-up of its dependencies."""
    service = Service()
    service.over.set()

    async def cleaned_up() -> AsyncIterator[None]:
        yield
        await asyncio.sleep(0)

    @service.app.get("/cleaned-up", dependencies=[Depends(cleaned_up)])
    async def with_dependency() -> None:
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))

    assert fetch(service.app, "GET", "/cleaned-up").status_code == 200
    assert service.value(HTTP_BACKGROUND_DURATION, "_count") == 0


def test_a_background_task_that_an_endpoint_awaits_belongs_to_the_request() -> None:
    service = Service()
    service.over.set()

    @service.app.get("/awaits")
    async def awaits() -> None:
        await BackgroundTask(service.work)()

    fetch(service.app, "GET", "/awaits")
    assert service.begun == 1
    assert service.value(HTTP_BACKGROUND_DURATION, "_count") == 0


@pytest.mark.parametrize("path", ["/task", "/outlives"])
def test_queries_of_a_background_task_are_not_the_requests(path: str) -> None:
    async def both() -> Service:
        engine = create_async_engine("sqlite+aiosqlite://")
        service = Service(engine)
        service.app.state.checked = False

        def check() -> None:
            service.app.state.checked = True

        await service.during(path, check)
        await engine.dispose()
        return service

    service = asyncio.run(both())
    assert service.app.state.checked
    assert service.value(DB_QUERIES_PER_REQUEST, "_sum", http_route=path) == 1
    assert service.value(DB_BACKGROUND_QUERIES, http_route=path) == 20
    assert service.value(DB_N_PLUS_ONE) == 0


class Referenced:
    """An object of a request; alive as long as the request is referenced."""


def test_a_task_that_outlives_its_request_does_not_keep_it() -> None:
    service = Service()
    marks: list[weakref.ref[Referenced]] = []

    @service.app.post("/marked")
    async def marked(request: Request) -> None:
        request.state.referenced = referenced = Referenced()
        marks.append(weakref.ref(referenced))
        service.kept.append(asyncio.create_task(service.work()))

    def check() -> None:
        gc.collect()
        assert marks[0]() is None

    async def both() -> None:
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.post("/marked")
        check()
        assert service.value(HTTP_ACTIVE_BACKGROUND_TASKS, http_route="/marked") == 1
        service.over.set()
        await service.kept[0]

    asyncio.run(both())


def test_a_forgotten_task_is_not_in_progress_for_ever() -> None:
    """Asyncio keeps no task alive that nothing references, and neither does the kit."""
    service = Service()

    @service.app.post("/forgotten")
    async def forgotten() -> None:
        service.kept.append(asyncio.create_task(service.work()))

    async def once() -> None:
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.post("/forgotten")
        await asyncio.sleep(0)
        assert service.value(HTTP_ACTIVE_BACKGROUND_TASKS) == 1
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # of the forgotten task
        service.kept.clear()
        service.over = asyncio.Event()
        gc.collect()
        assert service.value(HTTP_ACTIVE_BACKGROUND_TASKS) == 0

    asyncio.run(once())


def test_a_task_that_serves_the_next_request_is_no_background_task() -> None:
    """Uvicorn creates the task of a pipelined request while it sends the response before it."""
    service = Service()
    service.over.set()
    serving: list[asyncio.Task[None]] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send_again(message: Any) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body") and not serving:
            serving.append(asyncio.create_task(service.app(scope(), receive, send_again)))

    def scope() -> dict[str, Any]:
        return {
            "type": "http",
            "method": "POST",
            "path": "/none",
            "headers": [],
            "query_string": b"",
        }

    async def both() -> None:
        await service.app(scope(), receive, send_again)
        await serving[0]

    asyncio.run(both())
    assert service.value(HTTP_REQUEST_DURATION, "_count", http_route="/none") == 2
    assert service.value(HTTP_BACKGROUND_DURATION, "_count") == 0


def test_the_hosts_task_factory_creates_the_tasks() -> None:
    service = Service()
    service.over.set()
    created: list[str] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        created.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def once() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            await client.post("/outlives")
        held = asyncio.get_running_loop().get_task_factory()
        assert isinstance(held, TaskFactory)
        await asyncio.gather(*service.kept)
        await asyncio.sleep(0)

    asyncio.run(once())
    assert any("work" in name for name in created)
    assert service.value(HTTP_BACKGROUND_DURATION, "_count", http_route="/outlives") == 1
