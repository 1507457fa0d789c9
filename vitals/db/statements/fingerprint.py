"""Fingerprints: statements normalised to what all calls of one query have in common.

The cache key is the statement's own string. SQLAlchemy returns the same object for every execution
of a compiled statement, whatever the length of an IN list, so a lookup costs a hash that Python has
already cached (0.1 µs) and each text is parsed once.
"""

import hashlib
import re
from collections import OrderedDict
from threading import RLock
from typing import NamedTuple

from vitals.metrics.catalogue import OTHER
from vitals.redaction.secret_patterns import redact_random_words

MAX_FINGERPRINTS = 200
"""Fingerprints with a label value of their own, first come first served: reassigning a label value
would mix two statements in one series."""

CACHE_SIZE = 1_000
"""Cached statement strings: 16 MB at most, when each has the maximum length."""

MAX_LENGTH = 8_192
"""Characters of a statement that are parsed: a difference beyond them is ignored."""


def _comment(nested: int) -> str:
    """A block comment; in PostgreSQL they nest. An unterminated one extends to the end of the text.

    So does one that is nested deeper than this limit.
    """
    inner = _comment(nested - 1) if nested else r"/\*.*\Z"
    return rf"/\*(?:[^*/]|\*(?!/)|/(?!\*)|{inner})*+(?:\*/|\Z)"


_FLAT_COMMENT = r"/\*(?:[^*]|\*(?!/))*+(?:\*/|\Z)"


# Every literal may also end with the text, which may have been truncated.
_STRING = r"""
      (?<!\w)E'(?:[^'\\]|''|\\.)*+\\?(?:'|\Z)      # only in E'' a backslash escapes
    | '(?:[^']|'')*+(?:'|\Z)
    | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
"""
_MYSQL_STRING = r"""
      '(?:[^'\\]|''|\\.)*+\\?(?:'|\Z)
    | "(?:[^"\\]|""|\\.)*+\\?(?:"|\Z)
"""


# SQLite treats a quoted name that matches no column as a string.
_SQLITE_STRING = r"""
    | (?P<compared> (?:[=<>|]|\b(?:LIKE|GLOB|IS|NOT))\s*"(?:[^"]|"")*+(?:"(?!\s*[.(])|\Z) )
    | (?P<listed>   \b(?:IN|VALUES)\s*\((?:\s*(?:"(?:[^"]|"")*+(?:"|\Z)|'(?:[^']|'')*+(?:'|\Z)
                    |[\d.]+|\?|%s)\s*(?:,|(?=\))|\Z))++\s*(?:\)|\Z) )
"""


def _tokens(comment: str, string: str, sqlite_string: str = "") -> re.Pattern[str]:
    return re.compile(
        rf"""
          (?P<comment> --[^\n]*+ | {comment} )
        | (?P<string>  (?:(?<!\w)[BXN])?(?:{string}) )
        {sqlite_string}
        | (?P<quoted>  "(?:[^"]|"")*+(?:"|\Z) | `[^`]*+(?:`|\Z) )
        | (?P<bind>    \$\d+(?:::[\w.\[\]]+
                         (?:\s+(?:VARYING|PRECISION|WITH(?:OUT)?\s+TIME\s+ZONE))?)?
                     | __\[POSTCOMPILE_[^\[\]]*+\] | %\(\w+\)s | %s | \? | (?<!:):[A-Za-z_]\w* )
        | (?P<number>  (?<![\w.])(?:0X[0-9A-F_]+|0[OB][0-7_]+
                     | (?:\d[\d_]*+(?:\.[\d_]*)?|\.\d[\d_]*)(?:E[+-]?\d+)?) )
        | (?P<schema>  __\[SCHEMA_[^\[\]]*+\]\.? )
        | (?P<space>   \s+ )
        """,
        re.VERBOSE | re.DOTALL | re.IGNORECASE,
    )


