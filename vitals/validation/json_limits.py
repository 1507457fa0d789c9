"""Checks the size limits of JSON on its bytes, before it is parsed.

A parser creates an object for each part, which takes long enough to block the event loop: a body of
1 MiB has room for half a million. Counting bytes takes a thousandth of that.
"""

from vitals.validation.config import Validation
from vitals.validation.ijson import JsonFault

_IN_NUMBERS = bytes.maketrans(b"123456789+-.eE", b"0" * 14)
_SPACES = b" \t\r\n"
_BEFORE_PARTS = b",[{"
"""Each member and element follows one of them."""


def exceeded_limit(body: bytes, limits: Validation) -> JsonFault | None:
    """The limit that a body exceeds; None if none, or if it is not JSON."""
    length = len(body)
    suspect = (
        (limits.string is not None and length > limits.string)
        or (
            length > limits.members
            and length - len(body.translate(None, _BEFORE_PARTS)) > limits.members
        )
        or (length > limits.digits and _has_long_number(body, limits.digits))
    )
    return _find_exceeded_limit(body, limits) if suspect else None


def _find_exceeded_limit(body: bytes, limits: Validation) -> JsonFault | None:
    """The same, exactly: strings and the text between them are checked separately."""
    many = JsonFault("members", f"There are more than {limits.members} members and elements.")
    # Only the length of escape sequences matters.
    plain = body.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in body else body
    # A member has at most two strings, so there are few pieces.
    if plain.count(b'"') > 4 * limits.members + 2:
        return many
    pieces = plain.split(b'"')
    outside = b'"'.join(pieces[::2])
    if _parts(outside.translate(None, _SPACES)) > limits.members:
        return many
    if limits.string is not None and any(len(string) > limits.string for string in pieces[1::2]):
        return JsonFault("string", f"A string is longer than {limits.string} bytes.")
    if _has_long_number(outside, limits.digits):
        return JsonFault("digits", f"A number is longer than {limits.digits} characters.")
    return None


def _parts(text: bytes) -> int:
    """Members and elements: one per comma, and one per non-empty container."""
    containers = text.count(b"[") - text.count(b"[]") + text.count(b"{") - text.count(b"{}")
    return text.count(b",") + containers


def _has_long_number(text: bytes, most: int) -> bool:
    return b"0" * (most + 1) in text.translate(_IN_NUMBERS)
