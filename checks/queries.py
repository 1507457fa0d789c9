"""The queries of all boards, rules, runbooks and pages: they read what exists, and miss nothing."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import yaml

from alerts.rule_files import every_alert, render
from checks.files import ROOT
from checks.promql import ContractError, labels_of, series_of
from dashboards.__main__ import rendered
from dashboards.boards.registry import BOARDS
from dashboards.rendered_queries import fill_in, panels
from rules.engine import Engine
from rules.promql import series_in
from rules.signal import LEVELS
from vitals.metrics.catalogue import CATALOGUE

_CODE = re.compile(r"^```promql\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_QUOTED = re.compile(r"`([a-z][\w:]*(?:\{[^`]*\})?)`")
_LOOKED_UP = re.compile(r'printf "(.*?)" ')
_OFFERED = re.compile(r"label_values\((.*), \w+\)")
_FAMILIES = {name.partition("_")[0] for name in CATALOGUE}
_ENDINGS = ("_total", "_seconds", "_bytes", "_bucket", "_count", "_sum", "_ratio", "_info")

SourcedQuery = tuple[str, str]
"""The source of a query, and its PromQL."""


def check() -> Iterator[str]:
    """Yield the errors of all queries, and the metrics that none reads."""
    queries = list(all_queries())
    yield from errors(queries)
    yield from unread(queries, (ROOT / "docs" / "watch.md").read_text())


def errors(queries: Iterable[SourcedQuery]) -> Iterator[str]:
    """Yield the error of each query that has one, with its source."""
    for where, expr in queries:
        try:
            labels_of(expr)
        except (ContractError, ValueError) as error:
            yield f"{where}: {error}"


def unread(queries: Sequence[SourcedQuery], page: str) -> Iterator[str]:
    """Yield the metrics that no query reads and a page gives no reason for, and the reverse."""
    exprs = (expr for where, expr in queries if not where.startswith(("docs/", "README")))
    read = {series for expr in exprs for series in series_in(expr)}
    unused = {name for name, metric in CATALOGUE.items() if not read & {*series_of(metric)}}
    listed = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    for name in sorted(unused - listed):
        yield f"docs/watch.md: no query reads {name}: give the reason in a row, or add a panel"
    for name in sorted(listed - unused):
        yield f"docs/watch.md: delete the row of {name}, which is queried"


def all_queries() -> Iterator[SourcedQuery]:
    """Queries of boards, rules, runbooks and the other pages."""
    for board in BOARDS:
        yield from of_board(f"{board.uid}.json", json.loads(rendered(board)))
    for name, rules in render().items():
        yield from of_rules(name, yaml.safe_load(rules))
    for alert in every_alert(Engine.VICTORIAMETRICS):
        yield f"{alert.name} of {Engine.VICTORIAMETRICS}", alert.expr
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "alerts").rglob("*.md")]
    for path in sorted(pages):
        yield from of_page(str(path.relative_to(ROOT)), path.read_text())


def of_board(name: str, board: Any) -> Iterator[SourcedQuery]:
    """Queries of panels, variables and annotations."""
    for title, expr in panel_queries(board):
        yield f"{name}: {title}", expr
    for annotation in board["annotations"]["list"]:
        yield f"{name}: {annotation['name']}", fill_in(annotation["target"]["expr"])
    for variable in board["templating"]["list"]:
        if offered := _OFFERED.fullmatch(variable.get("definition", "")):
            yield f"{name}: ${variable['name']}", fill_in(offered[1])


def panel_queries(board: Any) -> list[SourcedQuery]:
    """Titles of panels, and PromQL without variables."""
    return [
        (panel["title"], fill_in(target["expr"]))
        for panel in panels(board)
        for target in panel.get("targets", ())
    ]


def of_rules(name: str, rules: Any) -> Iterator[SourcedQuery]:
    """Queries of rules, and those in the texts of their alerts."""
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        where = f"{name}: {rule.get('record') or rule.get('alert')}"
        yield where, rule["expr"]
        for text in rule.get("annotations", {}).values():
            for query in _LOOKED_UP.findall(text):
                yield where, query.replace("%q", "'value'")


def of_page(name: str, text: str) -> Iterator[SourcedQuery]:
    """PromQL blocks, and names in the text that look like metrics."""
    yield from ((name, query) for query in _CODE.findall(text))
    for word in _QUOTED.findall(text):
        if _is_of_a_series(word.partition("{")[0]):
            yield name, _as_selector(word)


def _is_of_a_series(name: str) -> bool:
    level, *metric_and_window = name.split(":")
    recorded = len(metric_and_window) == len(("metric", "window")) and level.split("_")[0] in LEVELS
    if recorded or name in CATALOGUE:
        return True
    return name.partition("_")[0] in _FAMILIES and name.endswith(_ENDINGS)


def _as_selector(word: str) -> str:
    """Complete a name: pages write a histogram without suffix and a label without value."""
    name, _, labels = word.partition("{")
    if name in CATALOGUE and CATALOGUE[name].kind == "histogram":
        name += "_count"
    named = [label.strip() for label in labels.removesuffix("}").split(",") if label.strip()]
    matchers = ",".join(label if '"' in label else f'{label}=""' for label in named)
    return f"{name}{{{matchers}}}" if named else name
