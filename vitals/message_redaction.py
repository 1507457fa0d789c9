"""Texts of log messages and exceptions without the values in them.

Such a text is written for people: what quotes a value has few forms, those of Python, pydantic,
SQLAlchemy and the databases. RE2 matches them, in a time that grows with the text alone.
"""

import re
import string
from typing import Any

import re2

from vitals.db.statements.fingerprint import normalise
from vitals.redaction.bodies import Redaction
from vitals.redaction.secret_patterns import without_random
from vitals.redaction.sensitive_fields import MASK

LONGEST = 16_384
"""Characters of a text that are told: a message may quote a whole request."""

_SQL, _PARAMETERS, _HELP = "[SQL: ", "[parameters: ", "\n(Background on this error"
_IDENTIFIER = re.compile(
    r"/?[A-Za-z_]++(?:[./_-]{1,2}(?:[A-Za-z_]++|\d{1,3}(?!\d)))*+|\d{1,3}(?:\.\d{1,3}){3}"
)
_ONE_WORD = re.compile(r"(?=\S*[^\W\d])(?=\S*\d)\S++")
_FRAME = re.compile(r'[ |]*File "[^"\n]*", line \d+')
_SOURCE = re.compile(r"[ |]* {4}")
_GROUP_LINE = re.compile(r"[ |]*\+[-+ ]")
_TITLES = (
    "Traceback (most recent call last):",
    "Exception Group Traceback (most recent call last):",
    "The above exception was the direct cause",
    "During handling of the above exception",
    "[Previous line repeated",
)


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 25
    return re2.compile(pattern, options)


_SECTIONS = r"DETAIL|CONTEXT|QUERY|STATEMENT|WHERE|LINE \d+"
_REFUSING = (
    "invalid|malformed|out of range|unrecogni[sz]ed|incorrect|badly|illegal|unexpected|unknown|"
    "unsupported|convert|unterminated|duplicate entry|time data|parse|near"
)
"""Words after which a text quotes what it was given."""

_FORMS = tuple(
    (_compile(pattern), shown)
    for pattern, shown in (
        # pydantic: [type=int_parsing, input_value='x', input_type=str]; FastAPI: 'input': 'x'}
        (r"input_value=.*, input_type=", f"input_value={MASK}, input_type="),
        (r"(['\"](?:input|ctx)['\"]: ).*", rf"\1{MASK}"),
        # PostgreSQL in any language: Key (email)=(x) already exists.
        (r"(?s)(\([^()]*\)=\().*\)", rf"\1{MASK})"),
        (rf"(?s)((?:\n\s*(?:{_SECTIONS}) ?:|failing row contains)\s).*", rf"\1{MASK}"),
        # invalid input syntax for type integer: "x"; could not convert string to float: 'x'
        (rf"(?is)(\b(?:{_REFUSING})\b[^'\"\n]{{0,80}})['\"].*", rf"\1{MASK}"),
        (r"(?s)(for query argument \$\d+: |no such column: ).*", rf"\1{MASK}"),
        # The query string of an address.
        (r"([\w/.-])\?[^\s'\"<>=&]+=[^\s'\"<>]*", rf"\1?{MASK}"),
    )
)
_PLAIN = frozenset(" .,:-_/()%" + string.ascii_letters + string.digits)
_VALUES = re.compile(r"\[[\w .]++\](?= )|Row(?= )")
_QUOTED = _compile(r"(?s)\B'(?:[^'\\]|\\.)*'\B|\B\"(?:[^\"\\]|\\.)*\"\B")


class Messages:
    """Takes values out of texts.

    Args:
        redaction: What is a secret.
    """

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction

    def logged(self, text: str) -> str:
        """A log message."""
        text = _bounded(text)
        statement = ""
        if not _PLAIN.issuperset(text):
            text, statement = _apart(text)
            text = _without_forms(text)
        return without_random(self._redaction.told(text)) + statement

    def statement(self, text: str) -> str:
        """What a database's library logs of statements, their values and rows."""
        values = _VALUES.match(text)
        return f"{values[0]} {MASK}" if values else without_random(normalise(_bounded(text)))

    def error(self, text: str) -> str:
        """What an exception says: beside secrets no value that is quoted, and no parameters."""
        said, statement = _apart(_bounded(text))
        if _ONE_WORD.fullmatch(said):  # with letters and digits: no sentence
            return MASK
        said = _QUOTED.sub(_mask_quoted, _without_forms(said))
        return without_random(self._redaction.told(said)) + statement

    def traceback(self, text: str) -> str:
        """A traceback as Python formats it: where, and what each exception says."""
        told: list[str] = []
        said: list[str] = []
        frame = False
        for line in _bounded(text, 4 * LONGEST).split("\n"):
            # A line of source follows its frame.
            source = frame and _SOURCE.match(line) is not None
            frame = _FRAME.match(line) is not None or (source and line.strip(" |~^") == "")
            if frame or source or _GROUP_LINE.match(line) or line.strip(" |").startswith(_TITLES):
                self._end(said, told)
                told.append(without_random(self._redaction.told(line)) if source else line)
                frame = frame or source
            else:
                said.append(line)
        self._end(said, told)
        return "\n".join(told)

    def _end(self, said: list[str], told: list[str]) -> None:
        """Tell of the lines of one message: the exception's name and what it says."""
        if said:
            name, colon, rest = "\n".join(said).partition(": ")
            if colon and " " not in name.strip(" |\n"):
                told.append(f"{without_random(name)}: {self.error(rest)}")
            else:
                told.append(self.error("\n".join(said)))
            said.clear()


def _bounded(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def _apart(text: str) -> tuple[str, str]:
    """What SQLAlchemy says, and its statement as telemetry knows it, without the parameters."""
    said, found, sql = text.partition(_SQL)
    if not found:
        said, found, _ = text.partition(_PARAMETERS)
        return said, f"{_PARAMETERS}{MASK}]" if found else ""
    sql, parameters, _ = sql.partition(_PARAMETERS)
    if not parameters:
        sql = sql.rpartition(_HELP)[0] or sql
    statement = f"{_SQL}{without_random(normalise(sql.strip().removesuffix(']')))}]"
    return said, f"{statement}\n{_PARAMETERS}{MASK}]" if parameters else statement


def _without_forms(text: str) -> str:
    for pattern, shown in _FORMS:
        text = pattern.sub(shown, text)
    return text


def _mask_quoted(match: Any) -> str:
    quoted: str = match[0]
    # A name, as in "no attribute 'price'" or 'relation "orders" does not exist', tells no value.
    return (
        quoted
        if _IDENTIFIER.fullmatch(quoted, 1, len(quoted) - 1)
        else quoted[0] + MASK + quoted[0]
    )
