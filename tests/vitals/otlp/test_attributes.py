"""Any value becomes an attribute that a collector takes."""

from typing import Any

import pytest

from vitals.otlp.attributes import MAX_ATTRIBUTES, MAX_VALUE, add_attributes, set_value

pytest.importorskip("opentelemetry.proto")  # an extra

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord


def sent(value: Any) -> Any:
    """A value after it was serialised."""
    message = AnyValue()
    set_value(message, value)
    return _plain(AnyValue.FromString(message.SerializeToString()))


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {each.key: _plain(each.value) for each in value.kvlist_value.values}
    return None if kind is None else getattr(value, kind)


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "ü",
        True,
        0,
        -(2**63),
        2**63 - 1,
        0.5,
        b"\xff",
        None,
        [1, "a", []],
        {"a": {"b": [True]}},
    ],
)
def test_plain_values_arrive_as_they_are(value: Any) -> None:
    assert sent(value) == value


def test_what_protobuf_does_not_hold_becomes_a_text() -> None:
    assert sent(2**63) == str(2**63)
    assert sent("\ud800") == "?"
    assert sent(ValueError("a")) == "a"
    assert sent((1, 2)) == [1, 2]


def test_values_and_their_number_are_bounded() -> None:
    assert len(sent("x" * 10**6)) == MAX_VALUE + 1
    record = LogRecord()
    left_out = add_attributes(
        record.attributes, {"none": None, **{str(number): number for number in range(200)}}
    )
    assert len(record.attributes) == MAX_ATTRIBUTES - 1
    assert left_out == 201 - MAX_ATTRIBUTES
