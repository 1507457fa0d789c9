"""What identifies the service in traces, logs and metrics: a resource of OpenTelemetry.

Arguments given in code come first, then ``OTEL_SERVICE_NAME``, then ``OTEL_RESOURCE_ATTRIBUTES``
(opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables), then what the detectors
find that ``OTEL_EXPERIMENTAL_RESOURCE_DETECTORS`` names, where OpenTelemetry's SDK is installed.
"""

import logging
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

DETECTORS = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"
_OWN_DETECTOR = "otel"
"""Reads the environment, as is done here."""
_NOT_KEPT = ("service.name", "telemetry.sdk.", "process.command")
"""Beginnings of names: the SDK's fallbacks, and command lines, which may hold secrets."""

_log = logging.getLogger(__name__)

_NAMESPACE = uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
"""The namespace that OpenTelemetry recommends for instance ids made from other identifiers."""


def resource_attributes(service_name: str | None, version: str, fallback: str) -> dict[str, str]:
    """Attributes of the service, from arguments and the environment.

    Args:
        service_name: ``service.name``; None where the code gives none.
        version: ``service.version``; empty where the code gives none.
        fallback: The version where the environment has none either.
    """
    attributes = {SERVICE_NAME: DEFAULT_NAME, SERVICE_VERSION: fallback}
    attributes |= _detected() | _environment()
    if service_name:
        attributes[SERVICE_NAME] = service_name
    if version:
        attributes[SERVICE_VERSION] = version
    return attributes


def _detected() -> dict[str, str]:
    """What the detectors of OpenTelemetry find that the environment names."""
    named = {name.strip() for name in os.environ.get(DETECTORS, "").split(",")}
    if not named - {"", _OWN_DETECTOR}:
        return {}
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # of an extra, and slow

        found = Resource.create().attributes  # its detectors have 5 s each
    except Exception:  # noqa: BLE001  # of another package's detector, or no SDK
        _log.warning("%s: nothing detected, is the extra otel installed?", DETECTORS, exc_info=True)
        return {}
    return {
        name: str(value)
        for name, value in found.items()
        if isinstance(value, (str, int, float)) and value != "" and not name.startswith(_NOT_KEPT)
    }


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
