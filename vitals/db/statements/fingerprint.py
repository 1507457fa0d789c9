"""A statement without its literals: what all calls of one query have in common.

The key of the cache is the statement's own string. SQLAlchemy hands out the same object for every
execution of a compiled statement, whatever the length of an IN list, so that a look-up costs a
hash that Python has already kept (0.1 µs) and the text is read once.
"""

import hashlib
import re
from collections import OrderedDict
from threading import RLock
from typing import NamedTuple

from vitals.metrics.catalogue import OTHER
from vitals.redaction.secret_patterns import redact_random_words

SLOTS = 200
"""Fingerprints that get a label value of their own. They stay with the first comers: a label that
changes hands would mix two statements in one series."""

KEPT = 1_000
"""Statement strings remembered: 16 MB at most, when each is as long as can be."""

LONGEST = 8_192
"""Characters of a statement that are read: what differs only further on counts as the same."""


def _comment(nested: int) -> str:
    """A block comment; PostgreSQL's may hold others. One that does not end goes to the end.

    So does one that holds more than so many within each other: nobody counts them all.
    """
    inner = _comment(nested - 1) if nested else r"/\*.*\Z"
    return rf"/\*(?:[^*/]|\*(?!/)|/(?!\*)|{inner})*+(?:\*/|\Z)"


_FLAT_COMMENT = r"/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)"


# Every literal also ends with the text, for it may have been cut.
_STRING = r"""
      (?<!\w)E'(?:[^'\\]|''|\\.)*+\\?(?:'|\Z)      # only here a backslash escapes
    | '(?:[^']|'')*+(?:'|\Z)
    | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
"""
_STRING_OF_MYSQL = r"""
      '(?:[^'\\]|''|\\.)*+\\?(?:'|\Z)
    | "(?:[^"\\]|""|\\.)*+\\?(?:"|\Z)
"""


# SQLite takes a name in quotes that no column has for a string.
_DOUBTFUL = r"""
    | (?P<compared> (?:[=<>|]|\b(?:LIKE|GLOB|IS|NOT))\s*"(?:[^"]|"")*+(?:"(?!\s*[.(])|\Z) )
    | (?P<listed>   \b(?:IN|VALUES)\s*\((?:\s*(?:"(?:[^"]|"")*+(?:"|\Z)|'(?:[^']|'')*+(?:'|\Z)
                    |[\d.]+|\?|%s)\s*(?:,|(?=\))|\Z))++\s*(?:\)|\Z) )
"""


def _tokens(comment: str, string: str, doubtful: str = "") -> re.Pattern[str]:
    return re.compile(
        rf"""
          (?P<comment> --[^\n]*+ | {comment} )
        | (?P<string>  (?:(?<!\w)[BXN])?(?:{string}) )
        {doubtful}
        | (?P<quoted>  "(?:[^"]|"")*+(?:"|\Z) | `[^`]*+(?:`|\Z) )
        | (?P<bind>    \$\d+(?:::[\w.\[\]]+
                         (?:\s+(?:VARYING|PRECISION|WITH(?:OUT)?\s+TIME\s+ZONE))?)?
                     | __\[POSTCOMPILE_[^\[\]]*+\] | %\(\w+\)s | %s | \? | (?<!:):[A-Za-z_]\w* )
        | (?P<number>  (?<![\w.])(?:0X[0-9A-F_]+|0[OB][0-7_]+
                     | (?:\d[\d_]*+(?:\.[\d_]*)?|\.\d[\d_]*)(?:E[+-]?\d+)?) )
        | (?P<space>   \s+ )
        """,
        re.VERBOSE | re.DOTALL | re.IGNORECASE,
    )


