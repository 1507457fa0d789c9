"""Stacks of other threads: the lines of the application on them, the innermost first.

A frame that another thread holds keeps the variables of its function alive, and would end them in
that other thread. So a stack is copied to plain values at once, and no frame is kept.
"""

import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, NamedTuple

from vitals.own_code import STANDARD, is_application_code

MAX_FRAMES = 400
"""Frames of a stack that are looked at: an endpoint under many middlewares has about 80."""
MAX_LINES = 16
"""Functions of the application that are kept of a stack."""
MAX_NAME = 160
"""Characters of a site."""


class Line(NamedTuple):
    """A line of code on a stack.

    Attributes:
        module: The name of its module.
        function: The qualified name of its function.
        path: Its file.
        number: Its number.
    """

    module: str
    function: str
    path: str
    number: int

    @property
    def site(self) -> str:
        """The line as a label value, ``module:function:line``."""
        number = f":{self.number}"
        return f"{self.module}:{self.function}"[: MAX_NAME - len(number)] + number


class Stack(NamedTuple):
    """What was on a stack.

    Attributes:
        lines: Lines of the application, the innermost first, each function once; without any, the
            innermost line of a library.
        callee: The function of a library that the innermost line has called; empty for none, such
            as one that is written in C.
    """

    lines: tuple[Line, ...]
    callee: str


def read_stack(
    frame: FrameType, base: CodeType | None = None, outer: FrameType | None = None
) -> tuple[Stack, FrameType] | None:
    """Read the stack above a function.

    Args:
        frame: The innermost frame.
        base: The code of the function; None for the whole stack.
        outer: The frame that goes on where the first stack ends without the function: that of the
            greenlet that waits for this one.

    Returns:
        The stack, and the frame that the function has called, which must not be kept; None if the
        function has called nothing, or is not on the stack.
    """
    found: dict[CodeType, Line] = {}
    library: Line | None = None
    root: FrameType | None = None
    inner: FrameType | None = None
    callee = ""
    for each in _frames(frame, outer):
        code = each.f_code
        if code is base:
            break
        root = each
        if is_application_code(code):
            if not found and inner is not None:
                callee = f"{_module(inner)}:{inner.f_code.co_qualname}"[:MAX_NAME]
            if code not in found and len(found) < MAX_LINES:
                found[code] = _line(each)
        elif library is None and not code.co_filename.startswith(STANDARD):
            library = _line(each)
        inner = each
    else:
        if base is not None:
            return None
    if root is None:
        return None
    lines = tuple(found.values()) or (library or _line(frame),)
    return Stack(lines, callee), root


def greenlet_of_this_thread() -> Any:
    """The current greenlet of this thread; None where greenlets are not used."""
    module = sys.modules.get("greenlet")
    return None if module is None else module.getcurrent()


def _frames(frame: FrameType, outer: FrameType | None) -> Iterator[FrameType]:
    count = 0
    for start in (frame, outer):
        each = start
        while each is not None and count < MAX_FRAMES:
            yield each
            each = each.f_back
            count += 1


def _line(frame: FrameType) -> Line:
    code = frame.f_code
    return Line(_module(frame), code.co_qualname, code.co_filename, frame.f_lineno or 0)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
