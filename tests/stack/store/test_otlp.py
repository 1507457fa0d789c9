"""OTLP: what is accepted, what is refused and how, and who may send."""

import asyncio
import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from asgi_lifespan import LifespanManager
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from stack.store.application import build
from stack.store.otlp import messages, writer
from stack.store.partitions.store_files import Retention
from tests.stack.store.storing import PAGE, PROTOBUF, Store, logs, storing, trace_id, traces

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with storing(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.mark.servers
def test_protobuf_is_accepted_compressed_or_not(store: Store) -> None:
    for encoding in ("identity", "gzip"):
        trace = trace_id()
        body = traces({"trace": trace}).SerializeToString()
        response = store.client.post(
            "/v1/traces",
            content=gzip.compress(body) if encoding == "gzip" else body,
            headers=PROTOBUF | {"Content-Encoding": encoding},
        )
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/x-protobuf"
        assert not ExportTraceServiceResponse.FromString(response.content).HasField(
            "partial_success"
        )
        # It was committed before it was acknowledged.
        assert store.client.get(f"/api/traces/{trace}").is_success


@pytest.mark.servers
def test_all_members_of_a_gzip_body_are_stored(store: Store) -> None:
    ids = [trace_id(), trace_id()]
    bodies = [traces({"trace": each}).SerializeToString() for each in ids]
    response = store.client.post(
        "/v1/traces",
        content=b"".join(map(gzip.compress, bodies)),
        headers=PROTOBUF | {"Content-Encoding": "gzip"},
    )
    assert response.is_success
    assert all(store.client.get(f"/api/traces/{each}").is_success for each in ids)


@pytest.mark.servers
def test_json_has_hexadecimal_ids(store: Store) -> None:
    trace, now = trace_id().upper(), str(time.time_ns())
    span = {"traceId": trace, "spanId": "EEE19B7EC3C1B174", "name": "GET /", "kind": 2}
    span |= {"startTimeUnixNano": now, "endTimeUnixNano": now, "unknown": {"a": 1}}
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    response = store.client.post("/v1/traces", json=body)
    assert (response.status_code, response.json()) == (200, {})
    batches = store.get(f"/api/traces/{trace.lower()}")["batches"]
    assert batches[0]["scopeSpans"][0]["spans"][0]["name"] == "GET /"
    line = json_format.MessageToDict(logs({"body": "by JSON"}))
    assert store.client.post("/v1/logs", json=line).is_success
    assert store.lines('{service_name="shop"} |= "by JSON"') == ["by JSON"]


@pytest.mark.servers
def test_what_cannot_be_kept_is_counted_in_a_partial_success(store: Store) -> None:
    kept = trace_id()
    week = 8 * 86_400.0
    response = store.send_traces(
        {"trace": kept}, {"trace": "00" * 16}, {"trace": kept, "ago": week}
    )
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_spans == 2
    assert "trace id" in partial.error_message
    assert "before all that is kept" in partial.error_message
    assert store.client.get(f"/api/traces/{kept}").is_success
    response = store.send_logs({"body": "x" * 300_000}, {"body": "tomorrow", "ago": -86_400.0})
    found = ExportLogsServiceResponse.FromString(response.content).partial_success
    assert found.rejected_log_records == 2
    assert "characters" in found.error_message
    assert "clock" in found.error_message


@pytest.mark.servers
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"no protobuf", PROTOBUF, 400),
        (b"{", JSON, 400),
        (b"[]", JSON, 400),
        (b"null", JSON, 400),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}', JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b"not gzip", PROTOBUF | {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"x", mtime=0)[:-9], PROTOBUF | {"Content-Encoding": "gzip"}, 400),
        (
            gzip.compress(bytes(messages.MAX_BYTES + 1), mtime=0),
            PROTOBUF | {"Content-Encoding": "gzip"},
            413,
        ),
        (
            2 * gzip.compress(bytes(messages.MAX_BYTES // 2 + 1), mtime=0),
            PROTOBUF | {"Content-Encoding": "gzip"},
            413,
        ),
        (bytes(messages.MAX_BYTES + 1), PROTOBUF, 413),
        (b"", {"Content-Type": "text/plain"}, 415),
        (b"", PROTOBUF | {"Content-Encoding": "br"}, 415),
    ],
)
def test_what_is_not_otlp_is_refused(
    store: Store, body: bytes, headers: dict[str, str], status: int
) -> None:
    response = store.client.post("/v1/traces", content=body, headers=headers)
    assert response.status_code == status, response.text
    assert response.text
    assert store.client.get("/ready").is_success


@pytest.mark.servers
def test_pages_may_read_if_they_are_the_viewers_and_nobodys_may_write(store: Store) -> None:
    read = store.client.get("/api/echo", headers={"Origin": PAGE})
    assert read.headers["Access-Control-Allow-Origin"] == PAGE
    foreign = store.client.get("/api/echo", headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert "Access-Control-Allow-Origin" not in foreign.headers
    rebound = store.client.get("/api/echo", headers={"Host": f"evil.example:{store.port}"})
    assert rebound.status_code == 403
    for origin in (PAGE, "null", "http://evil.example"):
        written = store.client.post(
            "/v1/traces", content=b"", headers=PROTOBUF | {"Origin": origin}
        )
        assert written.status_code == 403


@pytest.mark.servers
def test_it_counts_what_it_does(store: Store) -> None:
    before = store.metrics()
    store.send_traces({"trace": trace_id()}, {"trace": "00" * 16})
    store.client.post("/v1/logs", content=b"no protobuf", headers=PROTOBUF)
    after = store.metrics()

    def more(name: str) -> float:
        return after[name] - before[name]

    assert more('vitals_store_stored_total{kind="spans"}') == 1
    assert more('vitals_store_rejected_total{kind="spans"}') == 1
    assert more('vitals_store_refused_requests_total{reason="invalid",signal="logs"}') == 1
    assert after["vitals_store_size_bytes"] > 0
    assert after["vitals_store_limit_bytes"] == 2e9
    assert time.time() - after["vitals_store_oldest_timestamp_seconds"] < 600
    assert after["process_resident_memory_bytes"] > 0


def test_more_than_can_wait_is_refused_with_the_time_to_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING", 100)
    app = build(tmp_path / "store", Retention(3_600, 100_000_000))
    body = traces({"trace": trace_id()}).SerializeToString()

    async def send() -> tuple[httpx.Response, httpx.Response]:
        async with (
            LifespanManager(app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers=PROTOBUF
            ) as client,
        ):
            return (
                await client.post("/v1/traces", content=body),
                await client.post("/v1/traces", content=b""),
            )

    refused, accepted = asyncio.run(send())
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert accepted.status_code == 200
