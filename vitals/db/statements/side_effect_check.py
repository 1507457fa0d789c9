"""Which statements may be executed a second time: only those that certainly change nothing.

``EXPLAIN ANALYZE`` executes, and a READ ONLY transaction does not stop everything: advisory locks,
signals to other sessions and other connections (dblink) pass. So the text must consist of what is
known to be harmless, and the database must hold nothing by which harmless words would come to mean
something else. Whatever is in doubt is not executed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from vitals.db.statements.plannable import TRUST
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
PURE = frozenset(_PURE.split())
"""Built-in functions without effects."""

_BEFORE = """
all and any array as between by case cast distinct else except exists filter from group having
ilike in intersect is join lateral like limit materialized not offset on or over row select
some then union using values when where with within
bpchar char character decimal float interval numeric time timestamp varchar varying
"""
_BEFORE_PARENTHESES = frozenset(_BEFORE.split())
_UNSURE = """
call copy create delete do execute fetch for insert into lock merge nextval notify prepare
returning tablesample update
"""
_DOUBTFUL = frozenset(_UNSURE.split())
_FOREIGN = frozenset(("Foreign Scan", "Custom Scan", "ModifyTable", "LockRows"))
_LONGEST_NAME = 63
"""Bytes. PostgreSQL cuts what is longer, and finds another name."""

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

# Words that name something of this database's own that could run code, or code of anybody's:
# functions (also as t.name), views, foreign tables, policies. And whatever runs without a name:
# operators (some of them by words such as LIKE) and casts, which may lend a harmless look to any
# function of PostgreSQL's; sorting, ranges and types, which need functions made for them; domains
# with a check. Trusted are what PostgreSQL brings along, and functions in C of an extension.
_CERTAIN = text(
    """
    WITH words AS (SELECT unnest(CAST(:words AS text[])) AS word),
    """  # noqa: S608  # all of it is ours
    + TRUST
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


def is_harmless(connection: Connection, sql: str, parameters: Any, plan: Node) -> bool:
    """Whether executing a statement changes nothing for certain.

    Args:
        connection: To PostgreSQL, in the transaction that would execute it.
        sql: The statement as the driver got it.
        parameters: Its values, likewise.
        plan: What plain EXPLAIN said, the root of its tree.

    Raises:
        sqlalchemy.exc.DBAPIError: The database does not answer.
    """
    words = words_of(sql, parameters)
    if words is None or any(node["Node Type"] in _FOREIGN for _, node in walk(plan)):
        return False
    written = f"{sql} {sql.replace('%%', '%')}"  # as some drivers want an operator's % to be sent
    given = {"words": sorted(words), "sql": written}
    return connection.execute(_CERTAIN, given).scalar_one() is True


def words_of(sql: str, parameters: Any) -> frozenset[str] | None:
    """The names and keywords of a query, lower case but for quoted ones; None where in doubt.

    In doubt are comments, backslashes, several statements, values that are not at hand, and every
    call of a function that is not known to be pure.
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
                # A name with special characters (U&"...") is another name than it seems.
                if sql[: token.start()].lower().endswith("u&"):
                    return None
            case "bind":
                binds.append(token[0])
            case "sign" if token[0] == "(" and not _opens(last, before):
                return None
            case _:
                pass
        last, before = token[0], last
    known = set(words)
    if (
        not words
        or words[0] not in {"select", "with"}
        or not sql.lstrip()[0].isalpha()
        or known & _DOUBTFUL
        or any(len(word.encode()) > _LONGEST_NAME for word in known)
        or not _at_hand(binds, parameters)
    ):
        return None
    return frozenset(known)


def _opens(last: str, before: str) -> bool:
    """Whether a parenthesis after this token groups, or calls what is pure."""
    if last.startswith('"') or before == ".":
        return False
    if not (last[:1].isalpha() or last[:1] == "_"):
        return True
    return last.lower() in PURE or last.lower() in _BEFORE_PARENTHESES


def _at_hand(binds: list[str], parameters: Any) -> bool:
    """Whether each place for a value has one."""
    if not binds:
        return True
    if isinstance(parameters, Mapping):
        return all(bind.startswith("%(") and bind[2:-2] in parameters for bind in binds)
    if not isinstance(parameters, Sequence) or isinstance(parameters, str):
        return False
    if binds[0].startswith("$"):
        return all(bind[1:].isdigit() and 0 < int(bind[1:]) <= len(parameters) for bind in binds)
    return all(bind == "%s" for bind in binds) and len(binds) == len(parameters)
