"""Frames of a traceback's text, with source lines, and which are of the application's code."""

import re
from typing import NamedTuple

MAX_FRAMES = 60
_FRAME = re.compile(r'[ |]*File "(?P<file>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')
_OTHERS = re.compile(
    r"/(?:site|dist)-packages/|/lib/python3\.\d+/|^<|/vitals/(?:asgi|db|http|logging|tracing)/"
)


class Frame(NamedTuple):
    """One frame.

    Attributes:
        file: Its file, as the traceback has it.
        line: The line's number.
        function: The function's name; empty if unknown.
        source: The source line; empty if the traceback has none.
        own: Whether it is the application's code.
    """

    file: str
    line: int
    function: str
    source: str
    own: bool


def frames_of(stacktrace: str) -> list[Frame]:
    """The frames of a traceback, the outermost first; of a long one the innermost."""
    found: list[Frame] = []
    lines = stacktrace.splitlines()
    for at, text in enumerate(lines):
        frame = _FRAME.match(text)
        if frame is None:
            continue
        following = lines[at + 1] if at + 1 < len(lines) else ""
        is_source = following.startswith("    ") and not _FRAME.match(following)
        file = frame["file"]
        found.append(
            Frame(
                file,
                int(frame["line"]),
                (frame["function"] or "").strip(),
                following.strip() if is_source else "",
                own=not _OTHERS.search(file),
            )
        )
    return found[-MAX_FRAMES:]
