"""Whether a body is I-JSON (RFC 7493), the JSON that every receiver understands alike.

The whole body is checked at once, at its end, by the C parser of the standard library: FastAPI
assembles it anyway, and a scanner in Python that works chunk by chunk takes ten times as long.
Only a body that is refused is looked at again, slowly, to name the place.
"""

import json
import math
import re
from typing import Any, NamedTuple

LOCATED = 65_536
"""Characters up to which the place of a fault is looked for."""

_POINTER_LENGTH = 200


class Fault(NamedTuple):
    """What is wrong with a body.

    Attributes:
        reason: A fixed word.
        detail: For the client.
        pointer: JSON pointer (RFC 6901) to the place; empty, the whole body, where it is unknown.
    """

    reason: str
    detail: str
    pointer: str = ""


class _NotIJsonError(ValueError):
    def __init__(self, fault: Fault) -> None:
        self.fault = fault


def fault(body: bytes, depth: int) -> Fault | None:
    """What makes a body unacceptable; None where nothing does.

    Args:
        body: The whole body.
        depth: Arrays and objects that may stand in one another.
    """
    text = ""
    try:
        text = body.decode()
        value = _decode(text)
        if "\\u" in text:
            _encode(value).encode()
    except RecursionError:
        return _too_deep(depth)
    except ValueError as error:
        return _unreadable(error, text)
    # Most bodies have fewer brackets than they may have levels.
    if body.count(b"[") + body.count(b"{") > depth and _is_deeper(value, depth):
        return _too_deep(depth)
    return None


def _unreadable(error: ValueError, text: str) -> Fault:
    match error:
        case UnicodeDecodeError():
            return Fault("encoding", f"Byte {error.start} is not UTF-8.")
        case UnicodeEncodeError():
            return Fault("encoding", "A \\u escape is half of a character.")
        case json.JSONDecodeError():
            return Fault("syntax", f"{error.msg} at character {error.pos}.")
        case _NotIJsonError():
            pointer = _place(text) if len(text) <= LOCATED else ""
            return error.fault._replace(pointer=pointer)
    return Fault("number", "A number is too large.")  # Python reads no thousands of digits


def _too_deep(depth: int) -> Fault:
    return Fault("depth", f"More than {depth} arrays and objects stand in one another.")


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _NotIJsonError(Fault("duplicate_key", "An object has two members of one name."))
    return members


def _constant(name: str) -> float:
    raise _NotIJsonError(Fault("number", f"{name} is not a number in JSON."))


def _fraction(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _NotIJsonError(Fault("number", "A number is too large."))
    return number


_decode = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_constant, parse_float=_fraction
).decode
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode

_LITERALS = frozenset(("true", "false", "null"))
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]|[^\s\[\]{},:"]++', re.DOTALL)


class _Level:
    """An array or object that is being read: where in it we are, and the names it had."""

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
        """Take a member's name; whether it is new."""
        self.at, self.wants_name = json.loads(written), False
        if self.at in self.names:
            return False
        self.names.add(self.at)
        return True


def _place(text: str) -> str:
    """The pointer to the first duplicate member or impossible number of a text."""
    levels: list[_Level] = []
    for match in _TOKEN.finditer(text):
        part = match[0]
        if part in "{[":
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
    return pointer if len(pointer) <= _POINTER_LENGTH else ""
