"""Which engines an application asks to be watched: ``instrument(engine=...)``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from vitals.db.engines import AnyEngine, root_engine

ALL = "all"
Engines = AnyEngine | Sequence[AnyEngine] | Mapping[str, AnyEngine]
"""One or several engines; a mapping names their pools."""
WhichEngines = Engines | Callable[[], Engines | None] | Literal["all"]
"""Engines, or a function that returns them once they exist, or every engine of the process."""


@dataclass
class EngineSelection:
    """Engines to watch.

    Attributes:
        engines: Those that exist, with the names of their pools or None.
        functions: Functions that return further ones once they exist.
        every: Whether every engine of the process is watched.
    """

    engines: list[tuple[Engine, str | None]] = field(default_factory=list)
    functions: list[Callable[[], Engines | None]] = field(default_factory=list)
    every: bool = False

    @classmethod
    def of(cls, *which: WhichEngines | None) -> "EngineSelection":
        """The selection from arguments of ``instrument()``.

        Raises:
            TypeError: Something is neither an engine, nor a function, nor ``"all"``.
        """
        selection = cls()
        for each in which:
            if isinstance(each, str):
                if each != ALL:
                    raise TypeError(f"engine {each!r} must be an engine, a function or {ALL!r}")
                selection.every = True
            elif callable(each):
                selection.functions.append(each)
            elif each is not None:
                selection.engines += named(each)
        return selection


def named(engines: Engines) -> list[tuple[Engine, str | None]]:
    """Engines with the names of their pools; None where they have none.

    Raises:
        TypeError: One of them is no engine.
    """
    if isinstance(engines, AsyncEngine | Engine):
        return [(root_engine(engines), None)]
    if isinstance(engines, Mapping):
        return [(root_engine(engine), name) for name, engine in engines.items()]
    if isinstance(engines, Sequence | set | frozenset):
        return [(root_engine(engine), None) for engine in engines]
    return [(root_engine(engines), None)]  # which raises
