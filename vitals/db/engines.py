"""Engines of SQLAlchemy: the one behind its copies, and the applications that watch it."""

import weakref
from collections.abc import Callable
from threading import RLock
from typing import Any, Generic

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.asgi.request_context import CURRENT
from vitals.watchers import Watcher

AnyEngine = AsyncEngine | Engine
LOCK = RLock()  # reentrant: the garbage collector may end a watcher at any time
"""Held while it changes who watches an engine."""


class OwnEngine(Engine):
    """An engine of the kit's own: listeners of all engines, such as a test's, do not see it."""

    # Not a public option, but that of SQLAlchemy's OptionEngine.
    _sa_propagate_class_events = False


def root_engine(engine: AnyEngine) -> Engine:
    """The synchronous engine behind an async one, or behind a copy by ``execution_options``.

    It has the same dialect and pool as all of its copies, so each is measured once.

    Raises:
        TypeError: It is no engine.
    """
    found: Any = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    if not isinstance(found, Engine):
        raise TypeError(f"{engine!r} is no engine of SQLAlchemy (Engine or AsyncEngine)")
    while True:
        proxied = getattr(found, "_proxied", None)  # of OptionEngine, which has no public access
        if not isinstance(proxied, Engine):
            root: Engine = found
            return root
        found = proxied


class EngineWatchers(Generic[Watcher]):
    """The applications that watch one engine.

    Attributes:
        current: Returns the watcher of the application whose request runs, else the newest one (an
            older one may belong to an application that is not in use any more) that was passed
            the engine, else the newest that has found it; None when there is none. So what several
            applications share is counted once.
    """

    def __init__(self) -> None:
        self._refs: list[tuple[bool, Callable[[], Watcher | None]]] = []
        self.current: Callable[[], Watcher | None] = _no_watcher

    def add(self, watcher: Watcher, *, found: bool = False, keep: bool = False) -> None:
        """Add a watcher, as the newest; does nothing if it is one.

        Args:
            watcher: The watcher.
            found: Whether it has found the engine by itself.
            keep: Whether to keep it alive; else it is gone when its application is.
        """
        with LOCK:
            known = [was_found for was_found, ref in self._refs if ref() is watcher]
            if not known or (known[0] and not found):
                self.remove(watcher)
                ref = (lambda: watcher) if keep else weakref.ref(watcher, self._discard)
                self._set(sorted([(found, ref), *self._refs], key=lambda each: each[0]))

    def remove(self, watcher: Watcher) -> None:
        """Remove a watcher, if it is one."""
        with LOCK:
            self._set([each for each in self._refs if each[1]() is not watcher])

    def _discard(self, _gone: weakref.ref[Watcher]) -> None:
        with LOCK:
            self._set(self._refs)

    def _set(self, refs: list[tuple[bool, Callable[[], Watcher | None]]]) -> None:
        self._refs = [each for each in refs if each[1]() is not None]
        match self._refs:
            case []:
                self.current = _no_watcher
            case [(_, sole)]:
                self.current = sole
            case _:
                self.current = self._of_current_request

    def _of_current_request(self) -> Watcher | None:
        request = CURRENT.get()
        newest = None
        for _, ref in self._refs:
            watcher = ref()
            if watcher is not None:
                if request is None or watcher.meter is request.meter:
                    return watcher
                newest = newest or watcher
        return newest


def _no_watcher() -> None:
    return None
