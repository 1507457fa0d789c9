"""``watch(client)``: measures a cache or an HTTP client that the host has made, with one line."""

import logging
from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import Any, TypeVar, overload
from weakref import ref

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
    target: Target,
    *,
    cache: str = "",
    namespaces: Mapping[str, str] | None = None,
    servers: Collection[str] = (),
) -> Target: ...


@overload
def watch(
    *, cache: str = "", namespaces: Mapping[str, str] | None = None, servers: Collection[str] = ()
) -> Callable[[Target], Target]: ...


def watch(
    target: Any = None,
    *,
    cache: str = "",
    namespaces: Mapping[str, str] | None = None,
    servers: Collection[str] = (),
) -> Any:
    """Measure a cache or an HTTP client, from now on and as long as it lives.

    It may be called at any time, before ``instrument(app)`` or after, and for what is watched
    already. Where a process has several applications, each call counts in that whose request it
    belongs to, or else in the newest. Without a target it is a decorator of a function that
    keeps what it returns: ``@watch(cache="rates")`` above ``@lru_cache``.

    Args:
        target: A client of redis-py; a cache of aiocache or cashews; a backend of fastapi-cache, or
            ``FastAPICache`` once it is initialised; a function with ``cache_info()``; or a client
            of httpx, aiohttp or requests. Held weakly.
        cache: The cache's name, a label value: a fixed word.
        namespaces: Names of namespaces of the cache by prefix of their keys.
        servers: Of an HTTP client, names of hosts that always have series of their own.

    Returns:
        The target.

    Raises:
        TypeError: The target is none of these.
    """
    if target is None:
        return lambda found: watch(found, cache=cache, namespaces=namespaces, servers=servers)
    probe = make_probe(target, cache=cache, namespaces=namespaces, servers=servers)
    with _lock:
        _watched[:] = [each for each in _watched if each[0]() is not None]
        _watched.append((ref(cache_of(target)), probe))
        hosts = [each() for each in _hosts]
    for host in hosts:
        if host is not None:
            _attach(probe, host)
    return target


def make_probe(
    target: Any,
    *,
    cache: str = "",
    namespaces: Mapping[str, str] | None = None,
    servers: Collection[str] = (),
) -> Probe:
    """The probe of a cache or an HTTP client.

    Args:
        target: As of ``watch``.
        cache: The same.
        namespaces: The same.
        servers: The same.

    Raises:
        TypeError: The target is none of what ``watch`` takes.
    """
    if http_library_of(target):
        return HttpClientProbe(target, servers=servers)
    if cache_library_of(cache_of(target)):
        return CacheProbe(target, cache=cache, namespaces=namespaces)
    raise TypeError(
        f"{type(target).__name__} cannot be watched: pass a client of redis-py, httpx, aiohttp or "
        "requests, a cache of aiocache or cashews, a backend of fastapi-cache, or a function with "
        "cache_info()"
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