_TOKEN = _tokens(_comment(nested=3), _STRING, _DOUBTFUL)
_TOKENS = {
    "mysql": _tokens(rf"\#[^\n]*+ | {_FLAT_COMMENT}", _STRING_OF_MYSQL),
}
_TOKENS["mariadb"] = _TOKENS["mysql"]
_LIST = re.compile(r"\(\s*\?(?:\s*,\s*\?)*\s*\)")
_ROWS = re.compile(r"\(\?\)(?:\s*,\s*\(\?\))+")
_SIGN = re.compile(r"(?<=[(,=<>+\-*/])(\s*)[+-]\s?(?=\?)")
_TABLE = re.compile(
    r'\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+(?:ONLY\s+)?((?:"?\w+"?\.)?"?\w+"?)', re.IGNORECASE
)
_SUMMARY_TABLES = 3
_OPERATIONS = re.compile(
    r"\(*\s*(SELECT|INSERT|UPDATE|DELETE|MERGE|WITH|VALUES|CALL|COPY|EXPLAIN|ANALYZE|VACUUM|CREATE"
    r"|ALTER|DROP|TRUNCATE|GRANT|REVOKE|BEGIN|START|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET|SHOW"
    r"|RESET|LOCK|LISTEN|NOTIFY|PRAGMA|REFRESH|REINDEX)\b",
    re.IGNORECASE,
)


class Statement(NamedTuple):
    """A statement as telemetry knows it.

    Attributes:
        operation: Its first keyword, such as ``SELECT``.
        summary: The operation and the tables, such as ``SELECT products``.
        fingerprint: 16 hex digits, or ``__other__`` when all slots are taken.
        text: The normalised statement.
    """

    operation: str
    summary: str
    fingerprint: str
    text: str


def normalise(sql: str, system: str = "") -> str:
    """The statement with literals and binds as ``?``, lists as one, and single spaces.

    Args:
        sql: What was sent.
        system: SQLAlchemy's name of the database; strings look different on MySQL.
    """
    text = _TOKENS.get(system, _TOKEN).sub(_replace, sql).strip()
    text = _SIGN.sub(r"\1", text)
    text = _LIST.sub("(?)", text)
    return _ROWS.sub("(?)", text)


def _replace(match: re.Match[str]) -> str:
    match match.lastgroup:
        case "comment" | "space":
            return " "
        case "quoted":
            return match[0]
        case "compared":
            return match[0].partition('"')[0] + "?"
        case "listed":
            return match[0].partition("(")[0] + "(?)"
        case _:
            return "?"


class Fingerprints:
    """Statements by their text, in bounded memory; safe to share between threads.

    Args:
        slots: How many fingerprints may become label values.
        kept: How many statement strings are remembered.
    """

    def __init__(self, slots: int = SLOTS, kept: int = KEPT) -> None:
        self._slots = slots
        self._kept = kept
        self._taken: set[str] = set()
        self._statements: OrderedDict[tuple[str, str], Statement] = OrderedDict()
        self._lock = RLock()  # the garbage collector may send a statement meanwhile

    def of(self, sql: str, system: str = "") -> Statement:
        """The statement that a string is an instance of.

        Args:
            sql: What was sent.
            system: SQLAlchemy's name of the database.
        """
        if len(sql) > LONGEST:
            sql = sql[:LONGEST]
        statement = self._statements.get((sql, system))
        return self._read(sql, system) if statement is None else statement

    def _read(self, sql: str, system: str) -> Statement:
        # A name may have been made of input, too.
        text = redact_random_words(re.sub(r" {2,}", " ", normalise(sql, system)))
        keyword = _OPERATIONS.match(text)
        operation = keyword[1].upper() if keyword else OTHER
        fingerprint = hashlib.blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()
        with self._lock:
            if fingerprint not in self._taken and len(self._taken) >= self._slots:
                statement = Statement(operation, OTHER, OTHER, text)
            else:
                self._taken.add(fingerprint)
                statement = Statement(operation, _summary(operation, text), fingerprint, text)
            self._statements[sql, system] = statement
            while len(self._statements) > self._kept:
                self._statements.popitem(last=False)
        return statement


def _summary(operation: str, text: str) -> str:
    tables = dict.fromkeys(name.replace('"', "") for name in _TABLE.findall(text))
    return " ".join([operation, *list(tables)[:_SUMMARY_TABLES]])
