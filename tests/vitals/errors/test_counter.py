"""Errors are counted once each, whatever tells of them and how often."""

import asyncio
import gc
import logging
import pickle
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse
from starlette.middleware.base import BaseHTTPMiddleware

from tests.vitals.client import http_scope
from vitals import instrument
from vitals.asgi.request_context import RequestContext
from vitals.errors import COUNTED, FINGERPRINT, PLACE, counter, fingerprint_of
from vitals.errors.counter import MAX_SERIES
from vitals.logging import record_context
from vitals.metrics.catalogue import DROPPED, ERRORS, OTHER
from vitals.testing import Readings

log = logging.getLogger("shop")


class ConflictError(Exception):
    """Its attributes are sent to the client."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True)
class FrozenError(Exception):
    """It refuses attributes."""

    number: int


ALWAYS_THE_SAME = HTTPException(503)


class Service:
    """An application that fails in every way.

    Attributes:
        kept: A task that outlives its request.
        finished: The fingerprint, and whether it is new, of each request.
    """

    def __init__(self) -> None:
        self.app = FastAPI()
        self.finished: list[tuple[str, bool]] = []
        self.kept: asyncio.Task[None] | None = None
        vitals = instrument(self.app, explain=False)
        vitals._host.on_finished(self._note)
        for path in ("/raises", "/unavailable", "/missing", "/logs", "/logs-and-raises", "/same"):
            self.app.add_api_route(path, getattr(self, path[1:].replace("-", "_")))
        for path in ("/warns", "/conflict", "/task", "/later", "/answers", "/raises/{number}"):
            self.app.add_api_route(path, getattr(self, path.split("/")[1]))
        self.app.add_api_websocket_route("/socket", self.socket)
        self.app.add_exception_handler(ConflictError, self.answer)

    def _note(self, request: RequestContext) -> None:
        self.finished.append((request.error_fingerprint, request.has_new_error))

    def raises(self, number: int = 0) -> None:
        raise ValueError(number)

    def unavailable(self) -> None:
        raise HTTPException(503)

    def missing(self) -> None:
        raise HTTPException(404)

    def same(self) -> None:
        raise ALWAYS_THE_SAME

    def logs(self) -> None:
        try:
            self.raises()
        except ValueError:
            log.exception("it failed")

    def logs_and_raises(self) -> None:
        try:
            self.raises()
        except ValueError:
            log.exception("it failed")
            log.exception("it failed, said again")
            raise

    def warns(self) -> None:
        try:
            self.raises()
        except ValueError:
            log.warning("it failed, which was expected", exc_info=True)

    def answer(self, _request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(vars(error), 500)

    def conflict(self) -> None:
        raise ConflictError(7)

    def answers(self) -> JSONResponse:
        return JSONResponse({}, 503)

    def task(self, tasks: BackgroundTasks) -> None:
        tasks.add_task(self.raises)

    async def later(self) -> None:
        async def fail() -> None:
            await self.over.wait()
            self.raises()

        self.over = asyncio.Event()
        self.kept = asyncio.create_task(fail())

    async def socket(self, socket: WebSocket) -> None:
        await socket.accept()
        self.raises()

    def get(self, path: str) -> httpx.Response:
        """Send a request, and wait for its task if it leaves one."""

        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                response = await client.get(path)
            if self.kept is not None:
                self.over.set()
                await asyncio.wait([self.kept], timeout=10)
                self.kept = None
            return response

        return asyncio.run(run())

    def counts(self) -> dict[tuple[str, str], float]:
        """How often each class of error was counted at each route."""
        found: dict[tuple[str, str], float] = {}
        for labels, child in self.app.state.vitals.meter.counter(ERRORS).children.items():
            assert labels.fingerprint == OTHER or len(labels.fingerprint) == 16
            assert labels.place == OTHER or ":" in labels.place or not labels.place
            key = labels.type, labels.http_route
            found[key] = found.get(key, 0.0) + child.value
        return found


@pytest.fixture
def service() -> Iterator[Service]:
    counter._counters.clear()  # of applications of other tests, not collected yet
    yield Service()
    record_context.uninstall()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/raises", "ValueError"),
        ("/raises/{number}", "ValueError"),
        ("/unavailable", "HTTPException"),
        ("/logs", "ValueError"),
        ("/logs-and-raises", "ValueError"),
        ("/conflict", "ConflictError"),
        ("/task", "ValueError"),
        ("/same", "HTTPException"),
    ],
)
@pytest.mark.parametrize("middleware", [False, True])
def test_each_way_to_fail_is_counted_once(
    service: Service,
    path: str,
    kind: str,
    caplog: pytest.LogCaptureFixture,
    *,
    middleware: bool,
) -> None:
    if middleware:

        async def pass_on(request: Request, call_next: Any) -> Any:
            return await call_next(request)

        service.app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    for times in (1, 2):
        service.get(path.replace("{number}", "5"))
        assert service.counts() == {(kind, path): times}
        counted = [vars(each) for each in caplog.records if COUNTED in vars(each)]
        assert [each["http_route"] for each in counted] == [path] * times
        assert len({each[FINGERPRINT] for each in counted}) == 1
    assert Readings.of(service.app).value(DROPPED, reason="errors") == 0


def test_a_task_that_outlives_its_request_is_counted_once(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.get("/later")
    gc.collect()
    assert service.counts() == {("ValueError", "/later"): 1}
    (counted,) = [vars(each) for each in caplog.records if COUNTED in vars(each)]
    assert counted["event"] == "background task failed"


def test_only_errors_of_the_service_are_counted(service: Service) -> None:
    for path in ("/missing", "/warns", "/answers", "/nowhere"):
        service.get(path)
    assert service.counts() == {}


def test_a_web_socket_that_fails_is_counted(service: Service) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(_message: Any) -> None:
        pass

    scope = {
        **http_scope("GET", "/socket"),
        "type": "websocket",
        "scheme": "ws",
        "subprotocols": [],
    }
    with pytest.raises(ValueError, match="0"):
        asyncio.run(service.app(scope, receive, send))
    assert service.counts() == {("ValueError", "/socket"): 1}


def test_the_first_of_a_fingerprint_is_known_when_the_request_ends(service: Service) -> None:
    for path in ("/raises", "/raises", "/logs", "/unavailable", "/answers"):
        service.get(path)
    (first, *_), (again, *_), (logged, *_), (other, *_), (none, *_) = service.finished
    assert first == again != logged  # which passes another frame
    assert "" not in {first, logged, other}
    assert not none
    assert [is_new for _, is_new in service.finished] == [True, False, True, True, False]


def test_records_tell_of_their_error(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.get("/logs-and-raises")
    first, second = (vars(each) for each in caplog.records if each.name == "shop")
    assert first[FINGERPRINT] == second[FINGERPRINT] == service.finished[0][0]
    assert first[PLACE].endswith(":Service.raises")
    assert first[COUNTED]
    assert COUNTED not in second


def test_an_error_outside_of_requests_is_counted_without_a_route(service: Service) -> None:
    try:
        service.raises()
    except ValueError as error:
        known = error
        log.error("it failed", exc_info=error)  # noqa: TRY400
        log.critical("it failed, said again", exc_info=True)
    assert service.counts() == {("ValueError", ""): 1}
    (labels,) = service.app.state.vitals.meter.counter(ERRORS).children
    assert labels.fingerprint == fingerprint_of(known)
    assert labels.place == f"{__name__}:Service.raises"


def test_an_exception_is_left_as_it_was(service: Service) -> None:
    assert service.get("/conflict").json() == {"number": 7}
    built_in, own = ValueError("x"), ConflictError(7)
    log.error("it failed", exc_info=FrozenError(7))
    for error in (built_in, own):
        log.error("it failed", exc_info=error)
        copied = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert repr(copied) == repr(error)
    assert vars(own) == {"number": 7}


def test_no_exception_is_kept(service: Service) -> None:
    class Held:
        pass

    alive: list[weakref.ref[Any]] = []

    async def hold() -> None:  # anyio's threads keep the exception of their last call
        held = Held()
        alive.append(weakref.ref(held))
        raise HTTPException(503)

    service.app.add_api_route("/held", hold)
    service.get("/held")
    gc.collect()
    assert [reference() for reference in alive] == [None]


def test_series_are_limited(service: Service) -> None:
    for number in range(MAX_SERIES + 20):
        made = type(f"Error{'abcdefghij'[number % 10]}{number}", (Exception,), {})
        globals()[made.__name__] = made  # else it counts as its base
        made.__module__ = __name__
        log.error("it failed", exc_info=made())
        del globals()[made.__name__]
    children = service.app.state.vitals.meter.counter(ERRORS).children
    assert len(children) == MAX_SERIES + 1
    assert children[OTHER, OTHER, OTHER, OTHER].value == 20


def test_an_application_counts_its_own(service: Service) -> None:
    other = Service()
    other.get("/logs")
    assert other.counts() == {("ValueError", "/logs"): 1}
    assert service.counts() == {}
