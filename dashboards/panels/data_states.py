"""Data states: why a tile shows no value.

"No traffic" and "0 %" are measurements; without a target that answers there are none. A rate of
five minutes outlives its target by as long, so a value counts only while a target answers. Where
it has none, its query returns a number that stands for the reason, which value mappings write as
words, in grey: the text of a panel without data is fixed, and Grafana colours it as the lowest
threshold.
"""

from dataclasses import replace
from re import search

from dashboards.grafana import Json
from dashboards.panels.query import Query
from dashboards.style import Colour
from dashboards.variables import (
    CHOSEN,
    CHOSEN_JOB,
    CHOSEN_REDIS,
    CHOSEN_SERVER,
    REDIS,
    SERVER,
)
from rules.monitoring import UP
from rules.postgres_metrics import PG_UP
from rules.redis_metrics import REDIS_UP

TARGET_DOWN, NOT_SCRAPED, NOT_YET = -1_000_000_000, -2_000_000_000, -3_000_000_000
STATES = {
    TARGET_DOWN: "no data: target down",
    NOT_SCRAPED: "no data: nothing scraped",
    NOT_YET: "no data yet",
}
"""Numbers that stand for a reason, and its words; no figure of a board is as low."""

_OF_READERS = ((SERVER, PG_UP, CHOSEN_SERVER), (REDIS, REDIS_UP, CHOSEN_REDIS))
"""Servers that a reader reads: the variable, whether they answer it, and the chosen ones."""
_YOUNG = "2m"
"""Rates need two samples, and recorded ones some evaluations more."""


def explained(queries: tuple[Query, ...]) -> tuple[Query, ...]:
    """Let the queries of a tile return values only of targets that answer; the first says why not.

    A target answers if it did within a minute, so a single failed scrape hides no value. What has
    none then, as an objective has none, is not "no traffic": the target is down.
    """
    of_instances = any("$instance" in query.expr for query in queries)
    answers = next(
        (
            (metric, chosen)
            for variable, metric, chosen in _OF_READERS
            if any(f"${variable.name}" in query.expr for query in queries)
        ),
        None,
    )

    def up(window: str = "") -> str:
        if answers:  # it answers where its reader does and reaches it
            return answers[0].select("", window, **answers[1])
        if of_instances:
            return UP.select("", window, **CHOSEN)
        return UP.select("", window, job=CHOSEN_JOB)

    answering = f"sum(max_over_time({up('1m')}))"
    reasons = (
        f"(sum({up()}) == 0) + {TARGET_DOWN} or "
        f"sum(absent({up()})) * {NOT_SCRAPED} or "
        f"(sum({up()}) * 0 unless on () sum({up()} offset {_YOUNG})) + {NOT_YET}"
    )
    gated = [f"(({query.expr}) and on () ({answering} > 0))" for query in queries]
    named = search(r"{{(\w+)}}", queries[0].legend)
    if named:
        reasons = f'label_replace({reasons}, "{named[1]}", "now", "", "")'
    first = f"{gated[0]} or on () ({reasons})"
    return tuple(
        replace(query, expr=expr) for query, expr in zip(queries, (first, *gated[1:]), strict=True)
    )


def mappings(empty: str) -> list[Json]:
    """The value mappings of a tile; ``empty`` is its text without a value, for none of the reasons.

    Args:
        empty: The text.
    """
    words = {
        str(number): {"text": text, "color": Colour.MUTED.value, "index": index}
        for index, (number, text) in enumerate(STATES.items())
    }
    nothing = {"text": empty, "color": Colour.MUTED.value, "index": len(STATES)}
    return [
        {"type": "value", "options": words},
        {"type": "special", "options": {"match": "null+nan", "result": nothing}},
    ]
