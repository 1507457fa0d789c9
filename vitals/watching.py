"""``watch(client)``: measures an engine, cache or HTTP client of the host's, with one line."""

import logging
from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import Any, TypeVar, overload
from weakref import ref

from fastapi import FastAPI

from vitals.cache_probes.probe import CacheProbe
from vitals.cache_probes.probe import library_of as cache_library_of
from vitals.cache_probes.probe import resolve as cache_of
from vitals.host import Host, Probe
from vitals.http_client.probe import HttpClientProbe
from vitals.http_client.probe import library_of as http_library_of

Target = TypeVar("Target")

_log = logging.getLogger(__name__)
_lock = Lock()
_hosts: list[ref[Host]] = []
"""The instrumented applications, the newest last; held weakly."""
_watched: list[tuple[ref[Any], Probe]] = []
"""What is watched by every application, held weakly, and how."""


@overload
def watch(
    target: FastAPI,
    of: Target,
    *,
    name: str | None = None,
    cache: str = "",
    namespaces: Mapping[str, str] | None = None,
    servers: Collection[str] = (),
) -> Target: ...


@overload
def watch(
    target: Target,
    *,
    name: str | None = None,
    cache: str = "",
    namespaces: Mapping[str, str] | None = None,
    servers: Collection[str] = (),
) -> Target: ...


@overload
def watch(*, cache: str = "") -> Callable[[Target], Target]: ...


def watch(
    target: Any = None,
    of: Any = None,
    *,
    name: str | None = None,
    cache: str = "",
    namespaces: Mapping[str, str] | None = None,
    servers: Collection[str] = (),
) -> Any:
    """Measure an engine, a cache or an HTTP client, from now on and as long as it lives.

    It may be called at any time, before ``instrument(app)`` or after, and for what is watched
    already. ``watch(app, target)`` measures it for one application only. Otherwise, where a process
    has several applications, each call counts in that whose request it belongs to, or else in the
    newest. Without a target it is a decorator of a function that keeps what it returns:
    ``@watch(cache="rates")`` above ``@lru_cache``.

    Args:
        target: An engine of SQLAlchemy; a client of redis-py; a cache of aiocache or cashews; a
            backend of fastapi-cache, or ``FastAPICache`` once it is initialised; a function with
            ``cache_info()``; or a client of httpx, aiohttp or requests. Held weakly. Or an
            instrumented application.
        of: The target, where an application is given.
        name: The engine's name in the labels of pool metrics; see ``Vitals.watch``.
        cache: The cache's name, a label value: a fixed word.
        namespaces: Names of namespaces of the cache by prefix of their keys.
        servers: Of an HTTP client, names of hosts that always have series of their own.

    Returns:
        The target.

    Raises:
        RuntimeError: The application is not instrumented.
        TypeError: The target is none of these.
    """
    if target is None:
        return lambda found: watch(found, cache=cache, namespaces=namespaces, servers=servers)
    watched = of if isinstance(target, FastAPI) else target
    probe = make_probe(watched, name=name, cache=cache, namespaces=namespaces, servers=servers)
    with _lock:
        hosts = [host for each in _hosts if (host := each()) is not None]
        if isinstance(target, FastAPI):
            hosts = [host for host in hosts if host.app is target]
            if not hosts:
                raise RuntimeError(
                    "this application is not instrumented: call instrument(app) first"
                )
        else:
            _watched[:] = [each for each in _watched if each[0]() is not None]
            _watched.append((ref(cache_of(target)), probe))
    for host in hosts:
        _attach(probe, host)
    return watched


class EngineProbe:
    """Measures one engine.

    Args:
        engine: The engine. Held weakly.
        name: Its name in labels; None for its own.
    """

    def __init__(self, engine: Any, name: str | None) -> None:
        self._engine = ref(engine)
        self._name = name

    def attach(self, host: Host) -> None:
        """Measure the engine, unless it is gone."""
        engine = self._engine()
        if engine is not None and host.watch_engine is not None:
            host.watch_engine(engine, self._name)


def _is_engine(target: Any) -> bool:
    """Whether it is an engine of SQLAlchemy; nothing is imported to tell."""
    return any(
        kind.__name__ in {"Engine", "AsyncEngine"} and kind.__module__.startswith("sqlalchemy.")
        for kind in type(target).__mro__
    )


def make_probe(
    target: Any,
    *,
    name: str | None = None,
    cache: str = "",
    namespaces: Mapping[str, str] | None = None,
    servers: Collection[str] = (),
) -> Probe:
    """The probe of an engine, a cache or an HTTP client.

    Args:
        target: As of ``watch``.
        name: The same.
        cache: The same.
        namespaces: The same.
        servers: The same.

    Raises:
        TypeError: The target is none of what ``watch`` takes.
    """
    if _is_engine(target):
        return EngineProbe(target, name)
    if http_library_of(target):
        return HttpClientProbe(target, servers=servers)
    if cache_library_of(cache_of(target)):
        return CacheProbe(target, cache=cache, namespaces=namespaces)
    raise TypeError(
        f"{type(target).__name__} cannot be watched: pass a client of redis-py, httpx, aiohttp or "
        "requests, a cache of aiocache or cashews, a backend of fastapi-cache, an engine of "
        "SQLAlchemy, or a function with cache_info()"
    )


def attach_watched(host: Host) -> None:
    """Measure in an application what is watched by now, and all that will be."""
    with _lock:
        _hosts[:] = [*(each for each in _hosts if each() is not None), ref(host)]
        probes = [probe for target, probe in _watched if target() is not None]
    for probe in probes:
        _attach(probe, host)


def _attach(probe: Probe, host: Host) -> None:
    """Attach a probe; where its target is not as expected, the host starts without it."""
    try:
        probe.attach(host)
    except Exception as error:  # noqa: BLE001  # such as a class that allows no subclass
        _log.warning("what %s should watch is not measured: %s", type(probe).__name__, error)
