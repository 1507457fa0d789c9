"""Formats of a profile: speedscope's JSON, pprof's protobuf, and folded stacks.

Sources: https://www.speedscope.app/file-format-schema.json and
https://github.com/google/pprof/blob/main/proto/profile.proto
"""

import gzip
import json
from collections import defaultdict
from functools import lru_cache
from types import CodeType
from typing import Any

from vitals.own_code import short_path
from vitals.profiling.sampler import Profile, Stack

NO_ROUTE = "(no request)"
BEYOND_LIMIT = "(stacks beyond the limit)"
_NANOSECONDS = 10**9

Line = tuple[str, str, int]
"""Function, file and line."""


def speedscope(profile: Profile, name: str) -> bytes:
    """The profile as a file of speedscope, with one flame graph for each route."""
    frames: dict[Line, int] = {}
    by_route: dict[str, list[tuple[list[int], float]]] = defaultdict(list)
    for (route, stack), seconds in profile.items():
        indices = [frames.setdefault(line, len(frames)) for line in reversed(_lines(stack))]
        by_route[route].append((indices, seconds))
    profiles: list[dict[str, Any]] = [
        {
            "type": "sampled",
            "name": route or NO_ROUTE,
            "unit": "seconds",
            "startValue": 0,
            "endValue": sum(seconds for _, seconds in samples),
            "samples": [indices for indices, _ in samples],
            "weights": [seconds for _, seconds in samples],
        }
        for route, samples in sorted(by_route.items())
    ]
    document = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "vitals",
        "name": name,
        "activeProfileIndex": 0,
        "shared": {
            "frames": [
                {"name": function, "file": file, "line": number}
                for function, file, number in frames
            ]
        },
        "profiles": profiles,
    }
    return json.dumps(document).encode()


def folded(profile: Profile) -> bytes:
    """The profile as folded stacks: a stack with its milliseconds a line, the route outermost."""
    found: dict[str, float] = defaultdict(float)
    for (route, stack), seconds in profile.items():
        lines = [f"{function} ({file}:{n})" for function, file, n in reversed(_lines(stack))]
        text = ";".join(each.replace(";", ",") for each in (route or NO_ROUTE, *lines))
        found[text] += seconds
    return "".join(f"{text} {seconds * 1000:.0f}\n" for text, seconds in found.items()).encode()


def pprof(profile: Profile, began: float, seconds: float, period: float) -> bytes:
    """The profile as pprof reads it; the route is the label ``http_route`` of each sample.

    Args:
        profile: The profile.
        began: Its begin, in Unix seconds.
        seconds: Its length.
        period: Seconds between two samples.
    """
    strings: dict[str, int] = {"": 0}
    functions: dict[tuple[str, str], int] = {}
    locations: dict[Line, int] = {}

    def text(value: str) -> int:
        return strings.setdefault(value, len(strings))

    value_type = _number(1, text("wall")) + _number(2, text("nanoseconds"))
    body = message(1, value_type)
    for (route, stack), spent in profile.items():
        ids = [locations.setdefault(line, len(locations) + 1) for line in _lines(stack)]
        sample = message(1, b"".join(map(_varint, ids)))
        sample += message(2, _varint(round(spent * _NANOSECONDS)))
        if route:
            sample += message(3, _number(1, text("http_route")) + _number(2, text(route)))
        body += message(2, sample)
    for (function, file, number), place in locations.items():
        known = functions.setdefault((function, file), len(functions) + 1)
        line = _number(1, known) + _number(2, number)
        body += message(4, _number(1, place) + message(4, line))
    for (function, file), place in functions.items():
        name = text(function)
        fields = _number(1, place) + _number(2, name) + _number(3, name) + _number(4, text(file))
        body += message(5, fields)
    body += b"".join(message(6, each.encode(errors="replace")) for each in strings)
    body += _number(9, int(began * _NANOSECONDS)) + _number(10, int(seconds * _NANOSECONDS))
    body += message(11, value_type) + _number(12, int(period * _NANOSECONDS))
    return gzip.compress(body, mtime=0)


def _lines(stack: Stack) -> list[Line]:
    if not stack:
        return [(BEYOND_LIMIT, "", 0)]
    return [
        (code.co_qualname, _path(code.co_filename), _line_of(code, offset))
        for code, offset in stack
    ]


@lru_cache(maxsize=4_096)
def _path(name: str) -> str:
    return short_path(name)


@lru_cache(maxsize=8_192)
def _line_of(code: CodeType, offset: int) -> int:
    for start, end, line in code.co_lines():
        if start <= offset < end and line is not None:
            return line
    return code.co_firstlineno


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004  # seven bits
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def message(field: int, body: bytes) -> bytes:
    """A field of protobuf with bytes, a text or a message."""
    return _varint(field << 3 | 2) + _varint(len(body)) + body
