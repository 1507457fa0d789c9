"""Attributes of OTLP as values of Python."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue


def value_of(value: AnyValue) -> Any:
    """A string, number, boolean, list, dictionary, bytes as hexadecimal text, or `None`."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return values_of(value.kvlist_value.values)
    if kind == "bytes_value":
        return value.bytes_value.hex()
    return getattr(value, kind)


def values_of(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes by their keys."""
    return {each.key: value_of(each.value) for each in attributes}
