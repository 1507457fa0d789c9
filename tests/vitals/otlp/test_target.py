"""The environment says where a signal goes, as OpenTelemetry specifies it."""

import pytest

from vitals.otlp.target import TargetError, is_disabled, target_of

PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "LOGS_ENDPOINT", "HEADERS", "PROTOCOL"):
        monkeypatch.delenv(PREFIX + name, raising=False)


def test_nothing_is_sent_where_nobody_asks() -> None:
    assert target_of("logs") is None


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"ENDPOINT": "http://c:4318"}, "http://c:4318/v1/logs"),
        ({"ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/logs"),
        ({"ENDPOINT": "http://c/prefix"}, "http://c/prefix/v1/logs"),
        ({"ENDPOINT": "http://c", "LOGS_ENDPOINT": "http://d/as-is"}, "http://d/as-is"),
        ({"ENDPOINT": "http://c", "LOGS_ENDPOINT": " "}, "http://c/v1/logs"),
        ({"ENDPOINT": "http://user:word@c"}, "http://c/v1/logs"),
    ],
)
def test_the_endpoint(variables: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    target = target_of("logs")
    assert target is not None
    assert target.url == url


def test_an_endpoint_in_code_precedes_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "LOGS_ENDPOINT", "http://d/as-is")
    for given in ("http://c", "http://c/v1/logs"):
        target = target_of("logs", given)
        assert target is not None
        assert target.url == "http://c/v1/logs"


def test_headers_and_credentials_of_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "ENDPOINT", "https://user:wo%20rd@c")
    monkeypatch.setenv(PREFIX + "HEADERS", "X-Tenant=a%20b, broken ,k=v=w")
    target = target_of("logs")
    assert target is not None
    assert target.headers == {
        "x-tenant": "a b",
        "k": "v=w",
        "authorization": "Basic dXNlcjp3byByZA==",
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 10), ("5", 5), ("2500", 2.5), ("0", 10), ("soon", 10), ("500", 60)],
)
def test_the_time_out(text: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "TIMEOUT", text)
    target = target_of("logs", "http://c")
    assert target is not None
    assert target.timeout == seconds


@pytest.mark.parametrize(
    ("text", "host", "compresses"),
    [
        ("", "127.0.0.1", False),
        ("", "localhost", False),
        ("", "[::1]", False),
        ("", "collector", True),
        ("none", "collector", False),
        ("gzip", "127.0.0.1", True),
    ],
)
def test_what_leaves_the_machine_is_compressed(
    text: str, host: str, *, compresses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + "COMPRESSION", text)
    target = target_of("logs", f"http://{host}:4318")
    assert target is not None
    assert target.gzip is compresses


@pytest.mark.parametrize("endpoint", ["c:4318", "ftp://c", "http://", "http://c:port"])
def test_no_url_is_refused_with_what_to_write(endpoint: str) -> None:
    with pytest.raises(TargetError, match=r"such as http://127\.0\.0\.1:4318"):
        target_of("logs", endpoint)


def test_grpc_is_refused_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "ENDPOINT", "http://c:4317")
    monkeypatch.setenv(PREFIX + "PROTOCOL", "grpc")
    with pytest.raises(TargetError, match="OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=http/protobuf"):
        target_of("logs")
    monkeypatch.setenv(PREFIX + "LOGS_PROTOCOL", "http/protobuf")
    assert target_of("logs") is not None


@pytest.mark.parametrize(
    ("variables", "disabled"),
    [
        ({}, False),
        ({"OTEL_LOGS_EXPORTER": "none"}, True),
        ({"OTEL_LOGS_EXPORTER": "console"}, True),
        ({"OTEL_LOGS_EXPORTER": "console, otlp"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_SDK_DISABLED": "True"}, True),
    ],
)
def test_the_environment_forbids(
    variables: dict[str, str], *, disabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OTEL_LOGS_EXPORTER", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_disabled("logs") is disabled
