"""Whether a body is I-JSON (RFC 7493), the JSON that every receiver understands alike.

The whole body is checked at once, at its end, in C: FastAPI assembles it anyway, and a scanner in
Python that works chunk by chunk takes ten times as long. Only a body in which something is odd is
looked at again, slowly, to say what, and where.
"""

import json
import math
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from vitals.json_decoding import decode
from vitals.validation.json_pointer import place

LOCATED = 16_384
"""Characters up to which the place of a fault is looked for."""

_CONTAINERS = frozenset((dict, list))


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
    return None if _is_sound(body, depth) else _look_for_fault(body, depth)


def _is_sound(body: bytes, depth: int) -> bool:
    """Whether a body is certainly acceptable.

    The decoder refuses whatever is no I-JSON, but for members of one name, of which it keeps the
    last. The others are missing when the value is written again, and with them their quotes.
    """
    try:
        value = decode(body)
        whole = _quotes(msgspec.json.encode(value)) == _quotes(body)
    except (ValueError, RecursionError):
        return False
    return whole and not _has_more_levels(body, value, depth)


def _quotes(text: bytes) -> int:
    """How many quotes begin or end a string."""
    if b"\\" not in text:
        return text.count(b'"')
    unpaired = text.replace(b"\\\\", b"")
    return unpaired.count(b'"') - unpaired.count(b'\\"')


def _look_for_fault(body: bytes, depth: int) -> Fault | None:
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
    return _too_deep(depth) if _has_more_levels(body, value, depth) else None


def _unreadable(error: ValueError, text: str) -> Fault:
    match error:
        case UnicodeDecodeError():
            return Fault("encoding", f"Byte {error.start} is not UTF-8.")
        case UnicodeEncodeError():
            return Fault("encoding", "A \\u escape is half of a character.")
        case json.JSONDecodeError():
            return Fault("syntax", f"{error.msg} at character {error.pos}.")
        case _NotIJsonError():
            pointer = place(text) if len(text) <= LOCATED else ""
            # A name may hold half of a character, which no answer could be written with.
            return error.fault._replace(pointer=pointer.encode(errors="replace").decode())
    return Fault("number", "A number is too large.")  # Python reads no thousands of digits


def _too_deep(depth: int) -> Fault:
    return Fault("depth", f"More than {depth} arrays and objects stand in one another.")


def _has_more_levels(body: bytes, value: Any, depth: int) -> bool:
    # Brackets that no level so far has accounted for: further containers, or parts of strings.
    # Most bodies have too few of them for more levels, and the last level is seldom looked into.
    left = body.count(b"[") + body.count(b"{")
    if left <= depth:
        return False
    level = [value] if type(value) in _CONTAINERS else []
    for levels in range(1, depth + 1):
        left -= len(level)
        if levels + left <= depth:
            return False
        inside = chain.from_iterable(
            outer.values() if type(outer) is dict else outer for outer in level
        )
        level = [inner for inner in inside if type(inner) in _CONTAINERS]
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
