"""Terms: short hashes of attributes, by which the index finds candidates.

Two attributes may share a term. A lookup compares the attribute itself afterwards.
"""

from functools import lru_cache
from zlib import crc32

Value = str | int | float | bool


@lru_cache(maxsize=20_000, typed=True)
def term(scope: str, name: str, value: Value) -> str:
    """The term of an attribute. A whole number has one term, whatever its type."""
    text = "\0".join((scope, name, text_of(value)))
    return f"{crc32(text.encode('utf-8', 'replace')):08x}"


def text_of(value: Value) -> str:
    """A value as it is shown: `true`, `200`, `0.5`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


@lru_cache(maxsize=2_000)
def grams(text: str) -> frozenset[str]:
    """The terms of all triples of letters of a text, whatever their case."""
    found = trigrams(text.casefold())
    return frozenset(f"g{each.encode('utf-8', 'replace').hex()}" for each in found)


def trigrams(text: str) -> list[str]:
    """All triples of letters of a text, each once; none of a text that is shorter."""
    return list(dict.fromkeys(text[at : at + 3] for at in range(len(text) - 2)))
