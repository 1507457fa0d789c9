"""Redacts values in the texts of log messages and exceptions.

Such texts quote values in a few forms: those of Python, pydantic, SQLAlchemy and the databases.
RE2 matches them, in time linear in the length of the text.
"""

import re
import string
from collections.abc import Sequence
from typing import Any

import re2

from vitals.db.statements.fingerprint import normalise
from vitals.redaction.bodies import Redaction
from vitals.redaction.secret_patterns import contain_no_secrets, redact_random_words
from vitals.redaction.sensitive_fields import MASK

MAX_TEXT_LENGTH = 16_384
"""Most characters of a text that are kept: a message may quote an entire request."""

_SQL, _PARAMETERS, _HELP = "[SQL: ", "[parameters: ", "\n(Background on this error"
_IDENTIFIER = re.compile(
    r"/?[A-Za-z_]++(?:[./_-]{1,2}(?:[A-Za-z_]++|\d{1,3}(?!\d)))*+|\d{1,3}(?:\.\d{1,3}){3}"
)
_SINGLE_TOKEN = re.compile(r"(?=\S*[^\W\d])(?=\S*\d)\S++")
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


_DETAIL_SECTIONS = r"DETAIL|CONTEXT|QUERY|STATEMENT|WHERE|LINE \d+"
_QUOTING_WORDS = (
    "invalid|malformed|out of range|unrecogni[sz]ed|incorrect|badly|illegal|unexpected|unknown|"
    "unsupported|convert|unterminated|duplicate entry|time data|parse|near"
)
"""Words after which a text quotes its input."""

_QUOTING_FORMS = tuple(
    (_compile(pattern), replacement)
    for pattern, replacement in (
        # pydantic: [type=int_parsing, input_value='x', input_type=str]; FastAPI: 'input': 'x'}
        (r"input_value=.*, input_type=", f"input_value={MASK}, input_type="),
        (r"(['\"](?:input|ctx)['\"]: ).*", rf"\1{MASK}"),
        # PostgreSQL in any language: Key (email)=(x) already exists.
        (r"(?s)(\([^()]*\)=\().*\)", rf"\1{MASK})"),
        (rf"(?s)((?:\n\s*(?:{_DETAIL_SECTIONS}) ?:|failing row contains)\s).*", rf"\1{MASK}"),
        # invalid input syntax for type integer: "x"; could not convert string to float: 'x'
        (rf"(?is)(\b(?:{_QUOTING_WORDS})\b[^'\"\n]{{0,80}})['\"].*", rf"\1{MASK}"),
        (r"(?s)(for query argument \$\d+: |no such column: ).*", rf"\1{MASK}"),
        # The query string of a URL.
        (r"([\w/.-])\?[^\s'\"<>=&]+=[^\s'\"<>]*", rf"\1?{MASK}"),
    )
)
_PLAIN = frozenset(" .,:-_/()%" + string.ascii_letters + string.digits)
_PLAIN_LINES = _PLAIN | {"\n"}
_VALUES = re.compile(r"\[[\w .]++\](?= )|Row(?= )")
_QUOTED = _compile(r"(?s)\B'(?:[^'\\]|\\.)*'\B|\B\"(?:[^\"\\]|\\.)*\"\B")


class MessageRedactor:
    """Redacts values in texts.

    Args:
        redaction: What is redacted.
    """

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction

    def log_message(self, text: str) -> str:
        """Redact a log message."""
        text = _truncate(text)
        statement = ""
        if not _PLAIN.issuperset(text):
            text, statement = _split_statement(text)
            text = _redact_forms(text)
        return redact_random_words(self._redaction.prose(text)) + statement

    def are_ordinary(self, texts: Sequence[str]) -> bool:
        """Whether messages without any sign that assigns or quotes certainly state no secrets.

        Checking all of them together costs as much as checking two.
        """
        if not contain_no_secrets(texts):
            return False
        joined = "\n".join(texts)
        return (
            _PLAIN_LINES.issuperset(joined)
            and not self._redaction.names.precedes_value(joined)
            and redact_random_words(joined) == joined
        )

    def statement(self, text: str) -> str:
        """Redact what database libraries log: statements, parameters and rows."""
        values = _VALUES.match(text)
        return f"{values[0]} {MASK}" if values else redact_random_words(normalise(_truncate(text)))

    def error(self, text: str) -> str:
        """Redact an exception's text: secrets, quoted values and parameters."""
        message, statement = _split_statement(_truncate(text))
        if _SINGLE_TOKEN.fullmatch(message):  # letters and digits without spaces: a value
            return MASK
        message = _QUOTED.sub(_mask_quoted, _redact_forms(message))
        return redact_random_words(self._redaction.prose(message)) + statement

    def traceback(self, text: str) -> str:
        """Redact a formatted traceback: source lines and each exception's text."""
        redacted: list[str] = []
        message: list[str] = []
        frame = False
        for line in _truncate(text, 4 * MAX_TEXT_LENGTH).split("\n"):
            # A source line follows its frame.
            source = frame and _SOURCE.match(line) is not None
            frame = _FRAME.match(line) is not None or (source and line.strip(" |~^") == "")
            if frame or source or _GROUP_LINE.match(line) or line.strip(" |").startswith(_TITLES):
                self._flush_message(message, redacted)
                redacted.append(self._redact_source(line) if source else line)
                frame = frame or source
            else:
                message.append(line)
        self._flush_message(message, redacted)
        return "\n".join(redacted)

    def _redact_source(self, line: str) -> str:
        return redact_random_words(self._redaction.prose(line))

    def _flush_message(self, message: list[str], redacted: list[str]) -> None:
        """Redact the collected lines of one message: the exception's name and text."""
        if message:
            name, colon, rest = "\n".join(message).partition(": ")
            if colon and " " not in name.strip(" |\n"):
                redacted.append(f"{redact_random_words(name)}: {self.error(rest)}")
            else:
                redacted.append(self.error("\n".join(message)))
            message.clear()


def _truncate(text: str, longest: int = MAX_TEXT_LENGTH) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


def _split_statement(text: str) -> tuple[str, str]:
    """Split SQLAlchemy's message from its statement, normalised and without parameters."""
    message, found, sql = text.partition(_SQL)
    if not found:
        message, found, _ = text.partition(_PARAMETERS)
        return message, f"{_PARAMETERS}{MASK}]" if found else ""
    sql, parameters, _ = sql.partition(_PARAMETERS)
    if not parameters:
        sql = sql.rpartition(_HELP)[0] or sql
    statement = f"{_SQL}{redact_random_words(normalise(sql.strip().removesuffix(']')))}]"
    return message, f"{statement}\n{_PARAMETERS}{MASK}]" if parameters else statement


def _redact_forms(text: str) -> str:
    for pattern, replacement in _QUOTING_FORMS:
        text = pattern.sub(replacement, text)
    return text


def _mask_quoted(match: Any) -> str:
    quoted: str = match[0]
    # An identifier is not a value: "no attribute 'price'", 'relation "orders" does not exist'.
    return (
        quoted
        if _IDENTIFIER.fullmatch(quoted, 1, len(quoted) - 1)
        else quoted[0] + MASK + quoted[0]
    )
