"""Checks that a statement has no side effects and so may be executed again for its plan.

``EXPLAIN ANALYZE`` executes, and a READ ONLY transaction does not prevent every effect: advisory
locks, signals to other sessions and other connections (dblink) pass. So the text may contain only
an allow-list of constructs, and the database must contain no object that changes their meaning.
Whatever is in doubt is not executed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from vitals.db.statements.plannable import TRUSTED_CODE
from vitals.db.statements.plans import Node, walk

_PURE = """
abs age array_agg array_length avg bool_and bool_or btrim cardinality ceil ceiling char_length
coalesce concat concat_ws count cume_dist date date_part date_trunc dense_rank every extract
first_value floor greatest initcap json_agg json_build_object jsonb_agg jsonb_build_object lag
last_value lead least left length lower lpad ltrim make_date max md5 min mod now nth_value ntile
nullif percent_rank percentile_cont percentile_disc position power rank regexp_replace replace
reverse right round row_number row_to_json rpad rtrim sign split_part sqrt starts_with stddev
string_agg strpos substr substring sum to_char to_date to_number to_timestamp to_tsquery
to_tsvector trim trunc unnest upper variance
"""
PURE_FUNCTIONS = frozenset(_PURE.split())
"""Built-in functions without side effects."""

_BEFORE_PARENTHESIS = """
all and any array as between by case cast distinct else except exists filter from group having
ilike in intersect is join lateral like limit materialized not offset on or over row select
some then union using values when where with within
bpchar char character decimal float interval numeric time timestamp varchar varying
"""
_KEYWORDS_BEFORE_PARENTHESIS = frozenset(_BEFORE_PARENTHESIS.split())
_REJECTED = """
call copy create delete do execute fetch for insert into lock merge nextval notify prepare
returning tablesample update
"""
_REJECTED_WORDS = frozenset(_REJECTED.split())
_REJECTED_NODES = frozenset(("Foreign Scan", "Custom Scan", "ModifyTable", "LockRows"))
_MAX_NAME_BYTES = 63
"""PostgreSQL truncates longer names, and then finds another one."""

_TOKEN = re.compile(
    r"""
      (?P<string> '(?:[^'\\]|'')*+' )
    | (?P<quoted> "[^"\\]++" (?!") )
    | (?P<bind>   \$\d+ | %\(\w+\)s | %s )
    | (?P<number> \d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![\w$]) | \.\d+ )
    | (?P<word>   [A-Za-z_]\w*+ (?![$]) )
    | (?P<space>  \s+ )
    | (?P<sign>   -(?!-) | /(?!\*) | [+*<>=~!@\#%^&|?(),.:\[\]] )
    """,
    re.VERBOSE | re.ASCII,
)

# Rejects words that name user-defined objects which may run code: functions (also as t.name),
# views, foreign tables, policies. And user-defined code that runs without being named: operators
# (some of them by words such as LIKE) and casts, which may call any function of PostgreSQL's;
# sorting, ranges and types, which need functions made for them; domains with a check. Trusted are
# PostgreSQL's built-in objects, and functions in C of an extension.
_NO_USER_CODE = text(
    """
    WITH words AS (SELECT unnest(CAST(:words AS text[])) AS word),
    """  # noqa: S608  # all of it is ours
    + TRUSTED_CODE
    + """
    SELECT current_setting('transaction_read_only') = 'on'
       AND current_setting('statement_timeout') <> '0'
       AND NOT EXISTS (
            SELECT FROM pg_proc WHERE proname IN (SELECT word FROM words)
            AND (oid >= 16384 OR provolatile = 'v'))
       AND NOT EXISTS (
            SELECT FROM pg_class WHERE relname IN (SELECT word FROM words)
            AND (relkind NOT IN ('r', 'p', 'm', 'i', 'I') OR relrowsecurity))
       AND NOT EXISTS (
            SELECT FROM hidden WHERE oid >= 16384
            AND (name = ANY(ARRAY['', '=', '<>', '<', '>', '<=', '>=',
                                  '~~', '!~~', '~~*', '!~~*', '~', '!~'])
                 OR position(name IN CAST(:sql AS text)) > 0)
            AND NOT (
                (catalogue, oid) IN (SELECT classid, objid FROM extended)
                AND code IN (SELECT oid FROM trusted)))
       AND NOT EXISTS (SELECT FROM made WHERE code NOT IN (SELECT oid FROM trusted))
       AND NOT EXISTS (
            SELECT FROM pg_constraint WHERE contypid <> 0 AND contype = 'c' AND oid >= 16384)
       AND NOT EXISTS (
            SELECT FROM pg_attribute WHERE attgenerated NOT IN ('', 's'))
    """
)


def is_side_effect_free(connection: Connection, sql: str, parameters: Any, plan: Node) -> bool:
    """Whether executing a statement certainly has no side effects.

    Args:
        connection: To PostgreSQL, in the transaction that would execute it.
        sql: The statement as sent to the driver.
        parameters: Its values, as sent to the driver.
        plan: The root node of its plan from plain EXPLAIN.

    Raises:
        sqlalchemy.exc.DBAPIError: The check fails in the database.
    """
    words = parse_words(sql, parameters)
    if words is None or any(node["Node Type"] in _REJECTED_NODES for _, node in walk(plan)):
        return False
    written = f"{sql} {sql.replace('%%', '%')}"  # some drivers need an operator's % doubled
    given = {"words": sorted(words), "sql": written}
    return connection.execute(_NO_USER_CODE, given).scalar_one() is True


def parse_words(sql: str, parameters: Any) -> frozenset[str] | None:
    """Names and keywords of a query, in lower case unless quoted; None if it is in doubt.

    In doubt are comments, backslashes, several statements, missing values, and calls of functions
    that are not in ``PURE_FUNCTIONS``.
    """
    words: list[str] = []
    binds: list[str] = []
    last, before, end = "", "", 0
    while end < len(sql):
        token = _TOKEN.match(sql, end)
        if token is None:
            return None
        end = token.end()
        match token.lastgroup:
            case "space":
                continue
            case "word":
                words.append(token[0].lower())
            case "quoted":
                words.append(token[0][1:-1])
                # A name with Unicode escapes (U&"...") differs from its text.
                if sql[: token.start()].lower().endswith("u&"):
                    return None
            case "bind":
                binds.append(token[0])
            case "sign" if token[0] == "(" and not _may_open_parenthesis(last, before):
                return None
            case _:
                pass
        last, before = token[0], last
    known = set(words)
    if (
        not words
        or words[0] not in {"select", "with"}
        or not sql.lstrip()[0].isalpha()
        or known & _REJECTED_WORDS
        or any(len(word.encode()) > _MAX_NAME_BYTES for word in known)
        or not _have_values(binds, parameters)
    ):
        return None
    return frozenset(known)


def _may_open_parenthesis(last: str, before: str) -> bool:
    """Whether a parenthesis after this token groups, or calls a pure function."""
    if last.startswith('"') or before == ".":
        return False
    if not (last[:1].isalpha() or last[:1] == "_"):
        return True
    return last.lower() in PURE_FUNCTIONS or last.lower() in _KEYWORDS_BEFORE_PARENTHESIS


def _have_values(binds: list[str], parameters: Any) -> bool:
    """Whether every bind has a value."""
    if not binds:
        return True
    if isinstance(parameters, Mapping):
        return all(bind.startswith("%(") and bind[2:-2] in parameters for bind in binds)
    if not isinstance(parameters, Sequence) or isinstance(parameters, str):
        return False
    if binds[0].startswith("$"):
        return all(bind[1:].isdigit() and 0 < int(bind[1:]) <= len(parameters) for bind in binds)
    return all(bind == "%s" for bind in binds) and len(binds) == len(parameters)
