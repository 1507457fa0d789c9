"""Flame graphs as Pyroscope answers them: ``flamebearer`` of a profile, or of a difference.

A level has, for each block, its offset from the block before, its value, what it has itself, and
the index of its name; of a difference, the first three for each side.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stack.store.partitions.deadline import Deadline

MAX_NODES = 4_000
"""Blocks of a flame graph; the smallest ones are summed up as ``other``."""
ROOT, REST = "total", "other"


@dataclass
class _Node:
    total: list[int] = field(default_factory=lambda: [0, 0])
    own: list[int] = field(default_factory=lambda: [0, 0])
    children: "dict[str, _Node]" = field(default_factory=dict)


def single(stacks: Mapping[tuple[str, ...], int], most: int, within: Deadline) -> dict[str, Any]:
    """The answer of ``/pyroscope/render``; of values in nanoseconds."""
    root = _Node()
    _grow(root, stacks, 0, within)
    levels, names = _levels(root, most, is_double=False)
    return {
        "version": 1,
        "flamebearer": {
            "names": names,
            "levels": levels,
            "numTicks": root.total[0],
            "maxSelf": max((max(level[2::4], default=0) for level in levels), default=0),
        },
        "metadata": _metadata("single"),
    }


def double(
    left: Mapping[tuple[str, ...], int],
    right: Mapping[tuple[str, ...], int],
    most: int,
    within: Deadline,
) -> dict[str, Any]:
    """The answer of ``/pyroscope/render-diff``; lines are left out, which move between releases."""
    root = _Node()
    _grow(root, _without_lines(left), 0, within)
    _grow(root, _without_lines(right), 1, within)
    levels, names = _levels(root, most, is_double=True)
    return {
        "version": 1,
        "flamebearer": {
            "names": names,
            "levels": levels,
            "numTicks": sum(root.total),
            "maxSelf": max(
                (max((*level[2::7], *level[5::7]), default=0) for level in levels), default=0
            ),
        },
        "metadata": _metadata("double"),
        "leftTicks": root.total[0],
        "rightTicks": root.total[1],
    }


def _metadata(kind: str) -> dict[str, Any]:
    return {"format": kind, "spyName": "vitals", "sampleRate": 10**9, "units": "samples"}


def _without_lines(stacks: Mapping[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    found: dict[tuple[str, ...], int] = {}
    for stack, spent in stacks.items():
        key = tuple(f"{each.rpartition(':')[0]})" if ":" in each else each for each in stack)
        found[key] = found.get(key, 0) + spent
    return found


def _grow(root: _Node, stacks: Mapping[tuple[str, ...], int], side: int, within: Deadline) -> None:
    for stack, spent in stacks.items():
        within.check()
        node = root
        node.total[side] += spent
        for name in stack:
            node = node.children.setdefault(name, _Node())
            node.total[side] += spent
        node.own[side] += spent


def _levels(root: _Node, most: int, *, is_double: bool) -> tuple[list[list[int]], list[str]]:
    sizes: list[int] = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        sizes.append(sum(node.total))
        waiting += node.children.values()
    least = sorted(sizes, reverse=True)[most - 1] if len(sizes) > most else 0
    names: dict[str, int] = {}
    levels: list[list[int]] = []
    ends: list[list[int]] = []

    def put(depth: int, name: str, node: _Node, starts: list[int]) -> None:
        if depth == len(levels):
            levels.append([])
            ends.append([0, 0])
        for side in range(1 + is_double):
            offset = starts[side] - ends[depth][side]
            levels[depth] += [offset, node.total[side], node.own[side]]
            ends[depth][side] = starts[side] + node.total[side]
        levels[depth].append(names.setdefault(name, len(names)))

    row = [(ROOT, root, [0, 0])]
    depth = 0
    while row:
        below: list[tuple[str, _Node, list[int]]] = []
        for name, node, starts in row:
            put(depth, name, node, starts)
            at = list(starts)
            rest = _Node()
            for child_name, child in sorted(node.children.items()):
                if sum(child.total) < least:
                    rest.total = [a + b for a, b in zip(rest.total, child.total, strict=True)]
                    continue
                below.append((child_name, child, list(at)))
                at = [a + b for a, b in zip(at, child.total, strict=True)]
            if sum(rest.total):
                rest.own = rest.total
                below.append((REST, rest, at))
        row, depth = below, depth + 1
    return levels, list(names)
