"""Vitals measures a FastAPI service: ``instrument(app)`` is all it takes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitals.bodies.redaction import Redaction
    from vitals.bodies.rules import Bodies
    from vitals.guard.rules import Guard
    from vitals.install import Vitals, instrument
    from vitals.objectives import Objective

__version__ = "0.1.0"

__all__ = ["Bodies", "Guard", "Objective", "Redaction", "Vitals", "instrument"]

_HOMES = {
    "Bodies": "vitals.bodies.rules",
    "Guard": "vitals.guard.rules",
    "Objective": "vitals.objectives",
    "Redaction": "vitals.bodies.redaction",
    "Vitals": "vitals.install",
    "instrument": "vitals.install",
}


def __getattr__(name: str) -> Any:
    """Import on first use: boards and rules read the catalogue where no FastAPI is installed."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
