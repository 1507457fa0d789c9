"""Call site of a statement: the line of application code that sent it.

With an async engine SQLAlchemy runs in a greenlet whose stack has no application frames: they are
on its parent, the greenlet that waits for it.
"""

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from greenlet import getcurrent

Stack = tuple[tuple[CodeType, int], ...]
"""Application frames with their current line, the innermost first."""

MAX_DEPTH = 8
"""Application frames that identify a call site."""

MAX_FRAMES = 250
"""Frames inspected at most: an endpoint under many middlewares has about 80."""

_HERE = str(Path(__file__).parents[2]) + os.sep
_PATHS = sysconfig.get_paths()
_STANDARD = tuple({_PATHS["stdlib"] + os.sep, _PATHS["platstdlib"] + os.sep, "<", _HERE})
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_LOADERS = "sqlalchemy.orm.strategies"

_is_application: dict[CodeType, bool] = {}
_CACHE_SIZE = 20_000


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
        if _is_application_code(frame.f_code):
            found[frame.f_code, frame.f_lineno] = None
            if len(found) == MAX_DEPTH:
                break
    if not found:
        found = {
            (frame.f_code, frame.f_lineno): None
            for frame in frames()
            if not frame.f_code.co_filename.startswith(_STANDARD)
            and not str(frame.f_globals.get("__name__")).startswith(("sqlalchemy.", "greenlet"))
        }
    return tuple(found)[:MAX_DEPTH]


def format_location(stack: Stack) -> str:
    """The innermost frame as ``orders/repository.py:57 in fetch``; empty when there is none."""
    if not stack:
        return ""
    code, number = stack[0]
    return f"{_short_path(code.co_filename)}:{number} in {code.co_qualname}"


def lazy_relationship() -> str:
    """The attribute being lazily loaded, such as ``Order.items``; empty when there is none."""
    for frame in frames():
        if frame.f_globals.get("__name__") == _LOADERS:
            loaded = getattr(frame.f_locals.get("self"), "parent_property", None)
            if loaded is not None:
                return str(loaded)
    return ""


def _is_application_code(code: CodeType) -> bool:
    known = _is_application.get(code)
    if known is None:
        name = code.co_filename
        known = not name.startswith(_STANDARD) and not any(part in name for part in _INSTALLED)
        if len(_is_application) >= _CACHE_SIZE:
            _is_application.clear()
        _is_application[code] = known
    return known


def _short_path(name: str) -> str:
    roots = [root for root in (str(Path.cwd()), *sys.path) if root and name.startswith(root + "/")]
    shown = name.removeprefix(max(roots, key=len) + "/") if roots else name
    for part in _INSTALLED:
        shown = shown.rpartition(part)[2]
    return shown
