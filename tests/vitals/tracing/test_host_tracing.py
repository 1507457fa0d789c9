"""The kit joins the traces of a host, however and whenever the host sets up OpenTelemetry."""

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.vitals.tracing.receiver import receiving
from vitals.metrics.catalogue import DB_OPERATION_DURATION, HTTP_REQUEST_DURATION

ROOT = Path(__file__).parents[3]
HOSTING = Path(__file__).with_name("hosting.py")

HAS_TELEMETRY = find_spec("fastapi.telemetry") is not None
"""Whether this FastAPI has telemetry of its own."""

OUTERMOST = version("opentelemetry-instrumentation-fastapi") >= "0.54"
"""Whether the instrumentation is outside of middleware that the host adds later."""

GLOBAL = (
    "global",
    "global and instrumented before",
    "global and instrumented after",
    "global and instrumented after with closure",
    *(["global instrumentor"] if OUTERMOST else []),
    "global and middleware",
    "instrumented before and in lifespan",
    "instrumented after and in lifespan",
    "in lifespan",
    "late",
)
"""The host's provider is the global one."""

GIVEN = (
    "given to the instrumentor before",
    "given to the instrumentor after",
    *(["given to FastAPI"] if HAS_TELEMETRY else []),
    "given around",
    "given to a parent",
)
"""The host has no global provider, and gives one to what traces its requests."""


PLAIN = "global | OTEL_TRACES_SAMPLER=always_on"
WITH_ENDPOINT = (
    "instrumented after and in lifespan | OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9"
)
UNSAMPLED = tuple(
    f"{scenario} | OTEL_TRACES_SAMPLER=always_off"
    for scenario in ("global", "global and instrumented before")
)
DISABLED = "global | OTEL_SDK_DISABLED=true"
NOT_EXPORTED = "global and not exported"
SILENCE = "global and instrumented in silence"

Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def results() -> Results:
    """What was traced, by scenario."""
    return run(*GLOBAL, *GIVEN, PLAIN, WITH_ENDPOINT, *UNSAMPLED, DISABLED, NOT_EXPORTED, SILENCE)


def run(*scenarios: str) -> Results:
    """Run scenarios together, because importing takes longest."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HOSTING), *scenarios],
        # Forks of one process would be taken for the workers of a server.
        env={**os.environ, "PYTHONPATH": str(ROOT), "VITALS_WORKERS_DIR": ""},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "ERROR" not in done.stderr, done.stderr
    assert "Skipping" not in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(scenarios, lines, strict=True))


def check(result: dict[str, Any]) -> None:
    """One server span a request, its query below, and only its trace in all that is said."""
    servers = [
        span
        for span in result["spans"]
        if span["kind"] == "SERVER" and "healthz" not in str(span) and "metrics" not in str(span)
    ]
    requests = [span["trace"] for span in result["spans"] if span["name"] == "SELECT"]
    assert len(set(requests)) == len(requests) == 2, "a query each of the two requests"
    of_requests = [span for span in servers if span["trace"] in requests]
    assert sorted(span["trace"] for span in of_requests) == sorted(requests)
    parents = {span["span"]: span for span in result["spans"]}
    for query in (span for span in result["spans"] if span["name"] == "SELECT"):
        assert query["scope"] == "vitals"
        ancestor = query
        while ancestor["parent"] is not None:
            ancestor = parents[ancestor["parent"]]
        assert ancestor in of_requests
    said = [name for name, _ in result["named"] if name != "probe"]
    once = ["middleware", "endpoint", "middleware, after", "background task"]
    assert said == [*once, *once[:2], "exception handler", once[2]]
    # What a probe's middleware says comes before the host's instrumentation, which is inside.
    traces = dict.fromkeys(trace for name, trace in result["named"] if name != "probe")
    assert list(traces) == list(dict.fromkeys(span["trace"] for span in of_requests))
    for metric in (HTTP_REQUEST_DURATION, DB_OPERATION_DURATION):
        found = set(result["exemplars"][metric.name])
        assert found, f"{metric.name} has exemplars"
        assert found <= set(requests)


@pytest.mark.parametrize("scenario", [*GLOBAL, *GIVEN])
def test_spans_and_logs_are_those_of_the_hosts_trace(scenario: str, results: Results) -> None:
    check(results[scenario])


def test_an_endpoint_in_the_environment_changes_nothing(results: Results) -> None:
    """It is the host's provider that exports, or not."""
    check(results[WITH_ENDPOINT])


def test_the_hosts_names_of_attributes_stay_as_they_are(results: Results) -> None:
    spans = results["global and instrumented after"]["spans"]
    (server, *_) = (span for span in spans if span["kind"] == "SERVER")
    assert "http.method" in server["attributes"]
    assert "http.request.method" not in server["attributes"]


@pytest.mark.skipif(not HAS_TELEMETRY, reason="this FastAPI has no telemetry of its own")
def test_scrapes_are_not_traced_by_fastapi(results: Results) -> None:
    spans = results["global"]["spans"]
    paths = [s["attributes"]["url.path"] for s in spans if s["kind"] == "SERVER"]
    assert paths == ["/x/1", "/x/0", "/healthz"], "health checks are up to the host"


def test_the_trace_is_known_though_no_line_asks_for_it(results: Results) -> None:
    result = results[SILENCE]
    traces = {span["trace"] for span in result["spans"] if span["name"] == "SELECT"}
    assert result["named"] == []
    assert set(result["exemplars"][HTTP_REQUEST_DURATION.name]) == traces


@pytest.mark.parametrize("scenario", [*UNSAMPLED, DISABLED, NOT_EXPORTED])
def test_no_exemplar_names_a_trace_that_the_host_does_not_keep(
    scenario: str, results: Results
) -> None:
    assert any(results[PLAIN]["exemplars"].values())
    assert results[scenario]["spans"] == []
    assert not any(results[scenario]["exemplars"].values())


@pytest.mark.parametrize(
    "scenario",
    [
        "no provider",
        "no provider but metrics",
        "no provider, instrumented before",
        "no provider, instrumented after",
    ],
)
def test_without_a_provider_the_kits_records_the_hosts_spans_too(scenario: str) -> None:
    with receiving() as receiver:
        variables = f"OTEL_EXPORTER_OTLP_ENDPOINT={receiver.url} | OTEL_TRACES_SAMPLER=always_on"
        (result,) = run(f"{scenario} | {variables}").values()
    spans = [span for span in receiver.spans if "healthz" not in str(span)]
    kinds = Counter(span.name for span in spans if "send" not in span.name)
    assert kinds["GET /x/{number}"] == 2
    assert kinds["work"] == 2, "made by a tracer of the host's"
    assert kinds["SELECT"] == 2
    assert ("http.server.request.duration" in result["metrics"]) is (
        HAS_TELEMETRY and "metrics" in scenario
    )
    if "instrumented" not in scenario:
        assert set(kinds) - {"wait for a connection"} == {
            *("GET /x/{number}", "GET /mounted/b", "work", "SELECT", "background say")
        }, "a provider of the kit's starts no telemetry of FastAPI"
    servers = {s.trace_id.hex() for s in spans if s.kind == s.SPAN_KIND_SERVER}
    assert {s.trace_id.hex() for s in spans if s.name in {"work", "SELECT"}} <= servers
    assert {trace for _, trace in result["named"]} <= servers
    assert set(result["exemplars"][HTTP_REQUEST_DURATION.name]) <= servers
    assert receiver.services == {"api"}
