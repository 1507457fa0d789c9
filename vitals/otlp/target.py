"""Where a signal is sent by OTLP over HTTP: arguments, then OpenTelemetry's variables.

https://opentelemetry.io/docs/specs/otel/protocol/exporter. A variable of the signal
(``OTEL_EXPORTER_OTLP_LOGS_ENDPOINT``) precedes the one of all signals.
"""

import base64
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

Signal = Literal["traces", "logs", "profiles"]

HTTP, GRPC = "http/protobuf", "grpc"

TIMEOUT = 10.0
"""Seconds of one request, where no variable says otherwise."""
_MILLISECONDS = 1_000
"""From here on a time-out is meant in milliseconds, as specified; below in seconds, which is how
OpenTelemetry for Python reads it."""
_MAX_TIMEOUT = 60.0


class TargetError(ValueError):
    """The variables name a target that cannot be used; the text says which and what to do."""


@dataclass(frozen=True)
class Target:
    """Where one signal is sent, and how.

    Attributes:
        url: The full URL, such as ``http://127.0.0.1:4318/v1/logs``, without user and password.
        headers: Further headers; they may be secret.
        timeout: Seconds of one request.
        gzip: Whether bodies are compressed.
        certificate: File of the authorities that are trusted; None for the system's.
        client_certificate: File of the client's certificate; None for none.
        client_key: File of its key; None if it is in the same file.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = TIMEOUT
    gzip: bool = False
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None


def target_of(signal: Signal, endpoint: str | None = None) -> Target | None:
    """The target of a signal; None where neither the argument nor the environment names one.

    Args:
        signal: The signal.
        endpoint: A base URL given in code, or a full URL that ends in ``/v1/<signal>``.

    Raises:
        TargetError: The URL is none of HTTP, or the protocol is another one than http/protobuf.
    """
    path = f"/v1/{signal}"
    own = None if endpoint else _variable(signal, "ENDPOINT", own=True)
    base = endpoint or _variable(signal, "ENDPOINT")
    if not base:
        return None
    protocol = _variable(signal, "PROTOCOL") or HTTP
    if protocol == GRPC and not endpoint:
        raise TargetError(
            f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}, and {signal} are sent by {HTTP} only: set "
            f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL={HTTP} and "
            f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT to the collector's HTTP port "
            f"(usually 4318) with the path {path}"
        )
    found = urlsplit(own or base.rstrip("/").removesuffix(path) + path)
    try:
        usable = found.scheme in {"http", "https"} and bool(found.hostname) and found.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise TargetError(
            f"the OTLP endpoint of {signal} is no URL of HTTP, such as http://127.0.0.1:4318"
        )
    return Target(
        urlunsplit(found._replace(netloc=found.netloc.rpartition("@")[2], fragment="")),
        {**_headers(_variable(signal, "HEADERS")), **credentials(found)},
        _seconds(_variable(signal, "TIMEOUT")),
        _compresses(_variable(signal, "COMPRESSION"), found.hostname or ""),
        _variable(signal, "CERTIFICATE") or None,
        _variable(signal, "CLIENT_CERTIFICATE") or None,
        _variable(signal, "CLIENT_KEY") or None,
    )


def is_disabled(signal: Signal) -> bool:
    """Whether the environment forbids to export a signal, or names exporters without OTLP."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return True
    named = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").lower().split(",")
    exporters = {name.strip() for name in named} - {""}
    return bool(exporters) and exporters.isdisjoint(("otlp", "otlp_proto_http"))


def _variable(signal: Signal, name: str, *, own: bool = False) -> str:
    """A variable's value; the specification treats an empty one as unset."""
    found = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", "").strip()
    return found if found or own else os.environ.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if equals and name.strip():
            headers[unquote(name.strip()).lower()] = unquote(value.strip())
    return headers


def credentials(url: SplitResult) -> dict[str, str]:
    """The header of the user and the password of a URL."""
    if url.username is None:
        return {}
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
    return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return TIMEOUT
    seconds = found / 1_000 if found >= _MILLISECONDS else found
    return min(seconds, _MAX_TIMEOUT) if seconds > 0 else TIMEOUT


def _compresses(text: str, host: str) -> bool:
    """Compress by default where the way is longer than this machine."""
    if text:
        return text.lower() == "gzip"
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
