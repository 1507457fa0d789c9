"""Pushed profiles: Pyroscope's push request, and the files of pprof in it.

Sources: https://github.com/grafana/pyroscope/blob/main/api/push/v1/push.proto and
https://github.com/google/pprof/blob/main/proto/profile.proto
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from stack.store.otlp.messages import InvalidMessageError, decompress

MAX_STACKS = 5_000
"""Stacks of one profile that are kept; those with the least time are left out beyond."""
MAX_FRAMES = 256
_MAX_TEXT = 1_000
_SECOND = 10**9
_MAX_VALUE = 2**53
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class PushedProfile:
    """One profile.

    Attributes:
        labels: Of its series.
        start: When it began, in seconds since 1970; 0 if it does not say.
        stacks: Nanoseconds by stack, the outermost frame first, as ``function (file:line)``.
    """

    labels: dict[str, str]
    start: float
    stacks: dict[tuple[str, ...], int]


def profiles_of(body: bytes) -> Iterator[PushedProfile]:
    """The profiles of a push request.

    Raises:
        InvalidMessageError: It is none.
        TooLargeError: A profile is larger than the bound when decompressed.
    """
    try:
        for series in _grouped(body)[1]:
            fields = _grouped(series)
            pairs = map(_grouped, fields[1])
            labels = {_text(_first(pair[1], b"")): _text(_first(pair[2], b"")) for pair in pairs}
            for sample in fields[2]:
                for raw in map(_bytes, _grouped(sample)[1]):
                    is_gzip = raw[:2] == _GZIP
                    yield _profile(labels, decompress(raw, "gzip") if is_gzip else raw)
    except LookupError as error:
        raise InvalidMessageError(f"no push request of pprof files: {error!r}") from error


def _profile(labels: dict[str, str], content: bytes) -> PushedProfile:
    """A file of pprof; the numbers of fields are those of the source."""
    fields = _grouped(content)
    strings = [_text(each) for each in fields[6]]
    functions: dict[int, str] = {}
    files: dict[int, str] = {}
    for function in map(_grouped, fields[5]):
        number = _number(function[1][0])
        functions[number] = strings[_number(_first(function[2], 0))]
        files[number] = strings[_number(_first(function[4], 0))]
    names: dict[int, list[str]] = {}
    for location in map(_grouped, fields[4]):
        frames = []
        for line in map(_grouped, reversed(location[4])):  # the last one has called the others
            number = _number(_first(line[1], 0))
            at = _number(_first(line[2], 0))
            frames.append(f"{functions[number]} ({files[number]}:{at})")
        names[_number(location[1][0])] = frames
    stacks: dict[tuple[str, ...], int] = defaultdict(int)
    for sample in map(_grouped, fields[2]):
        locations = [each for value in sample[1] for each in _numbers(value)][:MAX_FRAMES]
        values = [each for value in sample[2] for each in _numbers(value)]
        if values and 0 < values[-1] < _MAX_VALUE:  # a negative one is above
            stack = tuple(frame for each in reversed(locations) for frame in names[each])
            stacks[stack] += values[-1]
    kept = sorted(stacks.items(), key=lambda each: -each[1])[:MAX_STACKS]
    return PushedProfile(labels, _number(_first(fields[9], 0)) / _SECOND, dict(kept))


def _grouped(body: bytes | int) -> defaultdict[int, list[bytes | int]]:
    """The values of a message by field."""
    found: defaultdict[int, list[bytes | int]] = defaultdict(list)
    for number, value in _fields(_bytes(body)):
        found[number].append(value)
    return found


def _first(values: list[bytes | int], default: bytes | int) -> bytes | int:
    return values[0] if values else default


def _fields(body: bytes) -> Iterator[tuple[int, bytes | int]]:
    """The fields of a message: numbers, and bytes."""
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(body, at)
            yield key >> 3, value
            continue
        if kind == 2:  # noqa: PLR2004  # bytes with their length before
            size, at = _varint(body, at)
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
        else:
            raise InvalidMessageError("no protobuf")
        if at + size > len(body):
            raise InvalidMessageError("a message is cut off")
        yield key >> 3, body[at : at + size]
        at += size


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004  # the last one
            return value, at
        shift += 7
        if shift > 63:  # noqa: PLR2004  # ten bytes at most
            raise InvalidMessageError("no protobuf")


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise InvalidMessageError("a number where a message was expected")
    return value


def _number(value: bytes | int) -> int:
    if not isinstance(value, int):
        raise InvalidMessageError("a message where a number was expected")
    return value


def _numbers(value: bytes | int) -> list[int]:
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(number)
    return found


def _text(value: bytes | int) -> str:
    return _bytes(value)[:_MAX_TEXT].decode(errors="replace")
