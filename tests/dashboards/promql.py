"""Work out which labels the answer to a query carries, and complain of what cannot exist.

A panel that asks for a series nobody writes, or names a label that an aggregation has dropped, is
empty without an error. Here it is one.
"""

from functools import singledispatch
from typing import Any

import promql_parser as promql

from alerts.rules import every_signal
from alerts.signals.watch import OF_THE_WATCH
from vitals.catalogue import CATALOGUE
from vitals.metric import Histogram

Labels = frozenset[str]
SET_OPERATORS = {"and", "unless", "or"}


class ContractError(LookupError):
    """A query asks for a series or a label that nothing provides."""


def _provided() -> dict[str, Labels]:
    scraped = frozenset({"job", "instance"})
    series = {signal.record: frozenset(signal.labels) for signal in every_signal().values()}
    for metric in (*CATALOGUE.values(), *OF_THE_WATCH):
        labels = scraped | frozenset(metric.label_names)
        if isinstance(metric, Histogram):
            series[f"{metric.name}_bucket"] = labels | {"le"}
            series[f"{metric.name}_count"] = series[f"{metric.name}_sum"] = labels
        else:
            series[metric.name] = labels
    return series


PROVIDED = _provided()


def labels_of(expr: str) -> Labels:
    """The labels that the answer to a query may carry.

    Raises:
        ContractError: The query asks for what nothing provides.
        ValueError: It is not PromQL.
    """
    return _labels(promql.parse(expr))


@singledispatch
def _labels(node: Any) -> Labels:
    inner = getattr(node, "expr", None)  # parentheses, minus, subqueries
    return _labels(inner) if inner is not None else frozenset()


@_labels.register
def _(node: promql.VectorSelector) -> Labels:
    if node.name not in PROVIDED:
        raise ContractError(f"nothing writes {node.name}: {node}")
    _demand({matcher.name for matcher in node.matchers.matchers}, PROVIDED[node.name], node)
    return PROVIDED[node.name]


@_labels.register
def _(node: promql.MatrixSelector) -> Labels:
    return _labels(node.vector_selector)


@_labels.register
def _(node: promql.AggregateExpr) -> Labels:
    inner = _labels(node.expr)
    if node.modifier is None:
        return inner if str(node.op) in {"topk", "bottomk"} else frozenset()
    named = _demand(node.modifier.labels, inner, node)
    return named if node.modifier.type == promql.AggModifierType.By else inner - named


@_labels.register
def _(node: promql.Call) -> Labels:
    arguments = [_labels(argument) for argument in node.args]
    inner = frozenset[str]().union(*arguments)
    if node.func.name == "label_replace":
        return inner | {node.args[1].val} | _demand({node.args[3].val} - {""}, inner, node)
    if node.func.name == "histogram_quantile":
        return inner - _demand({"le"}, inner, node)
    return frozenset() if node.func.name in {"scalar", "vector", "time"} else inner


@_labels.register
def _(node: promql.BinaryExpr) -> Labels:
    left, right = _labels(node.lhs), _labels(node.rhs)
    matching = node.modifier.matching if node.modifier else None
    on = matching is not None and matching.type == promql.LabelModifierType.Include
    named = frozenset(matching.labels) if matching else frozenset()
    if on:
        _demand(named, left & right, node)
    if (operator := str(node.op)) in SET_OPERATORS:
        return left | right if operator == "or" else left
    if node.modifier is None:  # all labels have to match, unless one side is but a number
        return left & right if left and right else left | right
    carried = frozenset(node.modifier.group_labels or ())
    if node.modifier.card == promql.VectorMatchCardinality.ManyToOne:
        return left | _demand(carried, right, node)
    if node.modifier.card == promql.VectorMatchCardinality.OneToMany:
        return right | _demand(carried, left, node)
    return named if on else left - named


def _demand(named: Any, there: Labels, where: Any) -> Labels:
    if missing := sorted({*named} - there):
        raise ContractError(f"no label {', '.join(missing)} in {where}; there: {sorted(there)}")
    return frozenset(named)
