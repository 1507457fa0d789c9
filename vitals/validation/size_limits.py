"""Whether JSON has too many parts, or parts that are too long, told before any of it is read.

A parser makes an object of each part, which takes long enough to hold the event loop: a body of
1 MiB has room for half a million. Counting bytes takes a thousandth of that.
"""

from vitals.validation.config import Guard
from vitals.validation.ijson import Fault

_IN_NUMBERS = bytes.maketrans(b"123456789+-.eE", b"0" * 14)
_SPACES = b" \t\r\n"
_BEFORE_PARTS = b",[{"
"""One of them stands before each member and element, if only among others."""


def excess(body: bytes, guard: Guard) -> Fault | None:
    """What a body has too much of; None where it has nothing, or is no JSON."""
    length = len(body)
    suspect = (
        (guard.string is not None and length > guard.string)
        or (
            length > guard.members
            and length - len(body.translate(None, _BEFORE_PARTS)) > guard.members
        )
        or (length > guard.digits and _has_long_number(body, guard.digits))
    )
    return _excess(body, guard) if suspect else None


def _excess(body: bytes, guard: Guard) -> Fault | None:
    """The same, looking at strings and at what is outside of them apart."""
    many = Fault("members", f"There are more than {guard.members} members and elements.")
    # Of what is escaped only the length counts.
    plain = body.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in body else body
    # Each member has two strings at most; so there are few pieces.
    if plain.count(b'"') > 4 * guard.members + 2:
        return many
    pieces = plain.split(b'"')
    outside = b'"'.join(pieces[::2])
    if _parts(outside.translate(None, _SPACES)) > guard.members:
        return many
    if guard.string is not None and any(len(string) > guard.string for string in pieces[1::2]):
        return Fault("string", f"A string is longer than {guard.string} bytes.")
    if _has_long_number(outside, guard.digits):
        return Fault("digits", f"A number is longer than {guard.digits} characters.")
    return None


def _parts(text: bytes) -> int:
    """Members and elements: one for each comma, and one for each container that is not empty."""
    containers = text.count(b"[") - text.count(b"[]") + text.count(b"{") - text.count(b"{}")
    return text.count(b",") + containers


def _has_long_number(text: bytes, most: int) -> bool:
    return b"0" * (most + 1) in text.translate(_IN_NUMBERS)
