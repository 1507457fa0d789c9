"""What identifies the service in traces, logs and metrics: a resource of OpenTelemetry.

Arguments given in code come first, then ``OTEL_SERVICE_NAME``, then ``OTEL_RESOURCE_ATTRIBUTES``
(opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).
"""

import os
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from vitals.metrics.process_identity import start_time

DEFAULT_NAME = "api"
SERVICE_NAME = "service.name"
SERVICE_VERSION = "service.version"
INSTANCE_ID = "service.instance.id"

_NAMESPACE = uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
"""The namespace that OpenTelemetry recommends for instance ids made from other identifiers."""


def resource_attributes(service_name: str | None, version: str, fallback: str) -> dict[str, str]:
    """Attributes of the service, from arguments and the environment.

    Args:
        service_name: ``service.name``; None where the code gives none.
        version: ``service.version``; empty where the code gives none.
        fallback: The version where the environment has none either.
    """
    attributes = {SERVICE_NAME: DEFAULT_NAME, SERVICE_VERSION: fallback, **_environment()}
    if service_name:
        attributes[SERVICE_NAME] = service_name
    if version:
        attributes[SERVICE_VERSION] = version
    return attributes


def _environment() -> dict[str, str]:
    attributes: dict[str, str] = {}
    for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        name, _, value = (part.strip() for part in pair.partition("="))
        if name and value:
            attributes[name] = unquote(value)
    if name := os.environ.get("OTEL_SERVICE_NAME", "").strip():
        attributes[SERVICE_NAME] = name
    return attributes


def with_instance_id(attributes: Mapping[str, str], shared: Path | None) -> dict[str, str]:
    """Add ``service.instance.id`` where the environment gives none.

    What Prometheus scrapes as one target is one instance: all workers that share their metrics.
    Call it in the process that serves: a parent's id must not be inherited by forks.

    Args:
        attributes: The attributes of the service.
        shared: The directory through which the workers share their metrics; None for a process of
            its own.
    """
    if attributes.get(INSTANCE_ID):
        return dict(attributes)
    own = f"{os.getpid()} {start_time(os.getpid())}"
    name = f"{socket.gethostname()} {attributes[SERVICE_NAME]} {shared or own}"
    return {**attributes, INSTANCE_ID: str(uuid.uuid5(_NAMESPACE, name))}
