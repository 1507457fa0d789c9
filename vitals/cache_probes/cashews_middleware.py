"""Middleware of cashews that measures a cache.

cashews answers a failed lookup of Redis like a miss unless it is set up with ``suppress=False``.
What its client has suppressed is noted beneath it, so that it counts as an error here.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple

from vitals.cache.core.metrics import Layer
from vitals.cache_probes.cache_recorder import CacheRecorder
from vitals.cache_probes.measured_class import PROBE, measure
from vitals.metrics.meter import Meter
from vitals.watchers import Watchers

LOOKUPS = {"get", "get_many"}
_SUPPRESSED: ContextVar[list[BaseException] | None] = ContextVar("vitals_suppressed", default=None)
"""What failed during the current operation."""


class LayerRecorders:
    """The recorders of one cache, whose backends may be in the process or in Redis.

    Args:
        meter: Where they record.
        make: Creates the recorder of a layer.

    Attributes:
        meter: The same.
    """

    def __init__(self, meter: Meter, make: Callable[[Layer], CacheRecorder]) -> None:
        self.meter = meter
        self._make = make
        self._made: dict[Layer, CacheRecorder] = {}

    def of(self, backend: Any) -> CacheRecorder:
        """The recorder of a backend."""
        layer: Layer = "l2" if ".redis" in type(backend).__module__ else "l1"
        return self._made.get(layer) or self._made.setdefault(layer, self._make(layer))


def measure_cache(cache: Any, recorders: LayerRecorders) -> None:
    """Measure a cache, once for each application."""
    held = vars(cache)
    if PROBE not in held:
        held[PROBE] = CashewsProbe()
        cache.add_middleware(held[PROBE])
    held[PROBE].recorders.add(recorders)


class _Operation(NamedTuple):
    """An operation that has ended.

    Attributes:
        name: Its name.
        keys: Its keys.
        default: What a lookup answers where there is nothing.
    """

    name: str
    keys: Sequence[Any]
    default: Any


class CashewsProbe:
    """Records the operations of one cache, as its middleware.

    Attributes:
        recorders: Where to record them.
    """

    def __init__(self) -> None:
        self.recorders: Watchers[LayerRecorders] = Watchers()

    async def __call__(
        self,
        call: Callable[..., Awaitable[Any]],
        command: Any,
        backend: Any,
        *args: Any,
        **options: Any,
    ) -> Any:
        """Call the next middleware, and record what it answers."""
        recorders = self.recorders.current()
        if recorders is None:
            return await call(*args, **options)
        backend = getattr(backend, "_backend", backend)  # within a transaction
        recorder = recorders.of(backend)
        keys = args if command.value == "get_many" else (options.get("key", *args[:1]),)
        operation = _Operation(command.value, keys, options.get("default"))
        suppressed: list[BaseException] = []
        token = _SUPPRESSED.set(suppressed)
        started = perf_counter()
        try:
            result = await call(*args, **options)
        except BaseException as error:
            _failed(recorder, operation, perf_counter() - started, error)
            raise
        finally:
            _SUPPRESSED.reset(token)
        seconds = perf_counter() - started
        if suppressed:
            _failed(recorder, operation, seconds, suppressed[-1])
        elif operation.name in LOOKUPS and backend.is_disable(command):
            recorder.count("bypass", keys[0] if keys else None, len(keys))
        else:
            _answered(recorder, operation, seconds, result)
        # Redis is connected with the first operation: its client exists only now.
        _note_suppressed(getattr(backend, "_client", None))
        return result


def _answered(recorder: CacheRecorder, operation: _Operation, seconds: float, result: Any) -> None:
    name, keys, default = operation
    if name not in LOOKUPS:
        recorder.done(name, seconds, keys[0] if keys else None)
        return
    values = result if name == "get_many" else (result,)
    found = (value is not default for value in values or ())
    recorder.read(name, seconds, zip(keys, found, strict=False))


def _failed(
    recorder: CacheRecorder, operation: _Operation, seconds: float, error: BaseException
) -> None:
    name, keys, _ = operation
    lookups = len(keys) if name in LOOKUPS else 0
    recorder.done(name, seconds, keys[0] if keys else None, error, lookups)


def _note_suppressed(client: Any) -> None:
    """Note what a client suppresses, from its next command on."""
    if client is not None and type(client).__name__.startswith("Safe"):
        measure(client, _noting_class, None)


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
