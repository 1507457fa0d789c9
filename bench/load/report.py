"""Report: `docs/performance.md` with tables and a plot, written without dependencies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

PRICE = "## What all signals cost"
"""The heading of the section that ``bench.price`` writes."""
SVG = "http://www.w3.org/2000/svg"
STYLE = 'font-size="13" role="img"'
WIDTH, LEFT, ROW = 760, 270, 30
NOT_SHARES = ("milliseconds", "storm", "login")
"""Words in the names of ratios that are not shares."""
BAR = WIDTH - LEFT - 90


def plot(ratios: Mapping[str, float]) -> str:
    """Bars of after/before: shorter is better."""
    height = ROW * len(ratios) + 50
    parts = [
        f'<svg xmlns="{SVG}" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" {STYLE}>',
        "<title>Time or bytes after each optimisation, as a share of before</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" fill="#555">share of before (100 %)</text>',
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

Written by `python -m bench.load --write` on {result["date"]}: {result["machine"]}. Absolute
figures are of that machine at that time; only ratios of one run are comparable, and only they have
budgets (`bench/budget.json`; `make bench` fails above them).

## Effect of each optimisation

Time or bytes after divided by before, interleaved in one process, with
{result["products"]:,} products and {result["orders"]:,} orders.

![shares](performance.svg)

| after / before | {" | ".join(runs)} | at most |
|---|{"---|" * len(runs)}---|
{rows}

"list" is `GET /api/products?limit=100`, "cached" is the response from the cache as bytes, "304" is
a conditional request with the current `ETag`, "page" is the last tenth of all products by price,
"filter" is a category by price, and "milliseconds" is how long compressing a response of that size
blocks the event loop.

The budget of a 304 is for processor time of the serving process ("processor"): in wall time, with
one request at a time, both it and the full response mostly wait for Redis.

"login storm" is the latency of reads while 50 users log in repeatedly, against the same reads
without them. "login, all on" is the median login with logging, validation and metrics on, against
the same service without them, and against verifying the password hash alone.

## Under load

One worker; locust runs on the same machine and uses part of its processors.

{loads}
- *cold* requests lists that are not cached, so every response is a query; *warm* reads cached ones;
  *list* reads a hundred products, *list, 304* revalidates them.
- *mixed* browses, reads best sellers, orders, and lists its orders.
"""


def _load(where: str, run: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {name} | {o['rate']:,.0f} | {o['p50']:g} | {o['p95']:g} | {o['p99']:g} "
        f"| {o['cpu_us']:,.0f} |"
        for name, o in run["scenarios"].items()
    )
    wrk = "".join(
        f"\nwrk, which uses less processor time than locust, gets {rate:,.0f} requests/s from "
        f"`{path}`.\n"
        for path, rate in run["wrk"].items()
    )
    return f"""| on {where} | responses/s | p50 ms | p95 ms | p99 ms | CPU µs per response |
|---|---|---|---|---|---|
{rows}
{wrk}"""


def write(result: Mapping[str, Any], folder: Path) -> None:
    """Write page and plot to a folder."""
    first = next(iter(result["runs"].values()))
    shares = {
        name: ratio
        for name, ratio in first["ratios"].items()
        if not any(word in name for word in NOT_SHARES)
    }
    (folder / "performance.svg").write_text(plot(shares))
    written = folder / "performance.md"
    _, found, price = (written.read_text() if written.exists() else "").partition(PRICE)
    written.write_text(page(result) + (f"\n{found}{price}" if found else ""))
