"""Every declared fault, by the alert that it must fire.

A name such as ``BudgetBurn/6h`` is one of several alerts with the name ``BudgetBurn``.
"""

from stack.drills import (
    api_faults,
    error_faults,
    pipeline_faults,
    postgres_faults,
    redis_faults,
    target_faults,
)
from stack.drills.fault import Fault

FAULTS: dict[str, Fault] = {
    **api_faults.FAULTS,
    **postgres_faults.FAULTS,
    **redis_faults.FAULTS,
    **target_faults.FAULTS,
    **error_faults.FAULTS,
    **pipeline_faults.FAULTS,
}


def alert_of(name: str) -> str:
    """The alert name in the name of a fault."""
    return name.partition("/")[0]
