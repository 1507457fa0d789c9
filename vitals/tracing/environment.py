"""What decides whether and where traces are exported: arguments, then OpenTelemetry's variables.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables and
https://opentelemetry.io/docs/specs/otel/protocol/exporter
"""

import os
from dataclasses import dataclass
from typing import Literal, NamedTuple

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
TRACES_PATH = "/v1/traces"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
EXPORTER = "OTEL_TRACES_EXPORTER"
SAMPLER = "OTEL_TRACES_SAMPLER"
SAMPLER_ARGUMENT = "OTEL_TRACES_SAMPLER_ARG"
PROPAGATORS = "OTEL_PROPAGATORS"
DISABLED = "OTEL_SDK_DISABLED"

OTLP = "otlp"
HTTP, GRPC = "http/protobuf", "grpc"
_PROTOCOLS = {"otlp_proto_http": HTTP, "otlp_proto_grpc": GRPC}
"""Python's names of exporters that fix the protocol."""


Tracer = Literal["vitals", "opentelemetry"]
"""What makes the spans of requests: the kit's own records, which are held until the end of a
request, or OpenTelemetry's SDK and its instrumentation of FastAPI."""

DEFAULT_RATIO = 0.1
"""Sampling ratio where neither the code nor the environment gives a sampler."""

_SAMPLERS: dict[str, float | None] = {"always_on": 1.0, "always_off": 0.0, "traceidratio": None}
"""Ratios of OpenTelemetry's samplers; None for the one that has an argument."""
_PROPAGATED = frozenset(("tracecontext", "baggage"))


class Share(NamedTuple):
    """The share of traces that is sampled.

    Attributes:
        ratio: Of the traces without a parent, 0 to 1.
        parent_based: Whether the caller's sampled flag decides where there is one.
    """

    ratio: float
    parent_based: bool = True


@dataclass(frozen=True)
class TraceSettings:
    """Settings of the traces of one application.

    Attributes:
        exporters: Names of exporters; none exports nothing.
        endpoint: The endpoint given in code, if OTLP is exported; None leaves it to the
            environment.
        protocol: The protocol of OTLP.
        ratio: The sampling ratio given in code; None leaves it to the environment.
        disabled: Whether ``OTEL_SDK_DISABLED`` forbids all tracing.
        tracer: What makes the spans where the host has no OpenTelemetry.
    """

    exporters: tuple[str, ...] = ()
    endpoint: str | None = None
    protocol: str = HTTP
    ratio: float | None = None
    disabled: bool = False
    tracer: Tracer = "vitals"

    @property
    def share(self) -> Share | None:
        """The share that the code or the environment gives; None for a sampler of another kind."""
        if self.ratio is not None:
            return Share(self.ratio)
        name = _variable(SAMPLER).lower()
        kind = name.removeprefix("parentbased_")
        if not name or kind not in _SAMPLERS:
            return None if name else Share(DEFAULT_RATIO)
        ratio = _SAMPLERS[kind]
        return Share(_ratio(_variable(SAMPLER_ARGUMENT)) if ratio is None else ratio, name != kind)

    @property
    def fits_records(self) -> bool:
        """Whether the kit's records do all that is asked for.

        Otherwise the SDK of OpenTelemetry does: other exporters, protocols, samplers, propagators.
        """
        propagators = {each.strip() for each in _variable(PROPAGATORS).split(",")} - {""}
        return (
            self.tracer == "vitals"
            and self.exporters == (OTLP,)
            and self.protocol != GRPC
            and self.share is not None
            and propagators <= _PROPAGATED
        )


def trace_settings(
    endpoint: str | None = None, ratio: float | None = None, tracer: Tracer = "vitals"
) -> TraceSettings:
    """Read the settings.

    The code says where to, the environment whether and by what: who runs a service can turn its
    traces off without a change of its code.

    Args:
        endpoint: Where to export to, given in code: a base URL or a full URL.
        ratio: Sampling ratio given in code.
        tracer: What makes the spans where the host has no OpenTelemetry.
    """
    if _variable(DISABLED).lower() == "true":
        return TraceSettings(disabled=True)
    protocol = (_variable(TRACES_PROTOCOL) or _variable(PROTOCOL) or HTTP).lower()
    named = tuple(name.strip() for name in _variable(EXPORTER).split(",") if name.strip())
    if "none" in named:
        named = ()
    elif not named and (endpoint or _variable(TRACES_ENDPOINT) or _variable(ENDPOINT)):
        named = (OTLP,)
    for name in named:
        protocol = _PROTOCOLS.get(name, protocol)
    exporters = tuple(dict.fromkeys(OTLP if name in _PROTOCOLS else name for name in named))
    given = endpoint if endpoint and OTLP in exporters else None
    return TraceSettings(exporters, given, protocol, ratio, tracer=tracer)


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


def _ratio(text: str) -> float:
    try:
        found = float(text)
    except ValueError:  # unset, or wrong: as OpenTelemetry has it
        return 1.0
    return found if 0.0 <= found <= 1.0 else 1.0


def _variable(name: str) -> str:
    """A variable's value; the specification treats an empty one as unset."""
    return os.environ.get(name, "").strip()
