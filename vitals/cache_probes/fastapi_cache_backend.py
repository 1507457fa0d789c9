"""Measures the backend of fastapi-cache.

Its decorator catches what its backend raises and loads the value, so errors are seen only here.
"""

from functools import lru_cache
from typing import Any

from vitals.cache_probes.cache_recorder import CacheRecorder
from vitals.cache_probes.measured_class import PROBE, measure, subclass, time_call
from vitals.watchers import Watchers

_Sent = tuple[str, Any]
"""The operation, and its key."""


def measure_backend(backend: Any, recorder: CacheRecorder) -> None:
    """Measure a backend, once for each application."""
    measure(backend, _backend_class, FastapiCacheProbe()).recorders.add(recorder)


class FastapiCacheProbe:
    """Records the operations of one backend.

    Attributes:
        recorders: Where to record them.
    """

    def __init__(self) -> None:
        self.recorders: Watchers[CacheRecorder] = Watchers()

    def ended(
        self, sent: _Sent, seconds: float, reply: Any, error: BaseException | None, /
    ) -> None:
        """Record an operation (an ``Ended``)."""
        recorder = self.recorders.current()
        if recorder is None:
            return
        operation, key = sent
        if operation == "get" and error is None:
            value = reply[1] if isinstance(reply, tuple | list) else reply
            recorder.read(operation, seconds, [(key, value is not None)])
        else:
            recorder.done(operation, seconds, key, error, int(operation == "get"))


@lru_cache(maxsize=64)
def _backend_class(base: Any) -> Any:
    """The measured subclass of a class of backends."""

    def method(name: str, operation: str) -> Any:
        def measure_one(self: Any, *args: Any, **options: Any) -> Any:
            call, probe = getattr(super(measured, self), name), vars(self).get(PROBE)
            if probe is None:  # it is no object that was watched, but one of its class
                return call(*args, **options)
            sent = (operation, args[0] if args else options.get("key"))
            return time_call(probe.ended, sent, call, args, options)

        measure_one.__name__ = name
        return measure_one

    measured = subclass(
        base,
        *(method(name, name) for name in ("get", "set", "clear")),
        method("get_with_ttl", "get"),
    )
    return measured
