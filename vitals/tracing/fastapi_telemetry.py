"""FastAPI's own telemetry (0.165 and later), which the kit configures; nothing else is imported."""

from typing import Any

from fastapi import FastAPI

FASTAPI_TELEMETRY = "fastapi.telemetry"
"""The key of the scope under which FastAPI keeps its own telemetry of a request. None keeps it from
the request; FastAPI sets that where the host excludes one."""


def has_telemetry(app: FastAPI) -> bool:
    """Whether this FastAPI has telemetry of its own."""
    return isinstance(getattr(app, "_telemetry", None), dict)


def fastapi_provider(app: FastAPI) -> Any:
    """The tracer provider that the host has given to FastAPI's own telemetry."""
    config = getattr(app, "_telemetry", None)
    if not isinstance(config, dict) or not config.get("tracing"):
        return None
    return config.get("tracer_provider")


def stop_fastapi_spans(app: FastAPI) -> None:
    """Keep FastAPI's own telemetry from making spans because there is a provider of the kit's."""
    config = getattr(app, "_telemetry", None)
    if isinstance(config, dict) and "tracing" in config:
        config["tracing"] = False