_TOKEN = _tokens(_comment(nested=3), _STRING, _SQLITE_STRING)
_TOKENS = {
    "mysql": _tokens(rf"\#[^\n]*+ | {_FLAT_COMMENT}", _MYSQL_STRING),
}
_TOKENS["mariadb"] = _TOKENS["mysql"]
_SCHEMA = "__[SCHEMA_"
_LITERALS = frozenset(("string", "compared", "listed", "number"))
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
    """A normalised statement, as metrics, logs and spans show it.

    Attributes:
        operation: Its first keyword, such as ``SELECT``.
        summary: The operation and the tables, such as ``SELECT products``.
        fingerprint: 16 hex digits, or ``__other__`` beyond the limit.
        text: The normalised statement.
    """

    operation: str
    summary: str
    fingerprint: str
    text: str


def normalise(sql: str, system: str = "") -> str:
    """Replace literals and binds by ``?``, collapse lists into one and white space into one space.

    Args:
        sql: The statement that was sent.
        system: SQLAlchemy's name of the database; MySQL quotes strings differently.
    """
    text = _TOKENS.get(system, _TOKEN).sub(_replace, sql).strip()
    text = _SIGN.sub(r"\1", text)
    text = _LIST.sub("(?)", text)
    return _ROWS.sub("(?)", text)


def literals(sql: str, system: str = "") -> tuple[str, ...]:
    """The literals of a statement, in their order.

    Args:
        sql: The statement that was sent.
        system: SQLAlchemy's name of the database.
    """
    return tuple(
        match[0]
        for match in _TOKENS.get(system, _TOKEN).finditer(sql)
        if match.lastgroup in _LITERALS
    )


def _replace(match: re.Match[str]) -> str:
    match match.lastgroup:
        case "comment" | "space":
            return " "
        case "quoted":
            return match[0]
        case "schema":  # SQLAlchemy's placeholder for one of schema_translate_map
            return match[0].removeprefix(_SCHEMA).removeprefix("_none].").replace("]", "")
        case "compared":
            return match[0].partition('"')[0] + "?"
        case "listed":
            return match[0].partition("(")[0] + "(?)"
        case _:
            return "?"


def parse(sql: str, system: str = "") -> Statement:
    """Normalise a statement; its fingerprint is not limited.

    Args:
        sql: The statement that was sent; beyond ``MAX_LENGTH`` it is ignored.
        system: SQLAlchemy's name of the database.
    """
    # An identifier may contain generated input, too.
    text = redact_random_words(re.sub(r" {2,}", " ", normalise(sql[:MAX_LENGTH], system)))
    keyword = _OPERATIONS.match(text)
    operation = keyword[1].upper() if keyword else OTHER
    fingerprint = hashlib.blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()
    return Statement(operation, _summary(operation, text), fingerprint, text)


class Fingerprints:
    """Bounded cache of normalised statements by their text; thread-safe.

    Args:
        max_fingerprints: How many fingerprints may become label values.
        cache_size: How many statement strings are cached.
    """

    def __init__(
        self, max_fingerprints: int = MAX_FINGERPRINTS, cache_size: int = CACHE_SIZE
    ) -> None:
        self._max_fingerprints = max_fingerprints
        self._cache_size = cache_size
        self._labelled: set[str] = set()
        self._statements: OrderedDict[tuple[str, str], Statement] = OrderedDict()
        self._lock = RLock()  # reentrant: a finalizer may send a statement meanwhile

    def of(self, sql: str, system: str = "") -> Statement:
        """Normalise a statement.

        Args:
            sql: The statement that was sent.
            system: SQLAlchemy's name of the database.
        """
        if len(sql) > MAX_LENGTH:
            sql = sql[:MAX_LENGTH]
        statement = self._statements.get((sql, system))
        return self._add(sql, system) if statement is None else statement

    def _add(self, sql: str, system: str) -> Statement:
        statement = parse(sql, system)
        fingerprint = statement.fingerprint
        with self._lock:
            if fingerprint not in self._labelled and len(self._labelled) >= self._max_fingerprints:
                statement = statement._replace(summary=OTHER, fingerprint=OTHER)
            else:
                self._labelled.add(fingerprint)
            self._statements[sql, system] = statement
            while len(self._statements) > self._cache_size:
                self._statements.popitem(last=False)
        return statement


def _summary(operation: str, text: str) -> str:
    tables = dict.fromkeys(name.replace('"', "") for name in _TABLE.findall(text))
    return " ".join([operation, *list(tables)[:_SUMMARY_TABLES]])
