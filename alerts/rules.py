"""Every rule that Prometheus evaluates."""

from types import ModuleType

from alerts.signals import datastores, promises, requests
from alerts.signals.signal import Signal


def recorded(module: ModuleType) -> tuple[Signal, ...]:
    """A module's signals in their order: a rule may use what an earlier one recorded."""
    return tuple(
        signal
        for value in vars(module).values()
        for signal in (value.values() if isinstance(value, dict) else (value,))
        if isinstance(signal, Signal) and signal.record
    )


SIGNALS = tuple(dict.fromkeys(s for m in (requests, promises, datastores) for s in recorded(m)))
