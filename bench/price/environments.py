"""What each variant of the service needs installed, pinned: all run the same libraries."""

from bench import virtualenvs

BASE = (
    "asyncpg==0.32.0",
    "fastapi==0.165.0",
    "greenlet==3.5.6",
    "hiredis==3.5.0",
    "httptools==0.9.0",
    "redis==8.1.0",
    "sqlalchemy==2.0.58",  # OpenTelemetry's instrumentation refuses 2.1
    "starlette==1.10.0",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
)
OPENTELEMETRY = (
    "opentelemetry-exporter-otlp-proto-http==1.45.1",
    "opentelemetry-instrumentation-fastapi==0.66b1",
    "opentelemetry-instrumentation-logging==0.66b1",
    "opentelemetry-instrumentation-redis==0.66b1",
    "opentelemetry-instrumentation-sqlalchemy==0.66b1",
)
KIT = (
    "google-re2==1.1.20251105",
    "msgspec==0.22.0",
    "opentelemetry-exporter-otlp-proto-http==1.45.1",
    "opentelemetry-instrumentation-fastapi==0.66b1",
    "prometheus-client==0.26.0",
)
ALTERNATIVES = {
    "vitals": KIT,
    "opentelemetry": OPENTELEMETRY,
    "logfire": ("logfire[fastapi,redis,sqlalchemy]==5.4.0",),
    "sentry": ("sentry-sdk==2.75.0",),
    "ddtrace": ("ddtrace==4.16.0",),
    "elastic": ("elastic-apm==6.26.2",),
}
"""By the first word of a variant."""


def interpreter(variant: str) -> str:
    """The interpreter of a variant's environment, which is made when it is first asked for."""
    return str(virtualenvs.python(*BASE, *ALTERNATIVES.get(variant.partition("-")[0], ())))
