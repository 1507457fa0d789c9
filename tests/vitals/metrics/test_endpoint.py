import gzip
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread
import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client import Counter as ForeignCounter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from sqlalchemy import create_engine

from tests.vitals.client import fetch
from tests.vitals.extras import needs_extras
from vitals import instrument
from vitals.metrics.catalogue import CATALOGUE, MEMORY_GROWTH, PROCESS_MAX_VIRTUAL_MEMORY
from vitals.metrics.declarations import Counter, Gauge, Histogram
from vitals.metrics.endpoint import OPENMETRICS, TEXT, MetricsEndpoint, prefers_openmetrics
from vitals.metrics.meter import Meter
from vitals.metrics.worker_sharing import join
from vitals.runtime import ProcessProbe

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


class Labels(NamedTuple):
    word: str
    tone: str


HITS = Counter("hits_total", "Hits \\ with\nodd text.", Labels)
LEVEL = Gauge("level", "Level.", Labels)
WAIT = Histogram("wait_seconds", "Wait.", Labels, (0.1, 1.0))
UNUSUAL = Labels('a"b\\c\nd', "é✓")


def filled_meter() -> Meter:
    meter = Meter()
    meter.counter(HITS).bind(UNUSUAL).inc(3)
    meter.gauge(LEVEL).bind(UNUSUAL).set(float("-inf"))
    wait = meter.histogram(WAIT).bind(UNUSUAL)
    for value in (0.05, 0.5, 5.0):
        wait.observe(value, lambda: "b" * 32)
    return meter


def scrape(meter: Meter, *, as_openmetrics: bool, registry: CollectorRegistry | None = None) -> str:
    exposition = MetricsEndpoint(meter, registry=registry or CollectorRegistry())
    return exposition.render(as_openmetrics, False).decode()


@pytest.mark.parametrize("as_openmetrics", [True, False])
def test_recorded_values_survive_a_round_trip_through_the_parsers(as_openmetrics: bool) -> None:  # noqa: FBT001
    parse = parse_openmetrics if as_openmetrics else parse_text
    families = {f.name: f for f in parse(scrape(filled_meter(), as_openmetrics=as_openmetrics))}
    labels = {"word": 'a"b\\c\nd', "tone": "é✓"}
    assert families["hits"].documentation == "Hits \\ with\nodd text."
    assert [(s.labels, s.value) for s in families["hits"].samples] == [(labels, 3)]
    assert families["level"].samples[0].value == float("-inf")
    wait = {(s.name, s.labels.get("le")): s.value for s in families["wait_seconds"].samples}
    assert wait == {
        ("wait_seconds_bucket", "0.1"): 1,
        ("wait_seconds_bucket", "1.0"): 2,
        ("wait_seconds_bucket", "+Inf"): 3,
        ("wait_seconds_count", None): 3,
        ("wait_seconds_sum", None): 5.55,
    }


def test_only_openmetrics_has_exemplars() -> None:
    (family,) = (
        f
        for f in parse_openmetrics(scrape(filled_meter(), as_openmetrics=True))  # type: ignore[no-untyped-call]
        if f.name == WAIT.name
    )
    exemplars = [s.exemplar for s in family.samples if s.name == "wait_seconds_bucket"]
    assert [e.labels for e in exemplars] == [{"trace_id": "b" * 32}] * 3
    assert [e.value for e in exemplars] == [0.05, 0.5, 5.0]
    assert "trace_id" not in scrape(filled_meter(), as_openmetrics=False)


def test_promtool_accepts_the_metrics_of_an_application() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is installed by `make test`"
    app = FastAPI()
    instrument(app, logs=False)
    fetch(app, "GET", "/openapi.json")
    text = fetch(app, "GET", "/metrics").text
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("text/plain", False),
        ("*/*", False),
        ("", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.1,text/plain;q=0.2", False),
        ("application/openmetrics-text;q=nonsense", False),
        ("application/openmetrics-text;version=2.0.0", False),
        (",;=,,", False),
    ],
)
def test_accept_selects_the_format(accept: str, openmetrics: bool) -> None:  # noqa: FBT001
    assert prefers_openmetrics(accept) is openmetrics
    app = FastAPI()
    instrument(app, logs=False)
    response = fetch(app, "GET", "/metrics", headers={"accept": accept})
    assert response.headers["content-type"] == (OPENMETRICS if openmetrics else TEXT)
    assert response.text.endswith("# EOF\n") is openmetrics


@pytest.mark.parametrize(
    ("encoding", "zipped"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("br", False)],
)
def test_accept_encoding_selects_gzip(encoding: str, zipped: bool) -> None:  # noqa: FBT001
    app = FastAPI()
    instrument(app, logs=False)

    async def raw() -> tuple[httpx.Headers, bytes]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://test"
        ) as client:
            request = client.build_request("GET", "/metrics", headers={"accept-encoding": encoding})
            response = await client.send(request, stream=True)
            return response.headers, b"".join([part async for part in response.aiter_raw()])

    headers, body = anyio.run(raw)
    assert headers["vary"] == "accept, accept-encoding"
    assert (headers.get("content-encoding") == "gzip") is zipped
    assert b"app_build_info" in (gzip.decompress(body) if zipped else body)


