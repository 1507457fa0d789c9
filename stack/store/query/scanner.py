"""A scanner: reads the words of a query, and says where it does not understand it."""

import re
from collections.abc import Callable

import re2

MAX_QUERY = 8_000
"""Characters of a query."""
_SPACE = re.compile(r"(?:\s+|#[^\n]*)*")
_QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"|`[^`]*`')
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_DURATION = re.compile(r"-?(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d|w|y))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([a-zµ]+)")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOUR = 3_600 * 10**9
NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": _HOUR,
    "d": 24 * _HOUR,
    "w": 7 * 24 * _HOUR,
    "y": 365 * 24 * _HOUR,
}


class QueryError(ValueError):
    """A query that is not understood; the message says where, and what is."""


class Scanner:
    """Reads a query from left to right.

    Args:
        text: The query.
        language: Its name, for messages.

    Raises:
        QueryError: It is too long.
    """

    def __init__(self, text: str, language: str) -> None:
        if len(text) > MAX_QUERY:
            raise QueryError(f"{language}: at most {MAX_QUERY} characters")
        self.text, self.language, self.at = text, language, 0
        self._skip()

    @property
    def ended(self) -> bool:
        """Whether all is read."""
        return self.at >= len(self.text)

    def fail(self, message: str) -> QueryError:
        """The error of a query that is not understood here."""
        rest = self.text[self.at : self.at + 20] or "the end"
        return QueryError(f"{self.language}: {message}, at position {self.at}: {rest}")

    def accept(self, *symbols: str) -> str:
        """The first of these symbols that is next, read; or nothing."""
        for symbol in symbols:
            if self.text.startswith(symbol, self.at):
                self.at += len(symbol)
                self._skip()
                return symbol
        return ""

    def expect(self, symbol: str) -> None:
        """Read a symbol.

        Raises:
            QueryError: Something else is next.
        """
        if not self.accept(symbol):
            raise self.fail(f"expected {symbol}")

    def match(self, pattern: re.Pattern[str]) -> str:
        """What a pattern matches here, read; or nothing."""
        found = pattern.match(self.text, self.at)
        if not found or not found.group():
            return ""
        self.at = found.end()
        self._skip()
        return found.group()

    def word(self) -> str:
        """The next word, read; or nothing."""
        return self.match(_WORD)

    def keyword(self, *words: str) -> str:
        """The next word if it is one of these, read; or nothing."""
        before = self.at
        word = self.word()
        if word in words:
            return word
        self.at = before
        return ""

    def string(self) -> str | None:
        """The next quoted string, read; or `None`."""
        text = self.match(_QUOTED)
        if not text:
            return None
        return text[1:-1] if text[0] == "`" else _ESCAPE.sub(_unescape, text[1:-1])

    def duration(self) -> int | None:
        """The next duration in nanoseconds, read; or `None`."""
        text = self.match(_DURATION)
        return parse_duration(text) if text else None

    def number(self) -> float | None:
        """The next number, read; or `None`."""
        text = self.match(_NUMBER)
        return (float(text) if set(text) & set(".eE") else int(text)) if text else None

    def _skip(self) -> None:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at


def parse_duration(text: str) -> int | None:
    """Nanoseconds of a text such as `1h30m` or `250ms`; `None` if it is none."""
    if not _DURATION.fullmatch(text):
        return None
    total = sum(float(number) * NANOSECONDS[unit] for number, unit in _PART.findall(text))
    return int(-total if text.startswith("-") else total)


def compile_regex(pattern: str, language: str) -> Callable[[str], bool]:
    """Whether a whole text matches a pattern, in time that grows with the text only.

    Raises:
        QueryError: The pattern is not valid.
    """
    try:
        compiled = re2.compile(f"^(?s:{pattern})$")
    except re2.error as error:
        raise QueryError(f"{language}: the regular expression {pattern!r} is not valid") from error
    return lambda text: compiled.search(text) is not None


def check_regex(pattern: str, language: str) -> str:
    """The same pattern.

    Raises:
        QueryError: It is not valid.
    """
    compile_regex(pattern, language)
    return pattern


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] in "xuU" and len(code) > 1:
        return chr(min(int(code[1:], 16), 0x10FFFF))
    if code.isdecimal():
        return chr(int(code, 8)) if set(code) <= set("01234567") else code
    return _NAMED.get(code, code)
