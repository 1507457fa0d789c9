"""The section of `docs/performance.md` on what all signals cost."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench.load.report import PRICE
from bench.price.plot import draw

PLOT = "price.svg"
TEXT = """{heading}

Written by `python -m bench.price --write` on {day}: one service, with an ORM query on PostgreSQL, a
Redis GET and a log line a request, once bare and once with each, in an environment of its own with
the same libraries; {rounds} turns of each in one run. The figure is processor time of the process,
all threads, until what it exports has left for a collector that answers: the median over the turns
of its share of bare in the same turn. The machine was busy with other work, so mind the quartiles.
All send traces, metrics (ours are scraped) and logs; Elastic APM and ddtrace put ids into logs,
which others ship.

![price]({plot})

| | µs | added | of bare | quartiles |
|---|---|---|---|---|
"""


def write(
    seconds: Mapping[str, float], spread: Mapping[str, tuple[float, float]], rounds: int, docs: Path
) -> None:
    """Write the section and its plot.

    Args:
        seconds: Processor time of a request, by name, ``bare`` first.
        spread: The quartiles of the turns, in shares of bare in the same turn.
        rounds: How many rounds there were.
        docs: The folder of the documentation.
    """
    bare = seconds["bare"]
    rows = [
        f"| {name} | {each * 1e6:,.0f} | {(each - bare) * 1e6:+,.0f} | {each / bare:.2f} "
        f"| {spread[name][0]:.2f} to {spread[name][1]:.2f} |"
        for name, each in seconds.items()
    ]
    section = TEXT.format(
        heading=PRICE, day=f"{datetime.now(UTC):%Y-%m-%d}", rounds=rounds, plot=PLOT
    )
    page = docs / "performance.md"
    before, _, old = page.read_text().partition(PRICE)
    _, found, after = old.partition("\n## ")
    page.write_text(before.rstrip() + "\n\n" + section + "\n".join([*rows, ""]) + found + after)
    added = {name: (each - bare) * 1e6 for name, each in seconds.items() if name != "bare"}
    draw(added, docs / PLOT)
