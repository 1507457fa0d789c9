"""Every declared fault, by the alert that must come of it.

A name such as ``BudgetBurn/6h`` is one of several alerts that are called ``BudgetBurn``.
"""

from stack.drills import api, pipeline, target_faults
from stack.drills.fault import Fault

FAULTS: dict[str, Fault] = {**api.FAULTS, **target_faults.FAULTS, **pipeline.FAULTS}


def alert_of(name: str) -> str:
    """The alert that a fault's name speaks of."""
    return name.partition("/")[0]
