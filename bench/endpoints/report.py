"""Report: tables on the terminal, and tables and a plot in `docs/`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.endpoints.plot import draw
from bench.interleave import report

Result = Mapping[str, Any]
BEGIN, END = "<!-- written by bench.endpoints -->", "<!-- end of bench.endpoints -->"


def print_result(result: Result) -> None:
    """Print a table for each database system and one JSON line for all."""
    for system, of in result["systems"].items():
        rows = [
            [
                name,
                f"{of['ms'][name]['naive']:.2f}",
                f"{of['ms'][name]['ours']:.2f}",
                f"{ratio:.3f}",
                of["findings"][name] or "nothing",
            ]
            for name, ratio in of["ratios"].items()
        ]
        columns = ["", "naive ms", "ours ms", "ours / naive", "finding"]
        report(f"Endpoints on {system}", columns, rows, {"bench": f"endpoints, {system}"})
    brief = {
        system: {name: of[name] for name in ("ms", "ratios", "findings")}
        for system, of in result["systems"].items()
    }
    outline = {name: each for name, each in result.items() if name not in {"systems", "cases"}}
    report("", [], [], outline | {"systems": brief})


def page(result: Result) -> str:
    """The tables for `docs/queries.md`."""
    size, systems = result["size"], result["systems"]
    head = " | ".join(systems)
    ratios = "\n".join(
        f"| {name} | {each['fault']} | {each['change']} | "
        + " | ".join(f"{systems[s]['ratios'][name]:.3f}" for s in systems)
        + " |"
        for name, each in result["cases"].items()
    )
    first, of = next(iter(systems.items()))
    slow = "\n".join(
        f"| {number} | {one['share']:.0%} | {one['summary']} | {one['calls']} | "
        f"{one['mean'] * 1000:.1f} | `{one['routes'][0]['route']}` | "
        f"`{one['routes'][0]['source'].rpartition('/')[2]}` |"
        for number, one in enumerate(of["ranking"], 1)
    )
    findings = "\n".join(f"| {name} | {_short(line)} |" for name, line in of["findings"].items())
    return f"""{BEGIN}
Written by `python -m bench.endpoints --write` on {result["date"]}: {result["machine"]};
{size["users"]:,} users, {size["products"]:,} products and {size["orders"]:,} orders. Milliseconds
are of that machine and that minute; only ratios of one run may be compared.

### The bottleneck list of the naive endpoints ({first})

| # | share | statement | calls | mean ms | route | line |
|---|---|---|---|---|---|---|
{slow}

### What the tools say of them ({first})

| endpoint | said |
|---|---|
{findings}

### What was changed, and what is left of the time

Ours divided by naive, alternating in one process, without caches:

| endpoint | naive | change | {head} |
|---|---|---|{"---|" * len(systems)}
{ratios}

![How many times faster](queries.svg)
{END}"""


def _short(line: str) -> str:
    return re.sub(r"^\d+ requests of ", "requests of ", line).replace("|", "\\|")


def write(result: Result, folder: Path) -> None:
    """Write tables and plot to a folder; the surrounding text stays."""
    times = {
        system: {name: 1 / ratio for name, ratio in of["ratios"].items()}
        for system, of in result["systems"].items()
    }
    (folder / "queries.svg").write_text(draw(times))
    there = folder / "queries.md"
    before, _, rest = there.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    there.write_text(before + page(result) + after)
