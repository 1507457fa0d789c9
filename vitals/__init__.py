"""Vitals measures a FastAPI service: ``instrument(app)`` is all it takes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitals.body.config import Bodies
    from vitals.instrumentation import Vitals, instrument
    from vitals.objectives import Objective
    from vitals.redaction.bodies import Redaction
    from vitals.validation.config import Guard

__version__ = "0.1.0"

__all__ = ["Bodies", "Guard", "Objective", "Redaction", "Vitals", "instrument"]

_HOMES = {
    "Bodies": "vitals.body.config",
    "Guard": "vitals.validation.config",
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
