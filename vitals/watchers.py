"""The applications of a process that measure one object, such as a client that they share."""

from threading import RLock
from typing import Any, Generic, Protocol, TypeVar
from weakref import ref

from vitals.asgi.request_context import CURRENT
from vitals.metrics.meter import Meter


class HasMeter(Protocol):
    """What records in the metrics of one application."""

    meter: Meter


Watcher = TypeVar("Watcher", bound=HasMeter)


class Watchers(Generic[Watcher]):
    """What records for each of the applications; held weakly."""

    def __init__(self) -> None:
        self._refs: tuple[ref[Watcher], ...] = ()
        self._lock = RLock()  # reentrant: the garbage collector may end a watcher at any time

    def add(self, watcher: Watcher) -> None:
        """Add a watcher, unless it is one already."""
        with self._lock:
            if all(each() is not watcher for each in self._refs):
                self._refs = (*self._refs, ref(watcher, self._discard))

    def remove(self, watcher: Watcher) -> None:
        """Remove a watcher, if it is one."""
        with self._lock:
            self._refs = tuple(each for each in self._refs if each() is not watcher)

    def current(self) -> Watcher | None:
        """The watcher of the application whose request is served, else the newest; or None."""
        refs = self._refs
        if len(refs) == 1:
            return refs[0]()
        request: Any = CURRENT.get() if refs else None
        meter = getattr(request, "meter", None)
        newest = None
        for each in refs:
            watcher = each()
            if watcher is not None:
                if watcher.meter is meter:
                    return watcher
                newest = watcher
        return newest

    def _discard(self, gone: ref[Watcher]) -> None:
        with self._lock:
            self._refs = tuple(each for each in self._refs if each is not gone)
