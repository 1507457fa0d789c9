"""Filters, joins and sort keys of a statement, parsed from its text.

SQLite's plans do not print conditions. So those of the statement are converted to the form of a
PostgreSQL plan, from which index candidates are derived; as there, too many candidates are fine.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vitals.db.indexes.index_candidates import quote_identifier
from vitals.db.statements.fingerprint import normalise
from vitals.db.statements.plans import Node

_NAME = r'"(?:[^"]|"")+"|\w+'
_NO_ALIAS = (
    "AS|ON|USING|WHERE|JOIN|LEFT|RIGHT|FULL|INNER|CROSS|NATURAL|GROUP|ORDER|LIMIT|SET|UNION|EXCEPT|"
    "INTERSECT|INDEXED|NOT|VALUES|SELECT|HAVING|RETURNING|DEFAULT|WINDOW"
)
_TABLE = re.compile(
    rf"(?:\b(?:FROM|JOIN|UPDATE|INTO)\s+|,\s*)\(*(?:\"?main\"?\.)?(?P<table>{_NAME})"
    rf"(?:\s+(?:AS\s+)?(?!(?:{_NO_ALIAS})\b)(?P<alias>{_NAME}))?",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    rf"(?<![\w\".])(?:(?P<alias>{_NAME})\.)?(?P<column>{_NAME})(?![\w\"]|\s*[.(])"
)
_CLAUSE = re.compile(
    r"\b(SELECT|FROM|WHERE|ON|USING|GROUP BY|HAVING|WINDOW|ORDER BY|LIMIT|UNION|EXCEPT|INTERSECT|"
    r"(?:LEFT|INNER|CROSS|NATURAL|RIGHT|FULL|JOIN)|SET|RETURNING|VALUES)\b",
    re.IGNORECASE,
)
_COLUMNS_EQUAL = re.compile(r'\(*"[^"]+"\."[^"]+" = "[^"]+"\."[^"]+"\)*')
_MIN_MAX = re.compile(rf"\b(?:min|max)\((?:{_NAME})(?:\.(?:{_NAME}))?\)", re.IGNORECASE)
_SPACES = r"(?<!\s)\s++"
"""A run of spaces: a search that started at each of them would take quadratic time."""
_AND = re.compile(rf"{_SPACES}AND\s++", re.IGNORECASE)
_ASCENDING = re.compile(rf"{_SPACES}ASC$", re.IGNORECASE)
_DESCENDING = re.compile(rf"{_SPACES}DESC$", re.IGNORECASE)
# Rewrites to PostgreSQL's form.
_SPELLINGS = (
    (re.compile(r"\[(\w[^\[\]\"]*+)\]|`([^`\"]++)`"), r'"\1\2"'),
    (re.compile(r"(?<!\s)\s*+(?:<>|!=)\s*+"), " IS DISTINCT "),
    (re.compile(r"(?<!\s)\s*+(<=|>=|==?|<|>)\s*+"), r" \1 "),
    (re.compile(rf" == |{_SPACES}IS\s++(?=\?)", re.IGNORECASE), " = "),
    (re.compile(rf"{_SPACES}BETWEEN\s++(\S++)\s++AND\s++", re.IGNORECASE), r" >= \1 "),
    (re.compile(rf"(?<!NOT){_SPACES}IN\s*+\(", re.IGNORECASE), " = ANY ("),
    (re.compile(rf"(?<!NOT){_SPACES}LIKE\s++", re.IGNORECASE), " ~~ "),
)


class NamedTable(NamedTuple):
    """A table of a statement: its name, and its column names by their lower-case form."""

    name: str
    columns: dict[str, str]


def tables(sql: str, columns: Mapping[str, list[str]]) -> dict[str, NamedTable]:
    """The tables of a statement by their aliases.

    Args:
        sql: The statement.
        columns: Column names of all tables of the schema.
    """
    known = {name.lower(): name for name in columns}
    found = {}
    for each in _TABLE.finditer(_in_postgresql_form(sql)):
        name = known.get(_bare(each["table"]).lower())
        if name is not None:
            alias = _bare(each["alias"] or name)
            found[alias] = NamedTable(name, {column.lower(): column for column in columns[name]})
    return found


def as_plan(sql: str, aliases: Mapping[str, NamedTable]) -> Node:
    """Convert the statement's conditions and sort keys to a plan tree for ``candidates``."""
    text = _REFERENCE.sub(lambda found: _qualified(found, aliases), _in_postgresql_form(sql))
    scans = [
        {"Node Type": "Scan", "Schema": "main", "Relation Name": table.name, "Alias": alias}
        for alias, table in aliases.items()
    ]
    pieces = _CLAUSE.split(text)
    clauses = [
        (keyword.upper(), body.strip())
        for keyword, body in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
    return {"Node Type": "Statement", "Plans": [*scans, *_conditions(clauses, aliases)]}


def _conditions(
    clauses: list[tuple[str, str]], aliases: Mapping[str, NamedTable]
) -> Iterator[Node]:
    grouped = any(keyword == "GROUP BY" for keyword, _ in clauses)
    orders: dict[str, list[Node]] = {"GROUP BY": [], "ORDER BY": []}
    for keyword, body in clauses:
        if keyword in {"WHERE", "ON"}:
            for part in _AND.split(body):
                key = "Join Filter" if _COLUMNS_EQUAL.match(part) else "Filter"
                yield from ({"Node Type": "Scan", "Alias": alias, key: part} for alias in aliases)
        elif keyword in {"GROUP BY", "ORDER BY"}:
            orders[keyword].append({"Node Type": "Sort", "Sort Key": _keys(body)})
        elif keyword == "SELECT" and not grouped:
            min_max = [found[0].replace('"', "").lower() for found in _MIN_MAX.finditer(body)]
            yield {"Node Type": "Aggregate", "Output": min_max}
    for nodes in orders.values():
        yield from nodes


def _in_postgresql_form(sql: str) -> str:
    text = normalise(sql, "sqlite")
    for pattern, instead in _SPELLINGS:
        text = pattern.sub(instead, text)
    return text


def _keys(body: str) -> list[str]:
    """Sort keys of a clause; an unmatched closing parenthesis ends it."""
    depth = 0
    for place, sign in enumerate(body):
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            body = body[:place]
            break
    keys = (_ASCENDING.sub("", key.strip()) for key in body.split(","))
    return [_DESCENDING.sub(" DESC", key) for key in keys]


def _qualified(found: re.Match[str], aliases: Mapping[str, NamedTable]) -> str:
    """Qualify a column with its table's alias, if it is unambiguous."""
    column = _bare(found["column"]).lower()
    wanted = _bare(found["alias"] or "").lower()
    owners = [
        (alias, table.columns[column])
        for alias, table in aliases.items()
        if column in table.columns and wanted in {"", alias.lower()}
    ]
    if len(owners) != 1:
        return found[0]
    alias, name = owners[0]
    return f"{quote_identifier(alias)}.{quote_identifier(name)}"


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
