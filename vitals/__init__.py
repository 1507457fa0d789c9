"""Vitals: metrics, logs and traces of a FastAPI service, by ``instrument(app)``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitals.extras import needs_extra
from vitals.interpreter import refuse_subinterpreter

if TYPE_CHECKING:
    from vitals.body.config import BodyLogging
    from vitals.cache_probes.probe import CacheProbe
    from vitals.host import Host, Probe
    from vitals.http_client.probe import HttpClients
    from vitals.instrumentation import Vitals, instrument
    from vitals.logging.record_context import add_request_context
    from vitals.objectives import Objective
    from vitals.redaction.bodies import Redaction
    from vitals.validation.config import Validation
    from vitals.watching import watch

refuse_subinterpreter()

__version__ = "0.1.0"

__all__ = [
    "BodyLogging",
    "CacheProbe",
    "Host",
    "HttpClients",
    "Objective",
    "Probe",
    "Redaction",
    "Validation",
    "Vitals",
    "add_request_context",
    "instrument",
    "watch",
]

_MODULES = {
    "BodyLogging": "vitals.body.config",
    "CacheProbe": "vitals.cache_probes.probe",
    "Host": "vitals.host",
    "HttpClients": "vitals.http_client.probe",
    "Objective": "vitals.objectives",
    "Probe": "vitals.host",
    "Redaction": "vitals.redaction.bodies",
    "Validation": "vitals.validation.config",
    "Vitals": "vitals.instrumentation",
    "add_request_context": "vitals.logging.record_context",
    "instrument": "vitals.instrumentation",
    "watch": "vitals.watching",
}


def __getattr__(name: str) -> Any:
    """Import lazily: boards and rules use the catalogue where FastAPI is not installed."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needs_extra("bodies", f"vitals.{name}"):
        return getattr(import_module(_MODULES[name]), name)
