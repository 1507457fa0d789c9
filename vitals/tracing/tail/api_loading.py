"""Loads the bridge to OpenTelemetry's API once the process uses that."""

import sys
from importlib import import_module
from typing import Any

from vitals.asgi.trace_record import Bridges

API = "opentelemetry.trace"

_failed = False


def load_bridge() -> None:
    """Connect records with OpenTelemetry's API, unless the host has a tracer provider of its own.

    Then its spans are its own affair, and those of the kit go on without them.
    """
    global _failed  # noqa: PLW0603  # once a process
    api: Any = sys.modules.get(API)
    if Bridges.current is not None or _failed or api is None:
        return
    try:
        if isinstance(api.get_tracer_provider(), api.ProxyTracerProvider):
            import_module("vitals.tracing.tail.api_bridge").connect()
        _failed = Bridges.current is None
    except AttributeError:
        return  # it is being imported just now
    except Exception:  # noqa: BLE001  # an unknown version
        _failed = True


def join_bridge(sampler: Any) -> None:
    """Keep what the host records outside of requests by the newest application's sampler."""
    _samplers[:] = [sampler]
    if API in sys.modules:
        load_bridge()


def current_sampler() -> Any:
    """The sampler of the newest application; None without one."""
    return _samplers[0] if _samplers else None


_samplers: list[Any] = []
