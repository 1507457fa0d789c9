"""Probe of a cache that the host has made with another library."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from weakref import ref

from vitals.asgi.request_context import MakeSpan
from vitals.cache.core.metrics import Layer
from vitals.cache_probes import (
    aiocache_cache,
    cashews_middleware,
    fastapi_cache_backend,
    redis_client,
)
from vitals.cache_probes.cache_recorder import CacheRecorder
from vitals.cache_probes.cached_functions import CachedFunctions
from vitals.cache_probes.cashews_middleware import LayerRecorders
from vitals.host import Host
from vitals.otel_instrumentors import is_instrumented

_CLASSES = {
    ("redis", "Redis"): "redis",
    ("redis", "RedisCluster"): "redis",
    ("aiocache", "BaseCache"): "aiocache",
    ("cashews", "Cache"): "cashews",
    ("fastapi_cache", "Backend"): "fastapi-cache",
}
"""Top package and name of the classes that can be measured."""

_MEASURE: dict[str, Callable[[Any, CacheRecorder], None]] = {
    "redis": redis_client.measure_client,
    "aiocache": aiocache_cache.measure_cache,
    "fastapi-cache": fastapi_cache_backend.measure_backend,
}


def resolve(target: Any) -> Any:
    """The object that is measured: of a decorated function its cache, of a library its backend."""
    if getattr(target, "__name__", "") == "FastAPICache" and isinstance(target, type):
        return target.get_backend()  # type: ignore[attr-defined]
    cache = getattr(target, "cache", None)
    if callable(target) and cache is not None and library_of(cache) == "aiocache":
        return cache  # `@cached(...)` of aiocache leaves it on the function
    return target


def library_of(target: Any) -> str:
    """The library that a cache is of: ``redis``, ``aiocache``, ...; empty if none of these.

    Nothing is imported to tell.
    """
    if callable(getattr(target, "cache_info", None)):
        return "function"
    for kind in type(target).__mro__:
        found = _CLASSES.get((kind.__module__.partition(".")[0], kind.__name__))
        if found is not None:
            return found
    return ""


class CacheProbe:
    """Measures hits, misses, latency and errors of one cache of another library.

    Args:
        target: A client of redis-py (sync, asyncio or cluster), a cache of aiocache or cashews, a
            backend of fastapi-cache or ``FastAPICache`` itself once it is initialised, or a
            function with ``cache_info()``, such as ``functools.lru_cache`` makes. Held weakly.
        cache: The cache's name, a label value: a fixed word. By default aiocache's namespace, the
            function's name or the library's.
        namespaces: Names by prefix of keys, such as ``{"session:": "sessions"}``: what begins with
            a prefix is counted under its name. No key, nor any other part of one, is a label value.

    Raises:
        TypeError: The target is none of these.
    """

    def __init__(
        self, target: Any, *, cache: str = "", namespaces: Mapping[str, str] | None = None
    ) -> None:
        target = resolve(target)
        self._library = library_of(target)
        if not self._library:
            raise TypeError(
                f"{type(target).__name__} is no cache that can be measured: pass a client of "
                "redis-py, a cache of aiocache or cashews, a backend of fastapi-cache, or a "
                "function with cache_info()"
            )
        self._target = ref(target)
        self._cache = cache or _name_of(target, self._library)
        self._namespaces = dict(namespaces or {})

    def attach(self, host: Host) -> None:
        """Measure the cache, unless it is measured already or gone."""
        target = self._target()
        if target is None:
            return
        meter = host.meter
        if self._library == "function":
            functions = host.made_for(meter, CachedFunctions, lambda: CachedFunctions(meter))
            functions.add(target, self._cache)
        elif self._library == "cashews":
            recorders = host.made_for(
                target, LayerRecorders, lambda: LayerRecorders(meter, partial(self._recorder, host))
            )
            cashews_middleware.measure_cache(target, recorders)
        else:
            layer: Layer = "l1" if "memory" in type(target).__name__.lower() else "l2"
            recorder = host.made_for(target, CacheRecorder, lambda: self._recorder(host, layer))
            recorder.prepare()
            _MEASURE[self._library](target, recorder)

    def _recorder(self, host: Host, layer: Layer) -> CacheRecorder:
        span = None
        if host.make_span is not None and layer == "l2":  # a span would take longer than an L1
            span = _RedisSpans(host.make_span)
        return CacheRecorder(
            host.meter,
            self._cache,
            self._namespaces,
            layer=layer,
            span=span,
            system="redis" if self._library == "redis" else "",
        )


class _RedisSpans:
    """Creates spans, unless the host's own instrumentation of redis-py makes them."""

    def __init__(self, make_span: MakeSpan) -> None:
        self._make_span = make_span

    @property
    def enabled(self) -> bool:
        """Whether there are spans at all."""
        return self._make_span.enabled and not is_instrumented("redis")

    def __call__(
        self, name: str, began: int, error_type: str, attributes: Mapping[str, Any]
    ) -> None:
        """Create a span (a ``MakeSpan``); its caller has asked whether there are any."""
        self._make_span(name, began, error_type, attributes)


def _name_of(target: Any, library: str) -> str:
    if library == "function":
        return str(getattr(target, "__qualname__", library)).replace(".<locals>", "")
    namespace = getattr(target, "namespace", None) if library == "aiocache" else None
    return namespace if isinstance(namespace, str) and namespace else library
