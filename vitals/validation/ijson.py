"""Validates that a body is I-JSON (RFC 7493), the JSON that all receivers interpret alike.

The entire body is checked at once, at its end, in C: FastAPI assembles it anyway, and an
incremental scanner in Python takes ten times as long. Only a body that may be invalid is parsed
again, slowly, to find out what is wrong, and where.
"""

import json
import math
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from vitals.json_decoding import decode
from vitals.validation.json_pointer import find_pointer

MAX_LOCATED_CHARACTERS = 16_384
"""Most characters of a text in which a fault is located."""

_CONTAINERS = frozenset((dict, list))


class JsonFault(NamedTuple):
    """Why a body is invalid.

    Attributes:
        reason: A fixed word.
        detail: Text for the client.
        pointer: JSON pointer (RFC 6901) to the fault; empty (the whole body) if unknown.
    """

    reason: str
    detail: str
    pointer: str = ""


class _NotIJsonError(ValueError):
    def __init__(self, fault: JsonFault) -> None:
        self.fault = fault


def fault(body: bytes, depth: int) -> JsonFault | None:
    """The fault of a body; None if it is valid.

    Args:
        body: The whole body.
        depth: Most levels of nested arrays and objects.
    """
    return None if _is_valid(body, depth) else _find_fault(body, depth)


def _is_valid(body: bytes, depth: int) -> bool:
    """Whether a body is certainly valid.

    The decoder rejects everything that is not I-JSON except duplicate names, of which it keeps the
    last. The others are missing when the value is encoded again, so the count of quotes differs.
    """
    try:
        value = decode(body)
        whole = _quotes(msgspec.json.encode(value)) == _quotes(body)
    except (ValueError, RecursionError):
        return False
    return whole and not _has_more_levels(body, value, depth)


def _quotes(text: bytes) -> int:
    """The number of quotes that delimit strings."""
    if b"\\" not in text:
        return text.count(b'"')
    unpaired = text.replace(b"\\\\", b"")
    return unpaired.count(b'"') - unpaired.count(b'\\"')


def _find_fault(body: bytes, depth: int) -> JsonFault | None:
    text = ""
    try:
        text = body.decode()
        value = _decode(text)
        if "\\u" in text:
            _encode(value).encode()
    except RecursionError:
        return _too_deep(depth)
    except ValueError as error:
        return _decode_fault(error, text)
    return _too_deep(depth) if _has_more_levels(body, value, depth) else None


def _decode_fault(error: ValueError, text: str) -> JsonFault:
    match error:
        case UnicodeDecodeError():
            return JsonFault("encoding", f"Byte {error.start} is not UTF-8.")
        case UnicodeEncodeError():
            return JsonFault("encoding", "A \\u escape is a lone surrogate.")
        case json.JSONDecodeError():
            return JsonFault("syntax", f"{error.msg} at character {error.pos}.")
        case _NotIJsonError():
            pointer = find_pointer(text) if len(text) <= MAX_LOCATED_CHARACTERS else ""
            # A name may hold a lone surrogate, which cannot be encoded in a response.
            return error.fault._replace(pointer=pointer.encode(errors="replace").decode())
    return JsonFault(
        "number", "A number is too large."
    )  # Python refuses to parse thousands of digits


def _too_deep(depth: int) -> JsonFault:
    return JsonFault("depth", f"Arrays and objects are nested more than {depth} levels deep.")


def _has_more_levels(body: bytes, value: Any, depth: int) -> bool:
    # `left`: brackets not accounted for by the levels so far: containers, or parts of strings.
    # Most bodies have too few of them for more levels, so the last level is seldom inspected.
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
        raise _NotIJsonError(
            JsonFault("duplicate_key", "An object has two members of the same name.")
        )
    return members


def _constant(name: str) -> float:
    raise _NotIJsonError(JsonFault("number", f"{name} is not a number in JSON."))


def _fraction(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _NotIJsonError(JsonFault("number", "A number is too large."))
    return number


_decode = json.JSONDecoder(
    object_pairs_hook=_members, parse_constant=_constant, parse_float=_fraction
).decode
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
