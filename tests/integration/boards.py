"""Whether a Prometheus has an answer for what the boards ask."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from dashboards.rendered_queries import CHOICES, fill_in, panels

BOARDS = {
    board["uid"]: board
    for path in sorted((Path(__file__).parents[2] / "grafana" / "dashboards").glob("*.json"))
    for board in [json.loads(path.read_text())]
}
ALL_IS_WELL = ("none", "no invalidation bus", "no L1 cache")
"""How panels begin to speak that are empty because nothing is wrong or nothing is there."""
_SELDOM = re.compile(
    r"create_time|request_body_size|workers_ended|entries_refused|connections_refused|"
    r"\[7d:5m\]| @ 0"
)
"""No connection was opened lately, GET has no body, no worker ended, no entry and no connection was
refused, no five minutes are over, and what is asked of the year 1970 is only exemplars."""


class Question(NamedTuple):
    """A query of a panel, with its variables filled in."""

    board: str
    title: str
    expr: str
    said: str
    """What the panel says when there is no answer."""

    @property
    def may_be_empty(self) -> bool:
        return bool(_SELDOM.search(self.expr))


def questions(choices: Mapping[str, str]) -> Iterator[Question]:
    """Every query of every panel."""
    for uid, board in BOARDS.items():
        for panel in panels(board):
            said = panel["fieldConfig"]["defaults"].get("noValue", "")
            for target in panel.get("targets", ()):
                expr = fill_in(target["expr"], {**CHOICES, **choices})
                yield Question(uid, panel["title"], expr, said)


def ask(prometheus: str, promql: str) -> list[dict[str, Any]]:
    """The answer to a query, given without an error, a warning or a doubt."""
    told = httpx.get(f"{prometheus}/api/v1/query", params={"query": promql}, timeout=30).json()
    assert told["status"] == "success", (promql, told)
    assert not told.get("warnings"), (promql, told)
    assert not told.get("infos"), (promql, told)
    result: list[dict[str, Any]] = told["data"]["result"]
    return result
