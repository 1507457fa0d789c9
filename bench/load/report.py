"""The page that tells people: tables and a plot, written without any dependency."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

SVG = "http://www.w3.org/2000/svg"
STYLE = 'font-size="13" role="img"'
WIDTH, LEFT, ROW = 760, 270, 30
ASIDE = ("milliseconds", "storm", "login")
"""Words in the names of ratios that are no share of what was before."""
BAR = WIDTH - LEFT - 90


def plot(ratios: Mapping[str, float]) -> str:
    """Bars of after/before: the shorter, the more is saved."""
    height = ROW * len(ratios) + 50
    parts = [
        f'<svg xmlns="{SVG}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" {STYLE}>',
        "<title>What each optimisation leaves of the time or bytes before it</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" fill="#555">share of what it was before (all: 100 %)</text>',
    ]
    for number, (name, ratio) in enumerate(ratios.items()):
        top = 36 + number * ROW
        label = f'x="{LEFT - 10}" y="{top + 15}" text-anchor="end" fill="#222"'
        length = max(2.0, min(ratio, 1.0) * BAR)
        parts += [
            f"<text {label}>{escape(name)}</text>",
            f'<rect x="{LEFT}" y="{top}" width="{BAR}" height="20" fill="#eef1f4"/>',
            f'<rect x="{LEFT}" y="{top}" width="{length:.1f}" height="20" fill="#2f6fb2"/>',
            f'<text x="{LEFT + BAR + 8}" y="{top + 15}" fill="#222">{ratio:.1%}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def page(result: Mapping[str, Any]) -> str:
    """The Markdown of `docs/performance.md`."""
    runs = result["runs"]
    limits = result["budget"]
    names = list(dict.fromkeys(name for run in runs.values() for name in run["ratios"]))
    rows = "\n".join(
        f"| {name} | "
        + " | ".join(f"{run['ratios'][name]:.3f}" for run in runs.values())
        + f" | {limits.get(name, '')} |"
        for name in names
    )
    loads = "\n".join(_load(where, run) for where, run in runs.items())
    return f"""# Performance

Written by `python -m bench.load --write` on {result["date"]}: {result["machine"]}. Speeds are of
that machine and that minute; only ratios of one run may be compared, and only they are held
(`bench/budget.json`; `make bench` fails above it).

## What each optimisation leaves

After divided by before, by turns in one process, with {result["products"]:,} products and
{result["orders"]:,} orders.

![shares](performance.svg)

| after / before | {" | ".join(runs)} | at most |
|---|{"---|" * len(runs)}---|
{rows}

"list" is `GET /api/products?limit=100`, "cached" is answered from the cache as bytes, "304" is
asked with the `ETag` of before, "page" is the last tenth of all products by price, "filter" is a
category by price, and "milliseconds" is how long nobody else is served while an answer of that size
is compressed.

What is promised of a 304 is processor time of the serving process ("processor"): by the clock, one
at a time, both it and the whole answer mostly wait for Redis.

"login storm" is 50 people who log in again and again while somebody reads, against the same reads
without them. "login, all on" is the median login with logging, checking and measuring on, against
the same service without them, and against the check of the password's hash alone.

## Under load

One worker, visitors of locust on the same machine, which take part of its processors.

{loads}
- *cold* asks what nobody has asked before, so every answer is a query; *warm* asks what the cache
  has; *list* takes a hundred products whole, *list, 304* asks whether they are still current.
- *mixed* browses, looks at best sellers, orders, and looks at its orders.
"""


def _load(where: str, run: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {name} | {o['rate']:,.0f} | {o['p50']:g} | {o['p95']:g} | {o['p99']:g} "
        f"| {o['cpu_us']:,.0f} |"
        for name, o in run["scenarios"].items()
    )
    wrk = "".join(
        f"\nwrk, which costs the machine less than locust, gets {rate:,.0f} requests/s from "
        f"`{path}`.\n"
        for path, rate in run["wrk"].items()
    )
    return f"""| on {where} | answers/s | p50 ms | p95 ms | p99 ms | CPU µs an answer |
|---|---|---|---|---|---|
{rows}
{wrk}"""


def write(result: Mapping[str, Any], folder: Path) -> None:
    """Write page and plot into a folder."""
    first = next(iter(result["runs"].values()))
    shares = {
        name: ratio
        for name, ratio in first["ratios"].items()
        if not any(word in name for word in ASIDE)
    }
    (folder / "performance.svg").write_text(plot(shares))
    (folder / "performance.md").write_text(page(result))
