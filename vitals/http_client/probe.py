"""Probe of outgoing requests: all clients of httpx, aiohttp and requests, or one of them."""

from collections.abc import Collection
from typing import Any
from weakref import ref

from vitals.host import Host
from vitals.http_client import aiohttp_trace, class_patches, httpx_transport, requests_adapter
from vitals.http_client.recorder import HttpClientRecorder

_LIBRARIES = {"httpx": httpx_transport, "aiohttp": aiohttp_trace, "requests": requests_adapter}
_CLASSES = {
    ("httpx", "Client"): "httpx",
    ("httpx", "AsyncClient"): "httpx",
    ("aiohttp", "ClientSession"): "aiohttp",
    ("requests", "Session"): "requests",
}
"""Top package and name of the classes that can be measured."""


def library_of(client: Any) -> str:
    """The library that a client is of; empty if none of these. Nothing is imported to tell."""
    for kind in type(client).__mro__:
        found = _CLASSES.get((kind.__module__.partition(".")[0], kind.__name__))
        if found is not None:
            return found
    return ""


class HttpClients:
    """Measures the outgoing requests of all clients of httpx, aiohttp and requests.

    Those libraries that the service imports are measured, when they are imported; no other is
    imported. A method of a class of each is wrapped for this (``HTTPTransport.handle_request`` and
    ``AsyncHTTPTransport.handle_async_request``, ``ClientSession.__init__``, ``HTTPAdapter.send``),
    once however many applications there are; ``detach`` takes the wrappers off. ``vitals.watch``
    measures one client without any of them.

    Args:
        libraries: Which of them to measure.
        servers: Names of hosts that always have series of their own. Without this, the first 50
            servers have; all others share ``__other__``.

    Raises:
        ValueError: A library is none of these.
    """

    def __init__(
        self,
        libraries: Collection[str] = ("httpx", "aiohttp", "requests"),
        *,
        servers: Collection[str] = (),
    ) -> None:
        unknown = sorted({*libraries} - {*_LIBRARIES})
        if unknown:
            known = ", ".join(_LIBRARIES)
            raise ValueError(f"{', '.join(unknown)} cannot be measured; known are {known}")
        self._patches = [patch for name in libraries for patch in _LIBRARIES[name].PATCHES]
        self._servers = tuple(servers)
        self._recorders: list[ref[HttpClientRecorder]] = []

    def attach(self, host: Host) -> None:
        """Measure what has been imported by now, when the application starts, or later."""
        recorder = _recorder_of(host, self._servers)
        self._recorders.append(ref(recorder))
        host.on_finished(recorder.finished)
        self._wrap()
        host.at_start(self._wrap)
        host.meter.before_scrape(self._wrap)

    def detach(self) -> None:
        """Measure no more, and take the wrappers off if no other application needs them."""
        recorders, self._recorders = self._recorders, []
        for each in recorders:
            class_patches.undo(self._patches, each())

    def _wrap(self) -> None:
        for each in self._recorders:
            recorder = each()
            if recorder is not None:
                class_patches.apply(self._patches, recorder)


class HttpClientProbe:
    """Measures the outgoing requests of one client.

    Args:
        client: An ``httpx.Client`` or ``AsyncClient``, ``aiohttp.ClientSession`` or
            ``requests.Session``. Held weakly.
        servers: Names of hosts that always have series of their own.

    Raises:
        TypeError: It is none of these.
    """

    def __init__(self, client: Any, *, servers: Collection[str] = ()) -> None:
        self._library = library_of(client)
        if not self._library:
            raise TypeError(
                f"{type(client).__name__} is no client that can be measured: pass one of httpx, "
                "aiohttp or requests"
            )
        self._client = ref(client)
        self._servers = tuple(servers)

    def attach(self, host: Host) -> None:
        """Measure the client, unless it is measured already or gone."""
        client = self._client()
        if client is not None:
            _LIBRARIES[self._library].measure(client, _recorder_of(host, self._servers))


def _recorder_of(host: Host, servers: Collection[str]) -> HttpClientRecorder:
    """The one recorder of an application, which knows its servers' slots."""
    recorder = host.made_for(host.meter, HttpClientRecorder, lambda: HttpClientRecorder(host.meter))
    recorder.name(servers)
    return recorder
