"""Metrics of the kit that neither a rule nor a board, a runbook or the doctor reads.

They are found by name in the rendered files, so nothing has to be listed: a panel that is added
keeps its metric.
"""

import json
import re
from pathlib import Path

from alerts.rule_files import render
from dashboards.boards.registry import BOARDS
from vitals.metrics import catalogue
from vitals.metrics.declarations import AnyMetric, Metric

_RUNBOOKS = Path(__file__).parents[1] / "alerts" / "runbooks"
_DOCTOR = Path(catalogue.__file__).parents[1] / "doctor" / "expectations.json"
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PARTS = {"histogram": ("_bucket", "_count", "_sum")}


def unread() -> tuple[str, ...]:
    """Names of series that can be dropped when they are scraped."""
    texts = [
        *render().values(),
        *(json.dumps(board.draw()) for board in BOARDS),
        *(path.read_text("utf-8") for path in sorted(_RUNBOOKS.glob("*.md"))),
        _DOCTOR.read_text("utf-8"),
    ]
    read = {word for text in texts for word in _WORD.findall(text)}
    return tuple(sorted(name for name in _exported() if name not in read))


def drop() -> dict[str, object]:
    """The relabeling of a scrape job that drops them."""
    return {"source_labels": ["__name__"], "regex": "|".join(unread()), "action": "drop"}


def _exported() -> set[str]:
    """Names of all series that the kit exports."""
    declared: list[AnyMetric] = [
        metric for metric in vars(catalogue).values() if isinstance(metric, Metric)
    ]
    return {
        f"{metric.name}{part}" for metric in declared for part in _PARTS.get(metric.kind, ("",))
    }
