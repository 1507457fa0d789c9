"""Index candidates for a statement, from the filters, joins and sort keys of its plan.

Plans print conditions as SQL. They are parsed by patterns, not by a grammar: the planner rejects a
superfluous candidate, and a missing one only means missing advice.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from vitals.db.statements.plans import Node, mask_literals, walk

MAX_CANDIDATES = 24
MAX_COLUMNS = 3


# Possessive, and anchored to the start of a name, because conditions can be long.
_NAME = r'(?<![\w"])"(?:[^"]|"")++"|(?<![\w":])\w++'
_CAST = r"(?:::[\w .]{1,64}(?:\(\d+\))?){0,3}"
_COLUMN = rf"(?:(?P<alias>{_NAME})\.)?(?P<column>{_NAME})\)*+{_CAST}\)*+"
_COMPARED = re.compile(
    rf"{_COLUMN}\s*(?P<operator>=|<=|>=|<|>|~~|IS NULL)\s*(?P<value>ANY|'[^']*|\S*)?"
)
_EQUAL_COLUMNS = re.compile(rf"({_NAME})\.({_NAME})\)*+ = \(*+({_NAME})\.({_NAME})")
_EXPRESSION = re.compile(r"\b(?P<call>\w++\(\(?[\w.\"]++\)?(?:::\w++)*+\))\s*(?:=|<|>)")
_SORTED = re.compile(rf"^\(?(?:({_NAME})\.)?({_NAME})\)?( DESC)?$")
_MIN_MAX = re.compile(rf"(?:min|max)\((?:(?:{_NAME})\.)?({_NAME})\)")
_KEYWORDS = frozenset(("AND", "OR", "NOT", "ANY", "ALL", "NULL", "IS", "IN", "true", "false"))


DistinctCounts = Callable[[str], Mapping[str, float]]
"""Number of distinct values per column of a table."""


class IndexCandidate(NamedTuple):
    """An index that does not exist yet; table and columns are quoted SQL."""

    table: str
    columns: tuple[str, ...]

    @property
    def sql(self) -> str:
        """SQL that would create it."""
        return f"CREATE INDEX ON {self.table} ({', '.join(self.columns)})"


@dataclass
class _TableUsage:
    """How a plan uses the columns of one table."""

    table: str
    equal: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    sorted: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def candidates(plan: Node, distinct: DistinctCounts) -> list[IndexCandidate]:
    """Index candidates for a plan; superfluous ones are fine, because the planner rejects them.

    Args:
        plan: PostgreSQL's plan tree of the statement, VERBOSE.
        distinct: Called only if it decides on the order of columns.
    """
    usages: dict[str, _TableUsage] = {}
    for _, node in walk(plan):
        if "Relation Name" in node:
            table = f"{quote_identifier(node['Schema'])}.{quote_identifier(node['Relation Name'])}"
            usages.setdefault(node["Alias"], _TableUsage(table))
    for _, node in walk(plan):
        _read(node, usages)
    found: dict[IndexCandidate, None] = {}
    for usage in usages.values():
        for columns in _combinations(usage, distinct):
            kept = tuple(dict.fromkeys(columns))[:MAX_COLUMNS]
            if kept:
                found[IndexCandidate(usage.table, kept)] = None
    return list(found)[:MAX_CANDIDATES]


def _read(node: Node, usages: dict[str, _TableUsage]) -> None:
    usage = usages.get(node.get("Alias", ""))
    for key in ("Filter", "Index Cond", "Recheck Cond"):
        if usage is not None and key in node:
            _read_filter(mask_literals(node[key]), usage, usages)
    for key in ("Hash Cond", "Merge Cond", "Join Filter", "Index Cond", "Filter"):
        for pair in _EQUAL_COLUMNS.findall(mask_literals(node.get(key, ""))):
            for alias, column in (pair[:2], pair[2:]):
                if alias.strip('"') in usages:
                    usages[alias.strip('"')].joined.append(quote_identifier(column))
    if node["Node Type"] == "Aggregate" and "Group Key" not in node and len(usages) == 1:
        _read_min_max(node.get("Output", ()), next(iter(usages.values())))
    if node["Node Type"] in {"Sort", "Incremental Sort"}:
        _read_order(node["Sort Key"], usages)


def _read_order(sort_key: list[str], usages: dict[str, _TableUsage]) -> None:
    keys = [_SORTED.match(key) for key in sort_key]
    aliases = {key[1].strip('"') if key and key[1] else "" for key in keys}
    owner = usages.get(next(iter(aliases))) if len(aliases) == 1 else None
    owner = owner or (next(iter(usages.values())) if len(usages) == 1 else None)
    if owner is not None and all(keys):
        columns = [quote_identifier(key[2]) + (key[3] or "") for key in keys if key]
        if all(column.endswith(" DESC") for column in columns):
            columns = [column.removesuffix(" DESC") for column in columns]  # read backwards
        owner.sorted = owner.sorted or columns


def _read_min_max(output: Iterable[str], owner: _TableUsage) -> None:
    """min() and max() are at the ends of an index."""
    for each in output:
        if found := _MIN_MAX.fullmatch(each):
            owner.sorted = owner.sorted or [quote_identifier(found[1])]


def _read_filter(condition: str, usage: _TableUsage, usages: dict[str, _TableUsage]) -> None:
    either = " OR " in condition
    for call in _EXPRESSION.finditer(condition):
        usage.others.append(f"({re.sub(rf'({_NAME})[.]', '', call['call'])})")
    for found in _COMPARED.finditer(condition):
        alias = (found["alias"] or "").strip('"')
        if found["column"] in _KEYWORDS or found["column"].isdigit():
            continue
        owner = usages.get(alias, usage)
        column = quote_identifier(found["column"])
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


def _combinations(usage: _TableUsage, distinct: DistinctCounts) -> Iterator[list[str]]:
    """Equality columns first, the most selective of them first; then one range, or the order."""
    equal = _most_selective_first(usage, distinct)
    order = [column for column in usage.sorted if column.removesuffix(" DESC") not in equal]
    for length in range(1, min(len(equal), MAX_COLUMNS) + 1):
        yield equal[:length]
    for column in dict.fromkeys(usage.ranges):
        yield [column]
        for length in range(1, min(len(equal), MAX_COLUMNS - 1) + 1):
            yield [*equal[:length], column]
    if order:
        yield order
        for length in range(1, len(equal) + 1):
            yield [*equal[:length], *order]
    for column in dict.fromkeys(usage.joined):
        yield [column]
        if equal and equal[0] != column:
            yield [equal[0], column]
            yield [column, equal[0]]
    for one, other in pairwise(dict.fromkeys(usage.joined)):
        yield [one, other]
    for column in dict.fromkeys(usage.others):
        yield [column]


def _most_selective_first(usage: _TableUsage, distinct: DistinctCounts) -> list[str]:
    equal = list(dict.fromkeys(usage.equal))
    if len(equal) > 1:
        values = distinct(usage.table)
        equal.sort(key=lambda column: -values.get(column, 0))
    return equal


def quote_identifier(name: str) -> str:
    """Quote an identifier; accepts quoted and unquoted ones, because plans contain both."""
    bare = name[1:-1].replace('""', '"') if name.startswith('"') else name
    return '"' + bare.replace('"', '""') + '"'
