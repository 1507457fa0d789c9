"""Call site of a statement: the line of application code that sent it.

With an async engine SQLAlchemy runs in a greenlet whose stack has no application frames: they are
on its parent, the greenlet that waits for it.
"""

import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple, Protocol

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


class CallPath(NamedTuple):
    """Where on the stack the application frame of a statement was found before.

    Attributes:
        depth: How far out its frame is, or that of the greenlet's first function.
        code: The code of that frame.
        inner: The code of the frame that it has called.
    """

    depth: int
    code: CodeType
    inner: CodeType


class Sent(Protocol):
    """A statement that is sent again and again, mostly in the same way."""

    call_path: CallPath | None


def innermost(  # noqa: C901  # each call would cost
    statement: Sent,
) -> tuple[CodeType | None, int]:
    """The innermost application frame's code and line; None and 0 when there is none.

    It runs for each statement of a traced request: Python makes an object of each frame that is
    walked, so where the frames of the last time are in the same places, those between are not.
    """
    path = statement.call_path
    frame: FrameType | None = None
    depth = 1
    if path is not None:
        try:
            frame = sys._getframe(path.depth)  # noqa: SLF001  # as above
            inner = sys._getframe(path.depth - 1)  # noqa: SLF001
        except ValueError:  # the stack is not as deep
            frame = None
        else:
            if frame.f_code is not path.code or inner.f_code is not path.inner:
                frame = None
            depth = path.depth
    if frame is None:
        frame, depth = sys._getframe(1), 1  # noqa: SLF001
    greenlet: Any = None
    known = KNOWN_FILES.get
    last = frame
    for number in range(depth, MAX_FRAMES):
        while frame is None:
            if greenlet is None:
                _note_path(statement, last, number - 1)
                greenlet = getcurrent()
            greenlet = greenlet.parent
            if greenlet is None:
                return None, 0
            frame = greenlet.gr_frame
        code = frame.f_code
        if known(code.co_filename) is not False and is_application_code(code):
            if greenlet is None:
                _note_path(statement, frame, number)
            return code, frame.f_lineno
        last, frame = frame, frame.f_back
    return None, 0


def _note_path(statement: Sent, frame: FrameType, depth: int) -> None:
    """Note where a frame was found, as seen from the caller."""
    path = statement.call_path
    if depth > 1 and (path is None or path.depth != depth or path.code is not frame.f_code):
        inner = sys._getframe(depth)  # noqa: SLF001  # one further in, as this is a call itself
        statement.call_path = CallPath(depth, frame.f_code, inner.f_code)


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
