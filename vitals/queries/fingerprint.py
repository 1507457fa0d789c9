"""A statement without its literals: what all calls of one query have in common.

The key of the cache is the statement's own string. SQLAlchemy hands out the same object for every
execution of a compiled statement, whatever the length of an IN list, so that a look-up costs a
hash that Python has already kept (0.1 µs) and the text is read once.
"""

import hashlib
import re
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

from vitals.catalogue import OTHER

SLOTS = 200
"""Fingerprints that get a label value of their own. They stay with the first comers: a label that
changes hands would mix two statements in one series."""

KEPT = 1_000
"""Statement strings remembered: 16 MB at most, when each is as long as can be."""

LONGEST = 8_192
"""Characters of a statement that are read: what differs only further on counts as the same."""

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<string>  [Ee]'(?:[^'\\]|''|\\.)*(?:'|\Z)      # only here a backslash escapes
                 | [BbXxNn]?'(?:[^']|'')*(?:'|\Z) | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<quoted>  "(?:[^"]|"")*" | `[^`]*` )
    | (?P<bind>    \$\d+(?:::[\w.\[\]]+(?:\s+(?:VARYING|PRECISION|WITH(?:OUT)?\s+TIME\s+ZONE))?)?
                 | __\[POSTCOMPILE_[^\]]*\] | %\(\w+\)s | %s | \? | (?<!:):[A-Za-z_]\w* )
    | (?P<number>  (?<![\w.])(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?) )
    | (?P<space>   \s+ )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
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


def normalise(sql: str) -> str:
    """The statement with literals and binds as ``?``, lists as one, and single spaces."""
    text = _TOKEN.sub(_replace, sql).strip()
    text = _SIGN.sub(r"\1", text)
    text = _LIST.sub("(?)", text)
    return _ROWS.sub("(?)", text)


def _replace(match: re.Match[str]) -> str:
    match match.lastgroup:
        case "comment" | "space":
            return " "
        case "quoted":
            return match[0]
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
        self._statements: OrderedDict[str, Statement] = OrderedDict()
        self._lock = Lock()

    def of(self, sql: str) -> Statement:
        """The statement that a string is an instance of."""
        if len(sql) > LONGEST:
            sql = sql[:LONGEST]
        statement = self._statements.get(sql)
        return self._read(sql) if statement is None else statement

    def _read(self, sql: str) -> Statement:
        text = re.sub(r" {2,}", " ", normalise(sql))
        keyword = _OPERATIONS.match(text)
        operation = keyword[1].upper() if keyword else OTHER
        fingerprint = hashlib.blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()
        with self._lock:
            if fingerprint not in self._taken and len(self._taken) >= self._slots:
                statement = Statement(operation, OTHER, OTHER, text)
            else:
                self._taken.add(fingerprint)
                statement = Statement(operation, _summary(operation, text), fingerprint, text)
            self._statements[sql] = statement
            while len(self._statements) > self._kept:
                self._statements.popitem(last=False)
        return statement


def _summary(operation: str, text: str) -> str:
    tables = dict.fromkeys(name.replace('"', "") for name in _TABLE.findall(text))
    return " ".join([operation, *list(tables)[:_SUMMARY_TABLES]])
