"""Locates the fault at which a JSON parser stopped, as a JSON pointer (RFC 6901)."""

import json
import math
import re

POINTER_LENGTH = 200
"""Most characters of a pointer; longer ones are left out."""

MAX_LEVELS = POINTER_LENGTH // 2
"""Most levels of a pointer: each takes at least two characters."""

_LITERALS = frozenset(("true", "false", "null"))
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]|[^\s\[\]{},:"]++', re.DOTALL)


class _Level:
    """An open array or object: the current position, and the names so far."""

    __slots__ = ("at", "index", "is_object", "names", "wants_name")

    def __init__(self, *, is_object: bool) -> None:
        self.is_object = self.wants_name = is_object
        self.index = 0
        self.at: str = "0"
        self.names: set[str] = set()

    def next(self) -> None:
        self.index += 1
        if self.is_object:
            self.wants_name = True
        else:
            self.at = str(self.index)

    def name(self, written: str) -> bool:
        """Add a member's name; returns whether it is new."""
        self.at, self.wants_name = json.loads(written), False
        if self.at in self.names:
            return False
        self.names.add(self.at)
        return True


def find_pointer(text: str) -> str:
    """The pointer to the first duplicate member or invalid number of a text.

    Empty (the whole text) if there is none, or if the pointer would be too long.
    """
    levels: list[_Level] = []
    for match in _TOKEN.finditer(text):
        part = match[0]
        if part in "{[":
            if len(levels) >= MAX_LEVELS:
                return ""
            levels.append(_Level(is_object=part == "{"))
        elif part in "]}":
            levels.pop()
        elif part == ",":
            levels[-1].next()
        elif part[0] == '"':
            if levels and levels[-1].wants_name and not levels[-1].name(part):
                return _pointer(levels)
        elif not (part in _LITERALS or _is_finite(part)):
            return _pointer(levels)
    return ""


def _is_finite(part: str) -> bool:
    try:  # the parser stopped within a part such as "NaN-7"
        return part.lstrip("-").isdigit() or math.isfinite(float(part))
    except ValueError:
        return False


def _pointer(levels: list[_Level]) -> str:
    pointer = "".join("/" + level.at.replace("~", "~0").replace("/", "~1") for level in levels)
    return pointer if len(pointer) <= POINTER_LENGTH else ""
