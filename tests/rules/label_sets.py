"""Label sets of a query's operands: whether external labels of a store could come between them.

Series that a store returns carry its external labels (``cluster``, ``replica``); what an
aggregation ``by`` some labels returns does not. Without ``on``, the two match nowhere, and with
``or`` both come out: a rule that is evaluated over a store then fails, or stays silent.
"""

from typing import Any

import promql_parser as promql

SCALAR, AGGREGATED, STORED = "scalar", "aggregated", "stored"
_SETS = {"or", "and", "unless"}


class MixedOperandsError(Exception):
    """An operation without ``on`` has one operand with external labels and one without."""


def of(query: str) -> str:
    """The kind of label sets that a query returns: SCALAR, AGGREGATED or STORED.

    Raises:
        MixedOperandsError: The message has the operation.
    """
    return _kind(promql.parse(query))


def _kind(node: Any) -> str:
    match node:
        case promql.NumberLiteral() | promql.StringLiteral():
            return SCALAR
        case promql.VectorSelector() | promql.MatrixSelector():
            return STORED
        case promql.AggregateExpr():
            inner = _kind(node.expr)
            selects = str(node.op) in {"topk", "bottomk", "limitk"}
            return inner if selects else AGGREGATED
        case promql.Call():
            return _call(node)
        case promql.BinaryExpr():
            return _operation(node)
        case _:
            return _kind(node.expr)


def _call(node: Any) -> str:
    if node.func.name in {"time", "scalar", "pi"}:
        return SCALAR
    if node.func.name in {"vector", "absent", "absent_over_time"}:
        return AGGREGATED
    kinds = {_kind(each) for each in node.args} - {SCALAR}
    return kinds.pop() if kinds else SCALAR


def _operation(node: Any) -> str:
    left, right, name = _kind(node.lhs), _kind(node.rhs), str(node.op)
    if SCALAR in (left, right):
        return right if left == SCALAR else left
    matching = node.modifier and node.modifier.matching
    joined = matching is not None
    # `or on ()` adds nothing where the left side has anything.
    if left != right and (not joined or (name == "or" and matching.labels)):
        raise MixedOperandsError(str(node.prettify()))
    if name in _SETS or not joined:
        return left
    cardinality = str(node.modifier.card)
    if "ManyToOne" in cardinality:
        return left
    return right if "OneToMany" in cardinality else AGGREGATED
