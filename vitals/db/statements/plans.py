"""Query plans parsed from EXPLAIN, without values.

EXPLAIN alone plans and does not execute: an explained write writes nothing. ANALYZE, which does
execute, is sent only if it is enabled, and only for what ``side_effect_check`` accepts.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from vitals.db.statements.fingerprint import MAX_LENGTH, normalise

Node = dict[str, Any]

_SHOWN = ("Relation Name", "Index Name", "CTE Name", "Function Name")
_CONDITIONS = ("Index Cond", "Recheck Cond", "Hash Cond", "Merge Cond", "Join Filter", "Filter")
_EXPENSIVE_SCAN = 1_000
"""PostgreSQL's cost at or above which a full table scan gets a note: about 1,000 pages."""


_VARYING = re.compile(r" {2}\([^()]*+\)$|(?<=\?)::[\w ]+(?:\[\])?")
_LITERAL = re.compile(r"'([^']?)(?:[^']|'')*+'")


class Plan(NamedTuple):
    """A query plan.

    Attributes:
        shape: Hash of the plan without costs and values, 16 hex digits.
        lines: The plan as text, one node per line, indented.
        notes: Findings and advice.
        taken: When it was taken, in Unix seconds; 0 before it is recorded.
    """

    shape: str
    lines: list[str]
    notes: list[str]
    taken: float = 0.0


def parse_postgresql(explained: str | list[Node]) -> Plan:
    """Parse the output of ``EXPLAIN (FORMAT JSON)``.

    Raises:
        ValueError: It is not a plan.
    """
    tree = json.loads(explained) if isinstance(explained, str) else explained
    try:
        root: Node = tree[0]["Plan"]
    except (LookupError, TypeError) as error:
        raise ValueError("not a plan of EXPLAIN (FORMAT JSON)") from error
    lines, notes = [], []
    for depth, node in walk(root):
        lines.append("  " * depth + _line(node))
        if node["Node Type"] == "Seq Scan" and node.get("Total Cost", 0) >= _EXPENSIVE_SCAN:
            notes.append(f"full table scan of {node.get('Relation Name')}")
    return _plan(lines, notes)


def parse_sqlite(rows: list[tuple[int, int, str]]) -> Plan:
    """Parse the rows (id, parent, detail) of ``EXPLAIN QUERY PLAN``."""
    depths = {0: -1}
    lines, notes = [], []
    for number, parent, detail in rows:
        depths[number] = depths.get(parent, -1) + 1
        text = normalise(detail)
        lines.append("  " * depths[number] + text)
        if re.match(r"SCAN (?!CONSTANT|.*USING)", text):
            notes.append(f"full table scan of {text.split()[1]}")
        elif "USE TEMP B-TREE" in text:
            notes.append(f"sorts without an index ({text.rpartition('FOR ')[2]})")
        elif text.startswith("CORRELATED"):
            notes.append("a correlated subquery runs once per row: rewrite it as a join")
    return _plan(lines, notes)


def walk(node: Node, depth: int = 0) -> Iterator[tuple[int, Node]]:
    """Iterate over the nodes of PostgreSQL's plan tree with their depth, parents first."""
    yield depth, node
    for child in node.get("Plans", ()):
        yield from walk(child, depth + 1)


def mask_literals(condition: str) -> str:
    """Truncate each literal of a condition to its first character.

    The first character shows whether a LIKE pattern begins with a wildcard.
    """
    return _LITERAL.sub(r"'\1'", condition)[:MAX_LENGTH]


def _plan(lines: list[str], notes: list[str]) -> Plan:
    # Values are removed already; costs would make every plan a new shape. PostgreSQL prints the
    # type of a literal but not of a parameter, so it is removed too.
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
    """Actual rows and milliseconds that ANALYZE has measured, all loops together."""
    if "Actual Rows" not in node:
        return ""
    loops = node.get("Actual Loops", 1)
    if not loops:
        return "; never executed"
    text = f"; actual {node['Actual Rows'] * loops:.0f} rows"
    if "Actual Total Time" in node:
        text += f", {node['Actual Total Time'] * loops:.2f} ms"
    return text + (f", {loops} loops" if loops > 1 else "")
