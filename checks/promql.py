"""Static check of PromQL: infers the labels of a result; unknown series or labels are errors.

A panel whose query reads a series that is not exported, or a label that an aggregation drops, is
empty without an error. Here it is one.
"""

import re
from collections import defaultdict
from functools import singledispatch
from typing import Any

import promql_parser as promql

from alerts.rule_files import every_signal
from rules import monitoring, postgres_metrics, redis_metrics, victoriametrics
from vitals.metrics.catalogue import CATALOGUE
from vitals.metrics.declarations import AnyMetric, Counter, Gauge, Histogram

Labels = frozenset[str]
SET_OPERATORS = {"and", "unless", "or"}


class ContractError(LookupError):
    """A query uses an unknown series, label or bucket."""


def series_of(metric: AnyMetric) -> tuple[str, ...]:
    """The series names of a metric in Prometheus."""
    parts = ("_bucket", "_count", "_sum") if isinstance(metric, Histogram) else ("",)
    return tuple(metric.name + part for part in parts)


def _provided() -> dict[str, Labels]:
    series: dict[str, Labels] = defaultdict(frozenset)
    for signal in every_signal().values():
        series[signal.record] = frozenset(signal.labels)
    others = (monitoring, postgres_metrics, redis_metrics, victoriametrics)
    values = (each for module in others for each in vars(module).values())
    declared = (each for each in values if isinstance(each, Counter | Gauge))
    for metric in (*CATALOGUE.values(), *declared):
        for name in series_of(metric):
            series[name] |= {"job", "instance", *metric.label_names}
            series[name] |= {"le"} if name.endswith("_bucket") else frozenset()
    return dict(series)


PROVIDED = _provided()
_EDGES = {
    f"{metric.name}_bucket": (*map(str, metric.buckets), "+Inf")
    for metric in CATALOGUE.values()
    if isinstance(metric, Histogram)
}


def labels_of(expr: str) -> Labels:
    """The labels that the result of a query may have.

    Raises:
        ContractError: The query uses an unknown series, label or bucket.
        ValueError: It is not valid PromQL.
    """
    return _labels(promql.parse(expr))


@singledispatch
def _labels(node: Any) -> Labels:
    inner = getattr(node, "expr", None)  # parentheses, minus, subqueries
    return _labels(inner) if inner is not None else frozenset()


@_labels.register
def _(node: promql.VectorSelector) -> Labels:
    if node.name not in PROVIDED:
        raise ContractError(f"unknown series {node.name}: {node}")
    matchers = node.matchers.matchers
    _require({matcher.name for matcher in matchers}, PROVIDED[node.name], node)
    for matcher in matchers:
        if matcher.name == "le":
            _require_bucket(node.name, matcher, node)
    return PROVIDED[node.name]


@_labels.register
def _(node: promql.MatrixSelector) -> Labels:
    return _labels(node.vector_selector)


@_labels.register
def _(node: promql.AggregateExpr) -> Labels:
    inner = _labels(node.expr)
    named = _require(node.modifier.labels, inner, node) if node.modifier else frozenset[str]()
    if str(node.op) in {"topk", "bottomk"}:  # these select series and keep their labels
        return inner
    if node.modifier is None:
        return frozenset()
    if str(node.op) == "count_values":  # the value becomes a label
        named |= {getattr(node.param, "val", "")}
    return named if node.modifier.type == promql.AggModifierType.By else inner - named


@_labels.register
def _(node: promql.Call) -> Labels:
    arguments = [_labels(argument) for argument in node.args]
    inner = frozenset[str]().union(*arguments)
    if node.func.name == "label_replace":
        return inner | {node.args[1].val} | _require({node.args[3].val} - {""}, inner, node)
    if node.func.name == "histogram_quantile":
        return inner - _require({"le"}, inner, node)
    return frozenset() if node.func.name in {"scalar", "vector", "time"} else inner


@_labels.register
def _(node: promql.BinaryExpr) -> Labels:
    left, right = _labels(node.lhs), _labels(node.rhs)
    matching = node.modifier.matching if node.modifier else None
    on = matching is not None and matching.type == promql.LabelModifierType.Include
    named = frozenset(matching.labels) if matching else frozenset()
    if on:
        _require(named, left & right, node)
    if (operator := str(node.op)) in SET_OPERATORS:
        return left | right if operator == "or" else left
    if node.modifier is None:  # all labels must match, unless one side is a number
        return left & right if left and right else left | right
    carried = frozenset(node.modifier.group_labels or ())
    if node.modifier.card == promql.VectorMatchCardinality.ManyToOne:
        return left | _require(carried, right, node)
    if node.modifier.card == promql.VectorMatchCardinality.OneToMany:
        return right | _require(carried, left, node)
    return named if on else left - named


def _require_bucket(name: str, matcher: Any, where: Any) -> None:
    """Raise for an unknown bucket, and for 1, which Prometheus 3 stores as 1.0."""
    edges = _EDGES.get(name, ())
    texts = {*edges, *(edge.removesuffix(".0") for edge in edges)}
    if matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe):
        found = any(re.fullmatch(matcher.value, text) for text in texts)
    elif found := matcher.value in texts:
        whole = matcher.value.removesuffix(".0")
        if f"{whole}.0" in edges:
            raise ContractError(f'write le=~"{whole}([.]0)?", as versions differ, in {where}')
    if edges and not found:
        raise ContractError(f"no bucket has the bound {matcher.value} in {where}; edges: {edges}")


def _require(named: Any, there: Labels, where: Any) -> Labels:
    if missing := sorted({*named} - there):
        raise ContractError(f"no label {', '.join(missing)} in {where}; there: {sorted(there)}")
    return frozenset(named)
