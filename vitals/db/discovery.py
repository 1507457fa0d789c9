"""Finds every engine of the process with its first connection, by SQLAlchemy's events.

``engine_connect`` of the class ``Engine`` covers engines that were made before and after, of the
application and of its libraries. It makes each statement of the process about 3 µs dearer, because
SQLAlchemy then looks for listeners, so it is listened to only if an application asks for it.
"""

from typing import Protocol
from weakref import ref

from sqlalchemy import Connection, Engine, event

from vitals.db.engines import LOCK

SEEN = "_vitals_seen"
_EVENT = "engine_connect"


class Finder(Protocol):
    """Receives the engines, for one application."""

    def found(self, connection: Connection) -> None:
        """Watch the engine of a connection, unless it is watched; must not raise."""


class _Discovery:
    """The applications that want every engine.

    The listener is not removed with the last of them: another thread may be calling it.
    """

    def __init__(self) -> None:
        self._finders: list[ref[Finder]] = []
        self._generation = 0

    def add(self, finder: Finder) -> None:
        with LOCK:
            if all(known() is not finder for known in self._finders):
                alive = [known for known in self._finders if known() is not None]
                self._finders = [*alive, ref(finder)]
            self._generation += 1  # engines that others have seen are new to this one
            if not event.contains(Engine, _EVENT, self.connected):
                event.listen(Engine, _EVENT, self.connected)

    def connected(self, connection: Connection) -> None:
        seen = vars(connection.dialect)
        generation = self._generation
        if seen.get(SEEN) != generation:
            for known in self._finders:
                finder = known()
                if finder is not None:
                    finder.found(connection)
            seen[SEEN] = generation  # last: a second thread must not go on before it is watched


_discovery = _Discovery()


def find_engines(finder: Finder) -> None:
    """Pass every engine of the process to a finder, which is held weakly, when it connects."""
    _discovery.add(finder)
