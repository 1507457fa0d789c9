"""Searches that take too long: they end with what they have found, and say so."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from stack.store.logs.endpoints import LokiApi
from stack.store.logs.log_search import find_lines
from stack.store.logs.logql import parse_selector
from stack.store.metrics import StoreMetrics
from stack.store.otlp.writer import Writer
from stack.store.partitions.deadline import Deadline, QueryTimeoutError
from stack.store.partitions.store_files import Retention, StoreFiles
from stack.store.query import query_pool
from stack.store.query.time_range import ALWAYS
from stack.store.traces import traceql
from stack.store.traces.trace_json import search_result
from stack.store.traces.trace_search import search
from tests.stack.store.storing import PROTOBUF, logs, trace_id, traces

PATTERN = traceql.parse('{ span.url.path =~ "/a[0-9]" }')


class Looks(Deadline):
    """A deadline that passes after so many looks at the clock."""

    def __init__(self, looks: int) -> None:
        super().__init__(1.0)
        self._looks = looks

    @property
    def passed(self) -> bool:
        self._looks -= 1
        return self._looks < 0


@pytest.fixture
def files(tmp_path: Path) -> Iterator[StoreFiles]:
    """Forty traces in one file, then lines in several."""
    made = StoreFiles(tmp_path / "store", Retention(7 * 86_400.0, 8_000_000))
    writer = Writer(made, maintain_seconds=0.01)
    spans = [
        {"trace": trace_id(), "attributes": {"url.path": f"/a{number % 10}"}}
        for number in range(40)
    ]
    send(writer, "traces", traces(*spans).SerializeToString())
    for number in range(20):
        send(writer, "logs", logs({"body": f"{number} " + "y" * 200_000}).SerializeToString())
    writer.stop()
    yield made
    made.close()


def send(writer: Writer, signal: str, body: bytes) -> None:
    writer.submit(signal, body, PROTOBUF["Content-Type"], "").result(30)


def test_a_search_of_traces_that_takes_too_long_is_marked_as_partial(files: StoreFiles) -> None:
    whole = search(files, PATTERN, ALWAYS, 100, Deadline(30))
    assert len(whole.traces) == 40
    assert "status" not in search_result(whole, PATTERN, 3)
    cut = search(files, PATTERN, ALWAYS, 100, Looks(21))
    assert 0 < len(cut.traces) < 40
    answer = search_result(cut, PATTERN, 3)
    assert answer["status"] == "PARTIAL"
    assert "longer than 1 s" in answer["message"]
    assert answer["metrics"]["completedJobs"] == 0


def test_a_search_that_has_found_nothing_yet_is_an_error(files: StoreFiles) -> None:
    nothing = traceql.parse('{ span.url.path =~ "/b[0-9]" }')
    with pytest.raises(QueryTimeoutError, match="shorter time range"):
        search(files, nothing, ALWAYS, 100, Looks(21))
    assert not search(files, nothing, ALWAYS, 100, Deadline(30)).traces
    query = parse_selector('{service_name="shop"}')
    with pytest.raises(QueryTimeoutError, match="shorter time range"):
        find_lines(files, query, ALWAYS, 100, Looks(0))


def test_a_search_of_lines_that_takes_too_long_is_answered_with_a_warning(
    files: StoreFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(files.all) > 2
    monkeypatch.setattr(query_pool, "Deadline", lambda _: Looks(2))
    queries = query_pool.QueryPool(10.0, StoreMetrics())
    app = Starlette(routes=LokiApi(files, queries).routes)
    parameters: dict[str, str] = {"query": '{service_name="shop"}', "limit": "100"}

    async def ask() -> Any:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.get("/loki/api/v1/query_range", params=parameters)).json()

    answer = asyncio.run(ask())
    queries.close()
    found = [value for stream in answer["data"]["result"] for value in stream["values"]]
    assert 0 < len(found) < 20
    assert "longer than 1 s" in answer["warnings"][0]
