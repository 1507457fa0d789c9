"""Literals of patterns: the text that each match contains, where that is plain to see."""

import re

_SPECIAL = re.compile(r"(?<!\\)(?:\\\\)*[.+*?()|\[\]{}^$]|\\\w")
"""What makes a pattern more than a text; a letter after a backslash is a class or the like."""
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_ANYTHING = ".*"


def literal_of(pattern: str) -> str:
    """The text that every match of a pattern contains, in whichever case; or nothing.

    Searches are such patterns: `(?i)word`, `.*word.*`, `GET .*`.
    """
    text = pattern.removeprefix("(?i)").removeprefix(_ANYTHING)
    if text.endswith(_ANYTHING) and not text.endswith(f"\\{_ANYTHING}"):
        text = text.removesuffix(_ANYTHING)
    return "" if _SPECIAL.search(text) else _ESCAPED.sub(r"\1", text)
