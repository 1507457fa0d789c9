"""Which line of the application sent a statement.

Under an async engine SQLAlchemy runs in a greenlet whose stack has no frame of the application's:
they are in the greenlet that waits for it, its parent.
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
"""Frames of the application, the nearest first, each with the line it is at."""

DEEP = 8
"""Frames of the application that tell one place from another."""

FARTHEST = 250
"""Frames looked at: an endpoint under many middlewares has about 80."""

_HERE = str(Path(__file__).parents[2]) + os.sep
_PATHS = sysconfig.get_paths()
_STANDARD = tuple({_PATHS["stdlib"] + os.sep, _PATHS["platstdlib"] + os.sep, "<", _HERE})
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_LOADERS = "sqlalchemy.orm.strategies"

_ours: dict[CodeType, bool] = {}
_KEPT = 20_000


def frames() -> Iterator[FrameType]:
    """Every frame that led here, the nearest first, through greenlets."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # what inspect.currentframe is
    greenlet: Any = getcurrent()
    for _ in range(FARTHEST):
        while frame is None:
            greenlet = greenlet.parent
            if greenlet is None:
                return
            frame = greenlet.gr_frame
        yield frame
        frame = frame.f_back


def stack() -> Stack:
    """The application's frames that led here, each once, so that recursion is one place.

    An application that is installed has none; then it is the frames that are not SQLAlchemy's.
    """
    found: dict[tuple[CodeType, int], None] = {}
    for frame in frames():
        if _is_ours(frame.f_code):
            found[frame.f_code, frame.f_lineno] = None
            if len(found) == DEEP:
                break
    if not found:
        found = {
            (frame.f_code, frame.f_lineno): None
            for frame in frames()
            if not frame.f_code.co_filename.startswith(_STANDARD)
            and not str(frame.f_globals.get("__name__")).startswith(("sqlalchemy.", "greenlet"))
        }
    return tuple(found)[:DEEP]


def line(place: Stack) -> str:
    """The nearest frame as ``orders/repository.py:57 in fetch``; empty when there is none."""
    if not place:
        return ""
    code, number = place[0]
    return f"{_short(code.co_filename)}:{number} in {code.co_qualname}"


def relationship() -> str:
    """Which attribute is being loaded lazily, as ``Order.items``; empty when none is."""
    for frame in frames():
        if frame.f_globals.get("__name__") == _LOADERS:
            loaded = getattr(frame.f_locals.get("self"), "parent_property", None)
            if loaded is not None:
                return str(loaded)
    return ""


def _is_ours(code: CodeType) -> bool:
    known = _ours.get(code)
    if known is None:
        name = code.co_filename
        known = not name.startswith(_STANDARD) and not any(part in name for part in _INSTALLED)
        if len(_ours) >= _KEPT:
            _ours.clear()
        _ours[code] = known
    return known


def _short(name: str) -> str:
    roots = [root for root in (str(Path.cwd()), *sys.path) if root and name.startswith(root + "/")]
    shown = name.removeprefix(max(roots, key=len) + "/") if roots else name
    for part in _INSTALLED:
        shown = shown.rpartition(part)[2]
    return shown