def test_the_endpoint_is_unmeasured_and_read_only() -> None:
    app = FastAPI()
    instrument(app, logs=False)
    for _ in range(3):
        response = fetch(app, "GET", "/metrics")
        assert response.status_code == 200
        assert not response.history
    assert 'http_route="/metrics"' not in response.text
    assert fetch(app, "HEAD", "/metrics").text == ""
    refused = fetch(app, "POST", "/metrics")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_the_endpoint_requires_the_token() -> None:
    app = FastAPI()
    instrument(app, logs=False, metrics_token="right")
    for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic right"}):
        response = fetch(app, "GET", "/metrics", headers=header)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert "app_build_info" not in response.text
    assert fetch(app, "GET", "/metrics", headers={"authorization": "bearer right"}).is_success


@needs_extras
def test_every_response_of_the_kit_has_security_headers() -> None:
    app, engine = FastAPI(), create_engine("sqlite://")
    instrument(
        app, engine=engine, logs=False, metrics_token="right", admin="a token that is long enough"
    )
    right = {"authorization": "Bearer right"}
    for method, path, options in (
        ("GET", "/metrics", {}),
        ("GET", "/metrics", {"headers": right}),
        ("POST", "/metrics", {}),
        ("GET", "/vitals/bottlenecks", {}),
        ("POST", "/vitals/bottlenecks", {}),
    ):
        response = fetch(app, method, path, **options)
        assert response.headers["x-content-type-options"] == "nosniff", (method, path)
        assert response.headers["cache-control"] == "no-store"
    engine.dispose()


def test_prometheus_client_metrics_are_exported_too() -> None:
    registry = CollectorRegistry()
    ForeignCounter("sold", "Sold.", registry=registry).inc(2)
    ForeignCounter("hits", "Named like ours.", registry=registry).inc(9)
    for as_openmetrics in (True, False):
        text = scrape(filled_meter(), as_openmetrics=as_openmetrics, registry=registry)
        assert "sold_total 2.0" in text
        assert "hits_total 9.0" not in text
        assert text.count("# EOF") == as_openmetrics
        parse = parse_openmetrics if as_openmetrics else parse_text
        assert {"sold", "hits"} <= {family.name for family in parse(text)}


def test_a_foreign_metric_with_a_taken_name_is_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = CollectorRegistry()
    ForeignCounter("hits", "Named like ours.", registry=registry)
    ProcessCollector(registry=registry)
    meter = filled_meter()
    ProcessProbe(meter)
    exposition = MetricsEndpoint(meter, registry=registry)
    for _ in range(3):
        text = exposition.render(as_openmetrics=True, gzipped=False).decode()
    assert 'vitals_dropped_total{reason="name_taken"} 1.0' in text
    (message,) = (record.getMessage() for record in caplog.records)
    assert "hits" in message


def test_a_failing_foreign_collector_leaves_other_metrics_intact() -> None:
    class Broken:
        def collect(self) -> None:
            raise LookupError

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Broken())  # type: ignore[arg-type]
    meter = filled_meter()
    text = scrape(meter, as_openmetrics=True, registry=registry)
    assert "hits_total" in text
    assert 'vitals_dropped_total{reason="foreign_collector"} 1.0' in scrape(
        meter, as_openmetrics=True
    )


def test_a_scrape_succeeds_while_every_pool_thread_hangs() -> None:
    app = FastAPI()
    instrument(app, logs=False)

    async def run() -> int:
        limiter = anyio.to_thread.current_default_thread_limiter()
        for _ in range(int(limiter.total_tokens)):
            await limiter.acquire_on_behalf_of(object())
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://test"
        ) as client:
            with anyio.fail_after(5):
                response = await client.get("/metrics")
        return response.status_code

    assert anyio.run(run) == 200


def test_process_metrics_are_declared() -> None:
    """The catalogue names what prometheus_client's own collectors export."""
    app = FastAPI()
    instrument(app, logs=False)
    text = fetch(app, "GET", "/metrics").text
    exported = {family.name: family for family in parse_text(text)}
    for name, metric in CATALOGUE.items():
        # Older versions of prometheus_client lack this limit.
        is_absent = name == PROCESS_MAX_VIRTUAL_MEMORY.name and name not in exported
        is_ours = name == MEMORY_GROWTH.name
        if name.startswith(("process_", "python_")) and not is_absent and not is_ours:
            family = exported[name.removesuffix("_total")]
            assert set(family.samples[0].labels) == set(metric.label_names)


def test_foreign_metrics_of_one_worker_are_exported_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = CollectorRegistry()
    ForeignCounter("sold", "Sold.", registry=registry).inc(2)
    meter = filled_meter()
    join(meter, "test", tmp_path)
    exposition = MetricsEndpoint(meter, registry=registry)
    for _ in range(2):
        assert "sold_total 2.0" in exposition.render(as_openmetrics=True, gzipped=False).decode()
    assert [
        record.message for record in caplog.records if "PROMETHEUS_MULTIPROC_DIR" in record.message
    ]
    assert len(caplog.records) == 1
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    code = "from prometheus_client import Counter; Counter('sold', 'Sold.').inc(5)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True)
    assert "sold_total 10.0" in exposition.render(as_openmetrics=False, gzipped=False).decode()
