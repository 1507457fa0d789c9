"""Indexes worth a trial for a statement, from its plan: what it filters, joins and sorts by.

Plans print conditions as SQL. They are read here by patterns and not by a grammar: a candidate too
many is turned down by the planner, and one too few is advice that is not given.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from vitals.db.statements.plans import Node, bare, walk

CANDIDATES = 24
COLUMNS = 3


# Each begins where a name begins, and gives nothing back: conditions can be long.
_NAME = r'(?<![\w"])"(?:[^"]|"")++"|(?<![\w":])\w++'
_CAST = r"(?:::[\w .]{1,64}(?:\(\d+\))?){0,3}"
_COLUMN = rf"(?:(?P<alias>{_NAME})\.)?(?P<column>{_NAME})\)*+{_CAST}\)*+"
_COMPARED = re.compile(
    rf"{_COLUMN}\s*(?P<operator>=|<=|>=|<|>|~~|IS NULL)\s*(?P<value>ANY|'[^']*|\S*)?"
)
_EQUAL_COLUMNS = re.compile(rf"({_NAME})\.({_NAME})\)*+ = \(*+({_NAME})\.({_NAME})")
_EXPRESSION = re.compile(r"\b(?P<call>\w++\(\(?[\w.\"]++\)?(?:::\w++)*+\))\s*(?:=|<|>)")
_SORTED = re.compile(rf"^\(?(?:({_NAME})\.)?({_NAME})\)?( DESC)?$")
_EXTREME = re.compile(rf"(?:min|max)\((?:(?:{_NAME})\.)?({_NAME})\)")
_KEYWORDS = frozenset(("AND", "OR", "NOT", "ANY", "ALL", "NULL", "IS", "IN", "true", "false"))


Distinct = Callable[[str], Mapping[str, float]]
"""How many values each column of a table has."""


class Index(NamedTuple):
    """An index that does not exist yet; columns are quoted SQL."""

    table: str
    columns: tuple[str, ...]

    @property
    def sql(self) -> str:
        """How it would be made."""
        return f"CREATE INDEX ON {self.table} ({', '.join(self.columns)})"


@dataclass
class _Wanted:
    """What a plan asks of one table."""

    table: str
    equal: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    sorted: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def candidates(plan: Node, distinct: Distinct) -> list[Index]:
    """Indexes worth a trial; too many is fine, for the planner judges them.

    Args:
        plan: PostgreSQL's tree of the statement, VERBOSE.
        distinct: Asked only where it decides on the order of columns.
    """
    wanted: dict[str, _Wanted] = {}
    for _, node in walk(plan):
        if "Relation Name" in node:
            table = f"{quoted(node['Schema'])}.{quoted(node['Relation Name'])}"
            wanted.setdefault(node["Alias"], _Wanted(table))
    for _, node in walk(plan):
        _read(node, wanted)
    found: dict[Index, None] = {}
    for each in wanted.values():
        for columns in _combinations(each, distinct):
            kept = tuple(dict.fromkeys(columns))[:COLUMNS]
            if kept:
                found[Index(each.table, kept)] = None
    return list(found)[:CANDIDATES]


def _read(node: Node, wanted: dict[str, _Wanted]) -> None:
    here = wanted.get(node.get("Alias", ""))
    for key in ("Filter", "Index Cond", "Recheck Cond"):
        if here is not None and key in node:
            _read_filter(bare(node[key]), here, wanted)
    for key in ("Hash Cond", "Merge Cond", "Join Filter", "Index Cond", "Filter"):
        for pair in _EQUAL_COLUMNS.findall(bare(node.get(key, ""))):
            for alias, column in (pair[:2], pair[2:]):
                if alias.strip('"') in wanted:
                    wanted[alias.strip('"')].joined.append(quoted(column))
    if node["Node Type"] == "Aggregate" and "Group Key" not in node and len(wanted) == 1:
        _read_extremes(node.get("Output", ()), next(iter(wanted.values())))
    if node["Node Type"] in {"Sort", "Incremental Sort"}:
        _read_order(node["Sort Key"], wanted)


def _read_order(sort_key: list[str], wanted: dict[str, _Wanted]) -> None:
    keys = [_SORTED.match(key) for key in sort_key]
    aliases = {key[1].strip('"') if key and key[1] else "" for key in keys}
    owner = wanted.get(next(iter(aliases))) if len(aliases) == 1 else None
    owner = owner or (next(iter(wanted.values())) if len(wanted) == 1 else None)
    if owner is not None and all(keys):
        columns = [quoted(key[2]) + (key[3] or "") for key in keys if key]
        if all(column.endswith(" DESC") for column in columns):
            columns = [column.removesuffix(" DESC") for column in columns]  # read backwards
        owner.sorted = owner.sorted or columns


def _read_extremes(output: Iterable[str], owner: _Wanted) -> None:
    """The greatest and the least stand at the ends of an index."""
    for each in output:
        if found := _EXTREME.fullmatch(each):
            owner.sorted = owner.sorted or [quoted(found[1])]


def _read_filter(condition: str, here: _Wanted, wanted: dict[str, _Wanted]) -> None:
    either = " OR " in condition
    for call in _EXPRESSION.finditer(condition):
        here.others.append(f"({re.sub(rf'({_NAME})[.]', '', call['call'])})")
    for found in _COMPARED.finditer(condition):
        alias = (found["alias"] or "").strip('"')
        if found["column"] in _KEYWORDS or found["column"].isdigit():
            continue
        owner = wanted.get(alias, here)
        column = quoted(found["column"])
        match found["operator"]:
            case _ if either:
                owner.others.append(column)
            case "=" | "IS NULL":
                owner.equal.append(column)
            case "~~":
                if not (found["value"] or "").startswith(("'%", "'_")):
                    owner.others.append(f"{column} text_pattern_ops")
            case _:
                owner.ranges.append(column)


def _combinations(each: _Wanted, distinct: Distinct) -> Iterator[list[str]]:
    """Equal columns first, the most selective of them first; then one range, or the order."""
    equal = _most_selective_first(each, distinct)
    order = [column for column in each.sorted if column.removesuffix(" DESC") not in equal]
    for many in range(1, min(len(equal), COLUMNS) + 1):
        yield equal[:many]
    for column in dict.fromkeys(each.ranges):
        yield [column]
        for many in range(1, min(len(equal), COLUMNS - 1) + 1):
            yield [*equal[:many], column]
    if order:
        yield order
        for many in range(1, len(equal) + 1):
            yield [*equal[:many], *order]
    for column in dict.fromkeys(each.joined):
        yield [column]
        if equal and equal[0] != column:
            yield [equal[0], column]
            yield [column, equal[0]]
    for one, other in pairwise(dict.fromkeys(each.joined)):
        yield [one, other]
    for column in dict.fromkeys(each.others):
        yield [column]


def _most_selective_first(each: _Wanted, distinct: Distinct) -> list[str]:
    equal = list(dict.fromkeys(each.equal))
    if len(equal) > 1:
        values = distinct(each.table)
        equal.sort(key=lambda column: -values.get(column, 0))
    return equal


def quoted(name: str) -> str:
    """A name as SQL needs it, whatever it is; plans quote some."""
    bare = name[1:-1].replace('""', '"') if name.startswith('"') else name
    return '"' + bare.replace('"', '""') + '"'
