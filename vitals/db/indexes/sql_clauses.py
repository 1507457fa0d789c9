"""What a statement filters, joins and sorts by, read from its text.

SQLite's plans do not print conditions. So the statement's own are put into the form of a plan, from
which candidates for indexes are taken; like there, too many is fine and too few is no advice.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from vitals.db.indexes.index_candidates import quoted
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
_EXTREME = re.compile(rf"\b(?:min|max)\((?:{_NAME})(?:\.(?:{_NAME}))?\)", re.IGNORECASE)
_SPACES = r"(?<!\s)\s++"
"""All spaces in a row: a search that began at each of them would take quadratic time."""
_AND = re.compile(rf"{_SPACES}AND\s++", re.IGNORECASE)
_ASCENDING = re.compile(rf"{_SPACES}ASC$", re.IGNORECASE)
_DESCENDING = re.compile(rf"{_SPACES}DESC$", re.IGNORECASE)
# As PostgreSQL writes it.
_SPELLINGS = (
    (re.compile(r"\[(\w[^\[\]\"]*+)\]|`([^`\"]++)`"), r'"\1\2"'),
    (re.compile(r"(?<!\s)\s*+(?:<>|!=)\s*+"), " IS DISTINCT "),
    (re.compile(r"(?<!\s)\s*+(<=|>=|==?|<|>)\s*+"), r" \1 "),
    (re.compile(rf" == |{_SPACES}IS\s++(?=\?)", re.IGNORECASE), " = "),
    (re.compile(rf"{_SPACES}BETWEEN\s++(\S++)\s++AND\s++", re.IGNORECASE), r" >= \1 "),
    (re.compile(rf"(?<!NOT){_SPACES}IN\s*+\(", re.IGNORECASE), " = ANY ("),
    (re.compile(rf"(?<!NOT){_SPACES}LIKE\s++", re.IGNORECASE), " ~~ "),
)


class Table(NamedTuple):
    """A table that a statement is about: its name, and its columns' names by small letters."""

    name: str
    columns: dict[str, str]


def tables(sql: str, columns: Mapping[str, list[str]]) -> dict[str, Table]:
    """The tables of a statement by their aliases.

    Args:
        sql: The statement.
        columns: Of each table there is.
    """
    known = {name.lower(): name for name in columns}
    found = {}
    for each in _TABLE.finditer(_spelt(sql)):
        name = known.get(_bare(each["table"]).lower())
        if name is not None:
            alias = _bare(each["alias"] or name)
            found[alias] = Table(name, {column.lower(): column for column in columns[name]})
    return found


def as_plan(sql: str, about: Mapping[str, Table]) -> Node:
    """A tree with the statement's conditions and orders, as candidates are taken from."""
    text = _REFERENCE.sub(lambda found: _qualified(found, about), _spelt(sql))
    scans = [
        {"Node Type": "Scan", "Schema": "main", "Relation Name": table.name, "Alias": alias}
        for alias, table in about.items()
    ]
    pieces = _CLAUSE.split(text)
    clauses = [
        (keyword.upper(), body.strip())
        for keyword, body in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
    return {"Node Type": "Statement", "Plans": [*scans, *_conditions(clauses, about)]}


def _conditions(clauses: list[tuple[str, str]], about: Mapping[str, Table]) -> Iterator[Node]:
    grouped = any(keyword == "GROUP BY" for keyword, _ in clauses)
    orders: dict[str, list[Node]] = {"GROUP BY": [], "ORDER BY": []}
    for keyword, body in clauses:
        if keyword in {"WHERE", "ON"}:
            for part in _AND.split(body):
                key = "Join Filter" if _COLUMNS_EQUAL.match(part) else "Filter"
                yield from ({"Node Type": "Scan", "Alias": alias, key: part} for alias in about)
        elif keyword in {"GROUP BY", "ORDER BY"}:
            orders[keyword].append({"Node Type": "Sort", "Sort Key": _keys(body)})
        elif keyword == "SELECT" and not grouped:
            extremes = [found[0].replace('"', "").lower() for found in _EXTREME.finditer(body)]
            yield {"Node Type": "Aggregate", "Output": extremes}
    for nodes in orders.values():
        yield from nodes


def _spelt(sql: str) -> str:
    text = normalise(sql, "sqlite")
    for pattern, instead in _SPELLINGS:
        text = pattern.sub(instead, text)
    return text


def _keys(body: str) -> list[str]:
    """What is sorted by; what follows a parenthesis that was not opened belongs to others."""
    depth = 0
    for place, sign in enumerate(body):
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            body = body[:place]
            break
    keys = (_ASCENDING.sub("", key.strip()) for key in body.split(","))
    return [_DESCENDING.sub(" DESC", key) for key in keys]


def _qualified(found: re.Match[str], about: Mapping[str, Table]) -> str:
    """A column with its table's alias, where it can be one of one table only."""
    column = _bare(found["column"]).lower()
    wanted = _bare(found["alias"] or "").lower()
    owners = [
        (alias, table.columns[column])
        for alias, table in about.items()
        if column in table.columns and wanted in {"", alias.lower()}
    ]
    if len(owners) != 1:
        return found[0]
    alias, name = owners[0]
    return f"{quoted(alias)}.{quoted(name)}"


def _bare(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
