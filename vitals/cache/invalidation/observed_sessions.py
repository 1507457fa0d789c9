"""Which sessions a cache invalidator observes, and the engine that they use."""

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine, async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from vitals.cache.invalidation.outbox import AnyEngine

Sessions = (
    AnyEngine
    | sessionmaker[Any]
    | async_sessionmaker[Any]
    | scoped_session[Any]
    | async_scoped_session[Any]
    | type[Session]
)
"""An engine (all sessions that use it), a factory of sessions, or a class of its own."""


class ObservedSessions:
    """The sessions that are observed.

    Args:
        sessions: Which ones.
        engine: Of their database; by default the engine, or the one that the factory binds.

    Attributes:
        session_class: The class whose events are listened to.
        engine: Of their database.

    Raises:
        ValueError: No engine is known.
    """

    def __init__(self, sessions: Sessions, engine: AnyEngine | None = None) -> None:
        self._is_shared_class = isinstance(sessions, AsyncEngine | Engine)
        if isinstance(sessions, scoped_session | async_scoped_session):
            sessions = sessions.session_factory
        bind: Any = sessions
        if isinstance(sessions, async_sessionmaker):
            bind = sessions.kw.get("bind")
            self.session_class = _class_of_its_own(sessions)
        elif isinstance(sessions, sessionmaker):
            bind = sessions.kw.get("bind")
            self.session_class = sessions.class_
        else:
            self.session_class = Session if isinstance(sessions, AsyncEngine | Engine) else sessions
        engine = engine or bind
        if not isinstance(engine, AsyncEngine | Engine):
            raise ValueError("these sessions name no engine: pass it as engine=")  # noqa: TRY004
        self.engine = engine

    def include(self, session: Session, arguments: Any) -> bool:
        """Return whether a statement of a session goes to the engine.

        Args:
            session: Of the observed class.
            arguments: Of its ``get_bind``, for the statement.
        """
        if not self._is_shared_class:
            return True
        # Engines with other options, and connections, have the same pool.
        return session.get_bind(**arguments).engine.pool is self.engine.pool


def _class_of_its_own(factory: async_sessionmaker[Any]) -> type[Session]:
    """Let a factory make sessions of a subclass, so that no others are observed."""
    base = factory.kw.get("sync_session_class") or factory.class_.sync_session_class
    observed = type(f"Observed{base.__name__}", (base,), {})
    factory.configure(sync_session_class=observed)
    return observed
