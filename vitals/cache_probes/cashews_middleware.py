"""Middleware of cashews that measures a cache.

cashews answers a failed lookup of Redis like a miss unless it is set up with ``suppress=False``.
What its client has suppressed is noted beneath it, so that it counts as an error here.
"""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import lru_cache
from time import perf_counter
from typing import Any

from vitals.cache_metrics import Layer
from vitals.cache_probes.cache_recorder import CacheRecorder
from vitals.cache_probes.measured_class import PROBE, is_measured

_SUPPRESSED: ContextVar[list[BaseException] | None] = ContextVar("vitals_suppressed", default=None)
"""What failed during the current operation."""


class CashewsProbe:
    """Records the operations of one cache, with any number of backends.

    Args:
        make_recorder: Creates the recorder of a layer.
    """

    def __init__(self, make_recorder: Callable[[Layer], CacheRecorder]) -> None:
        self._make_recorder = make_recorder
        self._recorders: dict[Layer, CacheRecorder] = {}

    def attach(self, cache: Any) -> None:
        """Measure a cache, unless it is measured already."""
        if not is_measured(cache):
            vars(cache)[PROBE] = self
            cache.add_middleware(self)

    async def __call__(
        self,
        call: Callable[..., Awaitable[Any]],
        command: Any,
        backend: Any,
        *args: Any,
        **options: Any,
    ) -> Any:
        """Call the next middleware, and record what it answers."""
        suppressed: list[BaseException] = []
        token = _SUPPRESSED.set(suppressed)
        started = perf_counter()
        try:
            result = await call(*args, **options)
        except BaseException as error:
            self._ended(command, backend, args, options, perf_counter() - started, None, error)
            raise
        finally:
            _SUPPRESSED.reset(token)
        seconds = perf_counter() - started
        error = suppressed[-1] if suppressed else None
        self._ended(command, backend, args, options, seconds, result, error)
        return result

    def _ended(
        self,
        command: Any,
        backend: Any,
        args: tuple[Any, ...],
        options: dict[str, Any],
        seconds: float,
        result: Any,
        error: BaseException | None,
    ) -> None:
        backend = getattr(backend, "_backend", backend)  # within a transaction
        _note_suppressed(getattr(backend, "_client", None))
        layer: Layer = "l2" if ".redis" in type(backend).__module__ else "l1"
        recorder = self._recorders.get(layer)
        if recorder is None:
            recorder = self._recorders[layer] = self._make_recorder(layer)
        operation = command.value
        many = operation == "get_many"
        keys = args if many else (options.get("key", args[0] if args else None),)
        first = keys[0] if keys else None
        if operation not in {"get", "get_many"}:
            recorder.done(operation, seconds, first, error)
        elif error is not None:
            recorder.done(operation, seconds, first, error, len(keys))
        elif backend.is_disable(command):
            recorder.count("bypass", first, len(keys))
        else:
            default = options.get("default")
            values = result if many else (result,)
            found = (value is not default and value is not None for value in values or ())
            recorder.read(operation, seconds, zip(keys, found, strict=False))


def _note_suppressed(client: Any) -> None:
    """Note what a client suppresses, from its next command on."""
    if client is not None and type(client).__name__.startswith("Safe") and not is_measured(client):
        client.__class__ = _noting_class(type(client))
        vars(client)[PROBE] = None


@lru_cache(maxsize=16)
def _noting_class(base: Any) -> Any:
    """A subclass of cashews' client, with a class between it and redis-py's that notes errors."""
    redis = next(kind for kind in base.__mro__ if kind.__module__.startswith("redis."))

    async def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return await super(noting, self).execute_command(*args, **options)
        except BaseException as error:
            noted = _SUPPRESSED.get()
            if noted is not None:
                noted.append(error)
            raise

    noting = type(redis)("Noting", (redis,), {"__slots__": (), "execute_command": execute_command})
    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__slots__": ()}
    return type(base)(base.__name__, (base, noting), names)
