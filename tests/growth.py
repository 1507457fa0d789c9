"""Growth of a function's processor time with the length of adversarial texts (ReDoS)."""

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import islice, product
from time import thread_time
from typing import Any

# The regular expression parser of the standard library has no public name.
parser: Any = import_module("re._parser")
sre: Any = import_module("re._constants")

MIN_LENGTH, MAX_LENGTH = 32, 65_536
DOUBLED_TO = 128
MIN_SECONDS = 0.004
"""Seconds: less than this at the maximum length is harmless, whatever the growth."""
MAX_RATIO = 3.0
"""Factor of the time for twice the length: 2 is linear, 4 is quadratic."""
SUFFIXES = ("", "\0", "!x")
"""Ends of a text, so that a long partial match may fail at the end."""

_REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}
_CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}
_CHARACTERS = "a7 _\n!\u00e9A\"'"
_VARIANTS = 5


def growth(
    function: Callable[[str], Any],
    unit: str,
    begin: str = "",
    end: str = "",
    *,
    longest: int = MAX_LENGTH,
) -> float:
    """Factor of the time when the text doubles; 0 if no text takes long.

    Args:
        function: Called with the text.
        unit: The repeated part of the text.
        begin: Its beginning.
        end: Its end.
        longest: Maximum length of the text.
    """

    def taken(length: int) -> float:
        text = begin + unit * (length // len(unit) + 1) + end
        started = thread_time()
        function(text)
        return thread_time() - started

    length = MIN_LENGTH
    while taken(length) < MIN_SECONDS:
        if length >= longest:
            return 0.0
        # Doubling at first, because of exponential growth; later it would only cost time.
        length = min(longest, length * (2 if length < DOUBLED_TO else 8))
    # Other processes make a measurement longer, never shorter.
    ratios = []
    for _ in range(5):
        long = min(taken(length) for _ in range(2))
        ratios.append(long / min(taken(length // 2) for _ in range(2)))
        if ratios[-1] < MAX_RATIO:
            break
    return min(ratios)


def attacks(pattern: str | bytes, flags: int = 0) -> list[tuple[str, str]]:
    """Beginnings and units of texts that may cause backtracking.

    The repeated parts of a pattern, after what precedes them; and its beginnings, from each of
    which it may search to the end.
    """
    parsed = parser.parse(pattern, flags)
    return list(dict.fromkeys(attack for attack in _walk(parsed, "") if attack[1]))


def _walk(sequence: Any, before: str) -> Iterator[tuple[str, str]]:
    for code, value in sequence:
        for inner in _inside(code, value):
            yield from _walk(inner, before)
        if code in _REPEATS and value[1] > 1:
            yield from ((before, text) for text in _texts(value[2]))
            yield from (("", before + text) for text in _texts(value[2]))
        before += _choices(code, value)[0]
        yield "", before


def _inside(code: Any, value: Any) -> list[Any]:
    if code in _REPEATS:
        return [value[2]]
    if code is sre.SUBPATTERN:
        return [value[-1]]
    if code is sre.BRANCH:
        return list(value[1])
    return [value] if code is sre.ATOMIC_GROUP else []


def _texts(sequence: Any) -> list[str]:
    """Some texts that match all elements of a sequence."""
    ways = [_choices(code, value) for code, value in sequence]
    return ["".join(parts) for parts in islice(product(*ways), _VARIANTS)]


def _choices(code: Any, value: Any) -> list[str]:
    """Some texts that match an element; an empty one for zero-width elements."""
    if code in _REPEATS:
        texts = [text * max(1, value[0]) for text in _texts(value[2])]
        return texts if value[0] else [*texts, ""]
    if code is sre.BRANCH:
        return [text for branch in value[1] for text in _texts(branch)[:1]]
    if code in {sre.SUBPATTERN, sre.ATOMIC_GROUP}:
        return _texts(_inside(code, value)[0])
    if code is sre.LITERAL:
        return [chr(value)]
    if code is sre.NOT_LITERAL:
        value = [(sre.NEGATE, None), (sre.LITERAL, value)]
    elif code is sre.ANY:
        value = [(sre.CATEGORY, sre.CATEGORY_WORD), (sre.CATEGORY, sre.CATEGORY_SPACE)]
    elif code is not sre.IN:
        return [""]
    return _characters(value)


def _characters(members: Any) -> list[str]:
    """Some characters of a class."""
    negated = members[0][0] is sre.NEGATE
    named = [
        chr(value if code is sre.LITERAL else value[0])
        for code, value in members
        if code in {sre.LITERAL, sre.RANGE}
    ]

    def holds(character: str) -> bool:
        return any(
            (code is sre.LITERAL and value == ord(character))
            or (code is sre.RANGE and value[0] <= ord(character) <= value[1])
            or (code is sre.CATEGORY and re.match(_CATEGORIES[value], character) is not None)
            for code, value in members
        )

    return [character for character in (*_CHARACTERS, *named) if holds(character) != negated][
        :_VARIANTS
    ]
