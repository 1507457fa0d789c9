"""OpenTelemetry's variables, and arguments that take precedence."""

from importlib import import_module
from typing import Any

import pytest
from fastapi import FastAPI

from tests.vitals.client import fetch
from vitals import Vitals, instrument
from vitals.tracing import exporters
from vitals.tracing.environment import TraceSettings, trace_settings, traces_endpoint
from vitals.tracing.tail.sampler import Sampling
from vitals.tracing.tail.setup import TailTracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL", "TRACES_PROTOCOL"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)
    for name in ("TRACES_EXPORTER", "TRACES_SAMPLER", "TRACES_SAMPLER_ARG", "SDK_DISABLED"):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "endpoint", "expected"),
    [
        ({}, None, ()),
        ({}, "http://x:4318", ("otlp",)),
        (ENDPOINT, None, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/custom"}, None, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None, ()),
        ({"OTEL_TRACES_EXPORTER": "none", **ENDPOINT}, None, ()),
        ({"OTEL_TRACES_EXPORTER": "none"}, "http://x:4318", ()),
        ({"OTEL_TRACES_EXPORTER": "none, otlp"}, "http://x:4318", ()),
        ({"OTEL_TRACES_EXPORTER": "console"}, "http://x:4318", ("console",)),
        ({"OTEL_TRACES_EXPORTER": "console,otlp"}, "http://x:4318", ("console", "otlp")),
        ({"OTEL_TRACES_EXPORTER": "console"}, None, ("console",)),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, None, ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "otlp, console,otlp"}, None, ("otlp", "console")),
        ({"OTEL_TRACES_EXPORTER": "otlp_proto_http"}, None, ("otlp",)),
        ({"OTEL_SDK_DISABLED": "True"}, "http://x:4318", ()),
    ],
)
def test_exporters(
    variables: dict[str, str],
    endpoint: str | None,
    expected: tuple[str, ...],
    environment: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    settings = trace_settings(endpoint)
    assert settings.exporters == expected
    assert settings.endpoint == (endpoint if "otlp" in expected else None)
    assert settings.disabled is ("OTEL_SDK_DISABLED" in variables)


def test_the_protocol_of_traces_takes_precedence(environment: pytest.MonkeyPatch) -> None:
    assert trace_settings().protocol == "http/protobuf"
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert trace_settings().protocol == "grpc"
    environment.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    assert trace_settings().protocol == "http/protobuf"
    environment.setenv("OTEL_TRACES_EXPORTER", "otlp_proto_grpc")
    assert trace_settings().protocol == "grpc"


def test_the_endpoint_of_traces_is_a_full_url(environment: pytest.MonkeyPatch) -> None:
    assert traces_endpoint(None) is None
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/")
    assert traces_endpoint(None) == "http://collector:4318/v1/traces"
    environment.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector/custom")
    assert traces_endpoint(None) == "http://collector/custom"
    assert traces_endpoint("http://other:4318/") == "http://other:4318/v1/traces"
    assert traces_endpoint("http://other:4318/v1/traces") == "http://other:4318/v1/traces"


def make(**options: Any) -> Vitals:
    return instrument(FastAPI(version="3"), logs=False, **options)


@pytest.mark.parametrize(
    ("variables", "ratio", "sampler"),
    [
        ({}, None, "TraceIdRatioBased{0.1}"),
        ({}, 0.25, "TraceIdRatioBased{0.25}"),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, None, "AlwaysOnSampler"),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, None, "AlwaysOffSampler"),
        (
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            None,
            "TraceIdRatioBased{0.5}",
        ),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 1.0, "TraceIdRatioBased{1.0}"),
    ],
)
def test_samplers(
    variables: dict[str, str],
    ratio: float | None,
    sampler: str,
    environment: pytest.MonkeyPatch,
) -> None:
    for name, value in (ENDPOINT | variables).items():
        environment.setenv(name, value)
    tracing = make(trace_ratio=ratio, tracer="opentelemetry").tracing
    assert tracing is not None
    assert sampler in tracing.provider.sampler.get_description()


@pytest.mark.parametrize(
    ("variables", "ratio", "share", "honours_caller"),
    [
        ({}, None, 0.1, True),
        ({}, 0.25, 0.25, True),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, None, 1.0, False),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, None, 0.0, True),
        (
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            None,
            0.5,
            True,
        ),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, None, 1.0, False),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, None, 1.0, False),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 1.0, 1.0, True),
    ],
)
def test_shares(
    variables: dict[str, str],
    ratio: float | None,
    share: float,
    honours_caller: bool,  # noqa: FBT001
    environment: pytest.MonkeyPatch,
) -> None:
    for name, value in (ENDPOINT | variables).items():
        environment.setenv(name, value)
    tracing = make(trace_ratio=ratio).tracing
    assert isinstance(tracing, TailTracing)
    assert tracing.provider.sampler == Sampling(share, honours_caller)


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_TRACES_EXPORTER": "otlp,console"},
        {"OTEL_PROPAGATORS": "tracecontext,b3"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_what_records_cannot_do_is_done_by_opentelemetry(
    variables: dict[str, str], environment: pytest.MonkeyPatch
) -> None:
    for name, value in (ENDPOINT | variables).items():
        environment.setenv(name, value)
    assert not trace_settings().fits_records
    given = trace_settings("http://127.0.0.1:9")
    assert not given.fits_records, "an endpoint in code changes none of what they ask for"


def test_the_resource_is_that_of_the_environment_unless_given(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    environment.setenv(
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=orders,service.version=9,service.instance.id=pod-1,team=a%20b",
    )

    def resource(**options: str) -> Any:
        tracing = make(**options).tracing
        assert tracing is not None
        return tracing.provider.resource.attributes

    found = resource()
    assert found["service.name"] == "orders"
    assert found["service.version"] == "9"
    assert found["service.instance.id"] == "pod-1"
    assert found["team"] == "a b"
    environment.setenv("OTEL_SERVICE_NAME", "shop")
    assert resource()["service.name"] == "shop"
    given = resource(service_name="till", version="10")
    assert (given["service.name"], given["service.version"]) == ("till", "10")
    environment.delenv("OTEL_RESOURCE_ATTRIBUTES")
    plain = resource()
    assert plain["service.version"] == "3"
    assert len(plain["service.instance.id"]) == 36


def test_grpc_is_used_where_it_is_installed(environment: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc")
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    tracing = make(otlp_endpoint="http://127.0.0.1:9").tracing
    assert tracing is not None
    assert ".grpc." in type(tracing._exporter).__module__


def test_without_grpc_tracing_is_off_and_says_what_to_do(
    environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def not_installed(name: str) -> Any:
        if name.startswith("opentelemetry.exporter.otlp.proto.grpc"):
            raise ModuleNotFoundError("No module named 'grpc'")
        return import_module(name)

    environment.setattr(exporters, "import_module", not_installed)
    environment.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    app = FastAPI()
    vitals = instrument(app, logs=False, otlp_endpoint="http://127.0.0.1:4317")
    assert vitals.tracing is None
    assert "opentelemetry-exporter-otlp-proto-grpc" in caplog.text
    assert fetch(app, "GET", "/openapi.json").status_code == 200
    assert len(caplog.records) == 1


@pytest.mark.parametrize("name", ["zipkin", "otlp"])
def test_an_exporter_that_does_not_start_harms_nobody(
    name: str, environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "none_such")
    environment.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "rar")  # older versions know only this
    assert exporters.make_exporters(TraceSettings((name,))) == []
    assert name in caplog.text
