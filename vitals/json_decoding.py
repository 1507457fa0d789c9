"""Decodes JSON in time linear in its length, whatever its numbers are.

msgspec decodes most numbers in 20 ns, but takes up to 10 µs for one such as ``1e300``: 64 KiB of
them would block the event loop for 100 ms. Python's own float takes half a microsecond for any.
"""

import math
from typing import Any

import msgspec

_SHORT_TEXT = 1_024
"""Bytes below which a text cannot hold enough such numbers to matter."""
_NUMBER_CHARACTERS = bytes.maketrans(b"123456789E", b"0" * 9 + b"e")


def decode(text: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: The text is not JSON, or a number is too large.
        RecursionError: It is nested too deeply.
    """
    has_exponents = len(text) > _SHORT_TEXT and b"0e" in text.translate(_NUMBER_CHARACTERS)
    try:
        return (_decode_with_python_floats if has_exponents else _decode)(text)
    except msgspec.MsgspecError as error:  # a ValueError only since msgspec 0.21
        raise ValueError(*error.args) from error


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


_decode = msgspec.json.Decoder().decode
_decode_with_python_floats = msgspec.json.Decoder(float_hook=_finite).decode
