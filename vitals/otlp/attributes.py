"""Attributes and resources as messages of OTLP."""

from collections.abc import Mapping, Sequence
from typing import Any

MAX_ATTRIBUTES = 128
"""Most attributes of one record, as OpenTelemetry's default; further ones are left out."""
MAX_VALUE = 16_384
"""Most characters of one value, and most members of a list."""
_INT64 = 2**63


def add_attributes(to: Any, attributes: Mapping[str, Any]) -> int:
    """Add attributes to a message.

    Args:
        to: The repeated field ``attributes`` of the message.
        attributes: Their values: texts, numbers, truth values, bytes; lists and mappings of these;
            None is left out, and anything else becomes a text.

    Returns:
        How many were left out beyond the most that a message has.
    """
    add = to.add
    for number, (key, value) in enumerate(attributes.items()):
        if number >= MAX_ATTRIBUTES:
            return len(attributes) - MAX_ATTRIBUTES
        if value is not None:
            set_value(add(key=key).value, value)
    return 0


def set_value(to: Any, value: Any) -> None:
    """Set an ``AnyValue``."""
    if isinstance(value, str):
        to.string_value = _valid(value)
    elif isinstance(value, bool):
        to.bool_value = value
    elif isinstance(value, int) and -_INT64 <= value < _INT64:
        to.int_value = value
    elif isinstance(value, float):
        to.double_value = value
    elif isinstance(value, bytes):
        to.bytes_value = value[:MAX_VALUE]
    elif isinstance(value, Mapping | Sequence | set | frozenset):
        _set_members(to, value)
    elif value is not None:
        to.string_value = _valid(str(value))


def _set_members(to: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        pairs = to.kvlist_value
        pairs.SetInParent()
        for key, each in list(value.items())[:MAX_VALUE]:
            set_value(pairs.values.add(key=_valid(str(key))).value, each)
    else:
        members = to.array_value
        members.SetInParent()
        for each in list(value)[:MAX_VALUE]:
            set_value(members.values.add(), each)


def _valid(text: str) -> str:
    """A text that UTF-8 can encode, of bounded length: a lone surrogate becomes a question mark."""
    text = text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"
    return text if text.isascii() else text.encode(errors="replace").decode()
