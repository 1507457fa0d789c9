"""Reads JSON in a time that its length bounds, whatever its numbers are.

msgspec reads most numbers in 20 ns, but takes up to 10 µs for one such as ``1e300``: 64 KiB of
them would hold the event loop for 100 ms. Python's own float takes half a microsecond for any.
"""

import math
from typing import Any

import msgspec

_SHORT = 1_024
"""Bytes of a text that has no room for so many numbers that their kind would matter."""
_KINDS = bytes.maketrans(b"123456789E", b"0" * 9 + b"e")


def decode(text: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is not JSON, or a number is too large.
        RecursionError: It is too deep.
    """
    has_exponents = len(text) > _SHORT and b"0e" in text.translate(_KINDS)
    return (_decode_any if has_exponents else _decode)(text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


_decode = msgspec.json.Decoder().decode
_decode_any = msgspec.json.Decoder(float_hook=_finite).decode
