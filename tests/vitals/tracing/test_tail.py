"""Which traces are kept when a request has ended, and what is held until then."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import BackgroundTasks, FastAPI, HTTPException
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.vitals.tracing.receiver import Receiver, receiving
from vitals import Objective, Vitals, instrument
from vitals.asgi.request_context import CURRENT
from vitals.asgi.trace_record import FIRST_ROOM, current_ids
from vitals.metrics.catalogue import DB_OPERATION_DURATION, DROPPED, HTTP_REQUEST_DURATION
from vitals.testing import Readings
from vitals.tracing.events import add_event
from vitals.tracing.tail import sampler as keeping
from vitals.tracing.tail.setup import TailTracing

PARENT = "0af7651916cd43dd8448eb211c80319c"


def values(held: Any) -> dict[str, Any]:
    """Attributes of a span or event."""
    return {
        each.key: [item.string_value for item in each.value.array_value.values]
        if each.value.HasField("array_value")
        else each.value.int_value or each.value.double_value or each.value.string_value
        for each in held.attributes
    }


def add_nap(connection: Any, _record: Any) -> None:
    """Give SQLite a function that takes its time."""

    def nap(seconds: float) -> int:
        time.sleep(seconds)
        return 1

    connection.run_async(lambda driver: driver.create_function("nap", 1, nap))


def drain(tracing: Any) -> None:
    """Wait until everything is exported; a flush waits only as long as the end of a service may."""
    deadline = time.monotonic() + 30
    while not tracing.shut_down():
        assert time.monotonic() < deadline, "the receiver does not answer"


class Shop:
    """A service, whose requests have been asked once, so that nothing of them is the first."""

    def __init__(self, receiver: Receiver, **options: Any) -> None:
        self.receiver = receiver
        self.app = FastAPI()
        self.engine = create_async_engine("sqlite+aiosqlite://")
        event.listen(self.engine.sync_engine, "connect", add_nap)
        self.in_request: list[Any] = []
        self.before: set[str] = set()
        self.vitals: Vitals = instrument(
            self.app,
            engine=self.engine,
            otlp_endpoint=receiver.url,
            objectives=[
                Objective("latency", ratio=0.9, within=30),  # of a busy machine
                Objective("latency", ratio=0.9, within=0.05, route="/slow"),
            ],
            service_name="shop",
            logs=False,
            explain=False,
            locks=False,
            **{"trace_ratio": 0.0, **options},
        )
        self.app.get("/items/{item}")(self.item)
        self.app.get("/refused")(self.refused)
        self.app.get("/broken")(self.broken)
        self.app.get("/slow")(self.slow)
        self.app.get("/loop")(self.loop)
        self.app.get("/many")(self.many)
        self.app.get("/later")(self.later)
        self.app.get("/event")(self.with_event)

    async def query(self, sql: str = "SELECT 1") -> None:
        async with self.engine.connect() as connection:
            await connection.execute(text(sql))

    async def item(self, item: int) -> int:
        self.in_request.append((current_ids(), CURRENT.get()))
        await self.query()
        return item

    async def refused(self) -> None:
        raise HTTPException(503)

    async def broken(self, secret: str = "") -> None:
        await self.query()
        raise LookupError(f"password={secret}")

    async def slow(self) -> None:
        await self.query("SELECT nap(0.06)")

    async def loop(self) -> None:
        for number in range(6):
            async with self.engine.connect() as connection:
                await connection.execute(text("SELECT :number"), {"number": number})

    async def many(self, *, fail: bool = False) -> None:
        for number in range(FIRST_ROOM + 10):
            async with self.engine.connect() as connection:
                await connection.execute(text(f"SELECT {number}, 'x'"))
        if fail:
            raise HTTPException(500)

    async def later(self, tasks: BackgroundTasks, *, fail: bool = False) -> None:
        async def work() -> None:
            await self.query()
            if fail:
                raise KeyError

        tasks.add_task(work)

    async def with_event(self) -> None:
        request = CURRENT.get()
        thread = threading.Thread(
            target=add_event, args=("event_loop_blocked", {"duration": 0.5}, request)
        )
        thread.start()
        thread.join()
        raise HTTPException(500)

    def ask(self, *paths: str, headers: dict[str, str] | None = None) -> list[Span]:
        """Send requests after the same ones before; the spans of the second ones."""

        async def run() -> None:
            async with LifespanManager(self.app):
                transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
                async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
                    for path in paths:
                        await client.get(path)
                    tracing = self.vitals.tracing
                    assert isinstance(tracing, TailTracing)
                    await asyncio.to_thread(drain, tracing)
                    self.before = {span.trace_id.hex() for span in self.receiver.spans}
                    self.receiver.spans.clear()
                    for path in paths:
                        await client.get(path, headers=headers)
                    assert tracing.sampler.held == 0
            await self.engine.dispose()

        asyncio.run(run())
        drain(self.vitals.tracing)
        return [span for span in self.receiver.spans if not span.name.startswith("wait")]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def kept(spans: list[Span]) -> list[tuple[str, list[str]]]:
    """Names of server spans, and why they are kept."""
    return [
        (span.name, values(span)["vitals.kept"])
        for span in spans
        if span.kind == Span.SPAN_KIND_SERVER
    ]


def test_what_is_bad_is_kept_and_nothing_else(receiver: Receiver) -> None:
    spans = Shop(receiver).ask("/items/1", "/refused", "/broken", "/slow", "/loop", "/nowhere")
    assert kept(spans) == [
        ("GET /refused", ["error"]),
        ("GET /broken", ["error"]),
        ("GET /slow", ["objective"]),
        ("GET /loop", ["n_plus_one"]),
    ]


@pytest.mark.parametrize("share", [1e-9, 0.0])
def test_the_first_statement_and_the_first_error_of_their_kind_are_kept_with_a_share(
    receiver: Receiver, share: float
) -> None:
    shop = Shop(receiver, trace_ratio=share)

    async def run() -> None:
        transport = httpx.ASGITransport(shop.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            for path in ("/items/1", "/items/2", "/broken", "/broken"):
                await client.get(path)
        await shop.engine.dispose()

    asyncio.run(run())
    drain(shop.vitals.tracing)
    # A share has the first request of each route.
    firsts = [
        ("GET /items/{item}", ["first_seen", "share"]),
        ("GET /broken", ["error", "first_seen", "share"]),
    ]
    assert kept(receiver.spans) == [
        *(firsts if share else [("GET /broken", ["error"])]),
        ("GET /broken", ["error"]),
    ]


def test_without_the_tail_only_the_share_is_kept(receiver: Receiver) -> None:
    assert Shop(receiver, trace_tail=False).ask("/items/1", "/refused", "/slow") == []
    shop = Shop(receiver, trace_tail=False, trace_ratio=1.0)
    assert kept(shop.ask("/items/1", "/refused")) == [
        ("GET /items/{item}", ["share"]),
        ("GET /refused", ["share"]),
    ]


def test_what_the_caller_has_sampled_is_kept(receiver: Receiver) -> None:
    header = {"traceparent": f"00-{PARENT}-b7ad6b7169203331-01"}
    spans = Shop(receiver).ask("/items/1", headers=header)
    assert kept(spans) == [("GET /items/{item}", ["caller"])]
    assert {span.trace_id.hex() for span in spans} == {PARENT}
    assert spans[0].parent_span_id.hex() == "b7ad6b7169203331"


def test_what_the_caller_has_not_sampled_is_in_no_share_but_kept_if_bad(
    receiver: Receiver,
) -> None:
    header = {"traceparent": f"00-{PARENT}-b7ad6b7169203331-00"}
    spans = Shop(receiver, trace_ratio=1.0).ask("/items/1", "/refused", headers=header)
    assert kept(spans) == [("GET /refused", ["error"])]


def test_each_route_has_its_share_however_rare(receiver: Receiver) -> None:
    tail = Shop(receiver, trace_ratio=0.25).vitals.tracing
    assert isinstance(tail, TailTracing)

    def share(route: str, count: int) -> int:
        return sum(tail.sampler._is_in_share(tail.sampler.begin([]), route) for _ in range(count))

    assert share("/rare", 1) == 1
    assert 480 <= share("/busy", 2_000) <= 640, "a quarter, and a little more"


def test_a_query_tells_its_line_and_its_rows(receiver: Receiver) -> None:
    (_, query) = Shop(receiver, trace_ratio=1.0).ask("/items/1")
    told = values(query)
    assert told["code.file.path"].endswith("test_tail.py")
    assert told["code.function.name"] == "Shop.query"
    assert told["code.line.number"] == Shop.query.__code__.co_firstlineno + 2
    assert told["db.response.returned_rows"] == 1
    assert told["db.query.text"] == "SELECT ?"
    assert len(told["vitals.db.query.fingerprint"]) == 16


def test_an_exception_is_an_event_without_secrets(receiver: Receiver) -> None:
    spans = Shop(receiver).ask("/broken?secret=hunter2x")
    (server,) = (span for span in spans if span.kind == Span.SPAN_KIND_SERVER)
    (event,) = server.events
    told = values(event)
    assert event.name == "exception"
    assert told["exception.type"] == "LookupError"
    assert "in broken" in told["exception.stacktrace"]
    assert told["vitals.error.fingerprint"] == values(server)["vitals.error.fingerprint"]
    assert server.status.code == server.status.STATUS_CODE_ERROR
    assert b"hunter2x" not in server.SerializeToString()


def test_a_background_task_that_fails_keeps_its_trace(receiver: Receiver) -> None:
    spans = Shop(receiver).ask("/later", "/later?fail=true")
    assert kept(spans) == [("GET /later", ["error"])]
    (task,) = (span for span in spans if span.name.startswith("background"))
    assert task.status.code == task.status.STATUS_CODE_ERROR
    assert [event.name for event in task.events] == ["exception"]
    assert {span.name for span in spans if span.parent_span_id == task.span_id} == {"SELECT"}


def test_an_event_comes_from_another_thread(receiver: Receiver) -> None:
    (server,) = Shop(receiver).ask("/event")
    events = {event.name: values(event) for event in server.events}
    assert events["event_loop_blocked"] == {"duration": 0.5}


def test_log_records_and_exemplars_name_the_trace_that_is_kept(receiver: Receiver) -> None:
    shop = Shop(receiver)
    spans = shop.ask("/items/1", "/slow")
    kept_traces = shop.before | {span.trace_id.hex() for span in spans}
    for metric in (HTTP_REQUEST_DURATION, DB_OPERATION_DURATION):
        exemplars = {
            sample.exemplar.labels["trace_id"]
            for sample in Readings.of(shop.app).samples
            if sample.exemplar and sample.name.startswith(metric.name)
        }
        assert exemplars
        assert exemplars <= kept_traces, "the second request of /items was not kept"
    ids, request = shop.in_request[-1]
    assert request.trace_id() == f"{ids[0]:032x}"
    assert request.trace.span_id == ids[1]


def test_spans_of_a_request_are_bounded_and_counted(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MAX_SPANS", FIRST_ROOM + 5)
    shop = Shop(receiver, trace_ratio=1.0)
    spans = shop.ask("/many")
    assert len(spans) <= FIRST_ROOM + 5 + 1
    readings = Readings.of(shop.app)
    assert readings.value(DROPPED, reason="spans") >= 10
    assert readings.value(DB_OPERATION_DURATION, "_count") == 2 * (FIRST_ROOM + 10)


def test_requests_beyond_those_held_keep_their_server_span(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MAX_HELD", 0)
    shop = Shop(receiver)
    spans = shop.ask("/broken")
    assert [span.name for span in spans] == ["GET /broken"]
    assert Readings.of(shop.app).value(DROPPED, reason="spans") >= 1


def test_a_host_that_traces_by_the_api_takes_part(receiver: Receiver) -> None:
    """Without the SDK: the kit's records are the global provider then."""
    api = pytest.importorskip("opentelemetry.trace")
    if not isinstance(api.get_tracer_provider(), api.ProxyTracerProvider) and (
        type(api.get_tracer_provider()).__name__ != "RecordProvider"
    ):
        pytest.skip("another test has set a provider")
    shop = Shop(receiver, trace_ratio=1.0)

    @shop.app.get("/own")
    async def own() -> None:
        with api.get_tracer("mine").start_as_current_span("price", attributes={"n": 1}) as span:
            span.add_event("half")
            await shop.query()

    spans = {span.name: span for span in shop.ask("/own")}
    assert spans["price"].parent_span_id == spans["GET /own"].span_id
    assert spans["SELECT"].parent_span_id == spans["price"].span_id
    assert [event.name for event in spans["price"].events] == ["half"]
    assert values(spans["price"])["n"] == 1
    receiver.spans.clear()
    tracing = shop.vitals.tracing
    assert isinstance(tracing, TailTracing)
    api.get_tracer("mine").start_span("never ended")
    assert tracing.sampler.held == 0
    with suppress(LookupError), api.get_tracer("mine").start_as_current_span("job"):
        raise LookupError
    drain(tracing)
    (job,) = receiver.spans
    assert (job.name, job.status.code) == ("job", job.status.STATUS_CODE_ERROR)
    assert values(job)["vitals.kept"] == ["error", "share"]
