"""What decides whether and where traces are exported: arguments, then OpenTelemetry's variables.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables and
https://opentelemetry.io/docs/specs/otel/protocol/exporter
"""

import os
from dataclasses import dataclass

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
TRACES_PATH = "/v1/traces"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
EXPORTER = "OTEL_TRACES_EXPORTER"
SAMPLER = "OTEL_TRACES_SAMPLER"
DISABLED = "OTEL_SDK_DISABLED"

OTLP = "otlp"
HTTP, GRPC = "http/protobuf", "grpc"
_PROTOCOLS = {"otlp_proto_http": HTTP, "otlp_proto_grpc": GRPC}
"""Python's names of exporters that fix the protocol."""


@dataclass(frozen=True)
class TraceSettings:
    """Settings of the traces of one application.

    Attributes:
        exporters: Names of exporters; none exports nothing.
        endpoint: The endpoint given in code; None leaves it to the environment.
        protocol: The protocol of OTLP.
        ratio: The sampling ratio given in code; None leaves it to the environment.
        disabled: Whether ``OTEL_SDK_DISABLED`` forbids all tracing.
    """

    exporters: tuple[str, ...] = ()
    endpoint: str | None = None
    protocol: str = HTTP
    ratio: float | None = None
    disabled: bool = False


def trace_settings(endpoint: str | None = None, ratio: float | None = None) -> TraceSettings:
    """Read the settings.

    Args:
        endpoint: Where to export to, given in code: a base URL or a full URL.
        ratio: Sampling ratio given in code.
    """
    if _variable(DISABLED).lower() == "true":
        return TraceSettings(disabled=True)
    protocol = (_variable(TRACES_PROTOCOL) or _variable(PROTOCOL) or HTTP).lower()
    named = tuple(name.strip() for name in _variable(EXPORTER).split(",") if name.strip())
    if endpoint:
        named = (OTLP,)
    elif "none" in named:
        named = ()
    elif not named and (_variable(TRACES_ENDPOINT) or _variable(ENDPOINT)):
        named = (OTLP,)
    for name in named:
        protocol = _PROTOCOLS.get(name, protocol)
    exporters = tuple(OTLP if name in _PROTOCOLS else name for name in named)
    return TraceSettings(tuple(dict.fromkeys(exporters)), endpoint or None, protocol, ratio)


def traces_endpoint(endpoint: str | None) -> str | None:
    """The OTLP/HTTP URL to export traces to, from the argument or the environment; None for none.

    The environment variable for all signals is a base URL; the one for traces is a full URL and
    takes precedence.

    Args:
        endpoint: A base URL or a full URL.
    """
    base = endpoint or None
    if base is None and (address := _variable(TRACES_ENDPOINT)):
        return address
    base = base or _variable(ENDPOINT) or None
    return None if base is None else base.rstrip("/").removesuffix(TRACES_PATH) + TRACES_PATH


def samples_by_environment() -> bool:
    """Whether the environment chooses the sampler."""
    return bool(_variable(SAMPLER))


def _variable(name: str) -> str:
    """A variable's value; the specification treats an empty one as unset."""
    return os.environ.get(name, "").strip()
