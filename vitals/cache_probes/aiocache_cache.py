"""Measures one cache of aiocache.

aiocache's plugins are not told of commands that fail or time out, so its methods are measured. A
value that is the very object given as ``default`` counts as a miss: nothing else tells them apart.
"""

import os
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

from vitals.cache_probes.cache_recorder import CacheRecorder
from vitals.cache_probes.measured_class import PROBE, measure, subclass, time_call
from vitals.watchers import Watchers

OPERATIONS = (
    *("get", "multi_get", "set", "multi_set", "add", "delete", "exists", "increment", "expire"),
    *("clear", "raw"),
)
_Sent = tuple[str, Any, tuple[Any, ...], Mapping[str, Any]]
"""The operation, the cache, and its arguments."""


def measure_cache(cache: Any, recorder: CacheRecorder) -> None:
    """Measure a cache, once for each application."""
    measure(cache, _cache_class, AiocacheProbe()).recorders.add(recorder)


class AiocacheProbe:
    """Records the operations of one cache.

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
        operation, cache, args, options = sent
        if operation == "get":
            keys = [_argument(args, options, 0, "key")]
        elif operation == "multi_get":
            keys = list(_argument(args, options, 0, "keys") or ())
        else:
            recorder.done(operation, seconds, _key(cache, args, options), error)
            return
        named = [_named(cache, key, options) for key in keys]
        first = named[0] if named else None
        if error is not None:
            recorder.done(operation, seconds, first, error, len(keys))
        elif os.environ.get("AIOCACHE_DISABLE") == "1":
            recorder.count("bypass", first, len(keys))
        elif operation == "get":
            default = _argument(args, options, 1, "default")
            found = reply is not None and reply is not default
            recorder.read(operation, seconds, [(first, found)])
        else:
            values = zip(named, (value is not None for value in reply), strict=False)
            recorder.read(operation, seconds, values)


@lru_cache(maxsize=64)
def _cache_class(base: Any) -> Any:
    """The measured subclass of a class of caches."""

    def method(name: str) -> Any:
        def measure_one(self: Any, *args: Any, **options: Any) -> Any:
            call, probe = getattr(super(measured, self), name), vars(self).get(PROBE)
            if probe is None:  # it is no object that was watched, but one of its class
                return call(*args, **options)
            return time_call(probe.ended, (name, self, args, options), call, args, options)

        measure_one.__name__ = name
        return measure_one

    measured = subclass(base, *map(method, OPERATIONS))
    return measured


def _argument(args: tuple[Any, ...], options: Mapping[str, Any], place: int, name: str) -> Any:
    return args[place] if len(args) > place else options.get(name)


def _key(cache: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    key = _argument(args, options, 0, "key")
    return None if key is None else _named(cache, key, options)


def _named(cache: Any, key: Any, options: Mapping[str, Any]) -> Any:
    """A key with its namespace, as aiocache builds it by default."""
    namespace = options.get("namespace")
    if namespace is None:
        namespace = cache.namespace
    text = key.value if isinstance(key, Enum) else key
    return f"{namespace}{text}" if namespace and isinstance(text, str) else text
