"""Call site of a statement: the line of application code that sent it.

With an async engine SQLAlchemy runs in a greenlet whose stack has no application frames: they are
on its parent, the greenlet that waits for it.
"""

import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from greenlet import getcurrent

from vitals.own_code import KNOWN_FILES, STANDARD, is_application_code, short_path

Stack = tuple[tuple[CodeType, int], ...]
"""Application frames with their current line, the innermost first."""

MAX_DEPTH = 8
"""Application frames that identify a call site."""

MAX_FRAMES = 250
"""Frames inspected at most: an endpoint under many middlewares has about 80."""

_LOADERS = "sqlalchemy.orm.strategies"


def frames() -> Iterator[FrameType]:
    """Frames of the current call stack, the innermost first, across greenlets."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # what inspect.currentframe is
    greenlet: Any = getcurrent()
    for _ in range(MAX_FRAMES):
        while frame is None:
            greenlet = greenlet.parent
            if greenlet is None:
                return
            frame = greenlet.gr_frame
        yield frame
        frame = frame.f_back


def application_stack() -> Stack:
    """Application frames of the current stack, deduplicated so that recursion is one call site.

    If the application itself is an installed package, every frame but SQLAlchemy's counts.
    """
    found: dict[tuple[CodeType, int], None] = {}
    for frame in frames():
        if is_application_code(frame.f_code):
            found[frame.f_code, frame.f_lineno] = None
            if len(found) == MAX_DEPTH:
                break
    if not found:
        found = {
            (frame.f_code, frame.f_lineno): None
            for frame in frames()
            if not frame.f_code.co_filename.startswith(STANDARD)
            and not str(frame.f_globals.get("__name__")).startswith(("sqlalchemy.", "greenlet"))
        }
    return tuple(found)[:MAX_DEPTH]


def innermost() -> tuple[CodeType | None, int]:
    """The innermost application frame's code and line; None and 0 when there is none.

    A loop of its own: it runs for each statement of a traced request, and without calls it takes a
    quarter of the time.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # as above
    greenlet: Any = None
    known = KNOWN_FILES.get
    for _ in range(MAX_FRAMES):
        while frame is None:
            greenlet = getcurrent().parent if greenlet is None else greenlet.parent
            if greenlet is None:
                return None, 0
            frame = greenlet.gr_frame
        code = frame.f_code
        if known(code.co_filename) is not False and is_application_code(code):
            return code, frame.f_lineno
        frame = frame.f_back
    return None, 0


def format_location(stack: Stack) -> str:
    """The innermost frame as ``orders/repository.py:57 in fetch``; empty when there is none."""
    if not stack:
        return ""
    code, number = stack[0]
    return f"{short_path(code.co_filename)}:{number} in {code.co_qualname}"


def lazy_relationship() -> str:
    """The attribute being lazily loaded, such as ``Order.items``; empty when there is none."""
    for frame in frames():
        if frame.f_globals.get("__name__") == _LOADERS:
            loaded = getattr(frame.f_locals.get("self"), "parent_property", None)
            if loaded is not None:
                return str(loaded)
    return ""
