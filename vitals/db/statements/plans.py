"""How the database carries out a statement, asked by EXPLAIN and kept without its values.

EXPLAIN alone plans and does not execute: a write that is explained writes nothing. ANALYZE, which
does execute, is sent only where somebody chose it, and only for what ``harmless`` lets pass.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from vitals.db.statements.fingerprint import LONGEST, normalise

Node = dict[str, Any]

_SHOWN = ("Relation Name", "Index Name", "CTE Name", "Function Name")
_CONDITIONS = ("Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter", "Filter")
_DEAR = 1_000
"""PostgreSQL's cost from which on reading a whole table is worth a remark: about 1,000 pages."""


_VARYING = re.compile(r" {2}\([^()]*+\)$|(?<=\?)::[\w ]+(?:\[\])?")
_LITERAL = re.compile(r"'([^']?)(?:[^']|'')*+'")


class Plan(NamedTuple):
    """One way to carry out a statement.

    Attributes:
        shape: 16 hex digits that change when the database decides otherwise; costs and values
            do not matter.
        lines: The plan as text, one node a line, indented.
        notes: What is remarkable about it.
    """

    shape: str
    lines: list[str]
    notes: list[str]


def of_postgres(explained: str | list[Node]) -> Plan:
    """A plan from ``EXPLAIN (FORMAT JSON)``.

    Raises:
        ValueError: It is not one.
    """
    tree = json.loads(explained) if isinstance(explained, str) else explained
    try:
        root: Node = tree[0]["Plan"]
    except (LookupError, TypeError) as error:
        raise ValueError("not a plan of EXPLAIN (FORMAT JSON)") from error
    lines, notes = [], []
    for depth, node in walk(root):
        lines.append("  " * depth + _line(node))
        if node["Node Type"] == "Seq Scan" and node.get("Total Cost", 0) >= _DEAR:
            notes.append(f"reads all of {node.get('Relation Name')}")
    return _plan(lines, notes)


def of_sqlite(rows: list[tuple[int, int, str]]) -> Plan:
    """A plan from the rows (id, parent, detail) of ``EXPLAIN QUERY PLAN``."""
    depths = {0: -1}
    lines, notes = [], []
    for number, parent, detail in rows:
        depths[number] = depths.get(parent, -1) + 1
        text = normalise(detail)
        lines.append("  " * depths[number] + text)
        if re.match(r"SCAN (?!CONSTANT|.*USING)", text):
            notes.append(f"reads all of {text.split()[1]}")
        elif "USE TEMP B-TREE" in text:
            notes.append(f"sorts what no index has in order ({text.rpartition('FOR ')[2]})")
        elif text.startswith("CORRELATED"):
            notes.append("a subquery runs once a row: write a join")
    return _plan(lines, notes)


def walk(node: Node, depth: int = 0) -> Iterator[tuple[int, Node]]:
    """Every node of PostgreSQL's tree with its depth, parents first."""
    yield depth, node
    for child in node.get("Plans", ()):
        yield from walk(child, depth + 1)


def bare(condition: str) -> str:
    """A condition as PostgreSQL prints it, of each literal no more than its first character.

    The first tells what LIKE begins with; all of it could be as long as a value may be.
    """
    return _LITERAL.sub(r"'\1'", condition)[:LONGEST]


def _plan(lines: list[str], notes: list[str]) -> Plan:
    # Values are gone already; what is left of costs would make every plan a new one.
    # And the type of a value is written only where it stands for itself, not for a parameter.
    shown = "\n".join(_VARYING.sub("", line) for line in lines)
    shape = hashlib.blake2b(shown.encode(), digest_size=8).hexdigest()
    return Plan(shape, lines, list(dict.fromkeys(notes)))


def _line(node: Node) -> str:
    named = [str(node[key]) for key in _SHOWN if key in node]
    text = " ".join([node["Node Type"], *(["on"] if named else []), *named])
    for key in _CONDITIONS:
        if key in node:
            text += f" {key.lower()} {normalise(node[key])}"
    if "Sort Key" in node:
        text += " by " + normalise(", ".join(node["Sort Key"]))
    figures = f"cost {node.get('Total Cost', 0):.0f}, {node.get('Plan Rows', 0)} rows"
    return f"{text}  ({figures}{_actual(node)})"


def _actual(node: Node) -> str:
    """What ANALYZE has measured, rows and milliseconds of all loops together."""
    if "Actual Rows" not in node:
        return ""
    loops = node.get("Actual Loops", 1)
    if not loops:
        return "; never executed"
    said = f"; actual {node['Actual Rows'] * loops:.0f} rows"
    if "Actual Total Time" in node:
        said += f", {node['Actual Total Time'] * loops:.2f} ms"
    return said + (f", {loops} loops" if loops > 1 else "")
