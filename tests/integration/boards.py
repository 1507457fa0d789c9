"""Runs the queries of the boards on a Prometheus."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from dashboards.panels.data_states import STATES
from dashboards.rendered_queries import CHOICES, fill_in, panels

BOARDS = {
    board["uid"]: board
    for path in sorted((Path(__file__).parents[2] / "grafana" / "dashboards").glob("*.json"))
    for board in [json.loads(path.read_text())]
}
NO_VALUE_TEXTS = (
    "none",
    "no other instance to hear",
    "no layer of its own",
    "no standby",
    "no slot",
)
"""Beginnings of the texts of panels that may be empty: nothing is wrong or nothing exists."""
_MAY_BE_EMPTY = re.compile(
    r"create_time|connection_errors|OOM|request_body_size|workers_crashed|entries_refused|"
    r"connections_refused|cgroup_cpu_throttled|saturation:seconds_left|"
    r"\[7d:5m\]| @ 0|memory_limit_bytes\{[^}]*cgroup|blocking_site|worker_threads_held|"
    r"redis_server_(link_up|slow_commands)"
)
"""No connection was opened lately and none failed to open, Redis refused nothing, GET has no body,
no line blocked the event loop or held a thread that others waited for, no worker crashed, no entry
and no connection was refused, nothing grows towards its limit, five minutes have not passed, the
cgroup has no limit of its memory or CPU, Redis is no replica and no command of it was slow, and
queries of the year 1970 are for exemplars only."""


class PanelQuery(NamedTuple):
    """A query of a panel, with its variables filled in."""

    board: str
    title: str
    expr: str
    no_value: str
    """Text of the panel without a value."""

    @property
    def may_be_empty(self) -> bool:
        return bool(_MAY_BE_EMPTY.search(self.expr))


def panel_queries(choices: Mapping[str, str]) -> Iterator[PanelQuery]:
    """Every query of every panel."""
    for uid, board in BOARDS.items():
        for panel in panels(board):
            no_value = panel["fieldConfig"]["defaults"].get("noValue", "")
            for target in panel.get("targets", ()):
                expr = fill_in(target["expr"], {**CHOICES, **choices})
                yield PanelQuery(uid, panel["title"], expr, no_value)


def query(prometheus: str, promql: str) -> list[dict[str, Any]]:
    """The values of a query, without errors, warnings and infos."""
    response = httpx.get(f"{prometheus}/api/v1/query", params={"query": promql}, timeout=30).json()
    assert response["status"] == "success", (promql, response)
    assert not response.get("warnings"), (promql, response)
    assert not response.get("infos"), (promql, response)
    result: list[dict[str, Any]] = response["data"]["result"]
    return [each for each in result if float(each["value"][1]) not in STATES]
