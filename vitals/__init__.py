"""Vitals measures a FastAPI service: ``instrument(app)`` is all it takes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitals.body.config import BodyLogging
    from vitals.instrumentation import Vitals, instrument
    from vitals.objectives import Objective
    from vitals.redaction.bodies import Redaction
    from vitals.validation.config import Validation

__version__ = "0.1.0"

__all__ = ["BodyLogging", "Objective", "Redaction", "Validation", "Vitals", "instrument"]

_HOMES = {
    "BodyLogging": "vitals.body.config",
    "Validation": "vitals.validation.config",
    "Objective": "vitals.objectives",
    "Redaction": "vitals.redaction.bodies",
    "Vitals": "vitals.instrumentation",
    "instrument": "vitals.instrumentation",
}


def __getattr__(name: str) -> Any:
    """Import on first use: boards and rules read the catalogue where no FastAPI is installed."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
