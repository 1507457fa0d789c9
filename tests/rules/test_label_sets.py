"""No query mixes stored and aggregated series: external labels of a store change nothing."""

import pytest

from alerts.rule_files import every_alert, every_signal
from dashboards.boards.registry import BOARDS
from dashboards.rendered_queries import fill_in, panels
from tests.rules import label_sets

QUERIES = {
    **{record: signal.query for record, signal in every_signal().items()},
    **{f"{number} {alert.name}": alert.expr for number, alert in enumerate(every_alert())},
    **{
        f"{board.uid} {panel['title']} {target['refId']}": fill_in(target["expr"])
        for board in BOARDS
        for panel in panels(board.draw())
        for target in panel.get("targets", ())
    },
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_external_labels_come_between_no_operands(query: str) -> None:
    label_sets.of(query)


@pytest.mark.parametrize(
    "query",
    [
        "sum by (job) (rate(failed[5m])) or job:requests:rate5m * 0",
        "job:a / sum by (job) (b)",
        "a and sum by (job) (b)",
        "a unless max(b)",
        "(a > on (job) b) or a",
        "count by (job) (a) or on (job) a",
    ],
)
def test_mixed_operands_are_found(query: str) -> None:
    with pytest.raises(label_sets.MixedOperandsError):
        label_sets.of(query)


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("a / on (job) sum by (job) (b)", label_sets.AGGREGATED),
        ("a * on (job) group_left () sum by (job) (b)", label_sets.STORED),
        ("sum by (job) (a) * on (job) group_right () b", label_sets.STORED),
        ("topk(3, a)", label_sets.STORED),
        ("a unless on (job) max by (job) (b)", label_sets.STORED),
        ("sum(a) or on () b", label_sets.AGGREGATED),
        ("clamp_min(1 - a, 0) > 0.5", label_sets.STORED),
        ("time() - 1", label_sets.SCALAR),
    ],
)
def test_kinds(query: str, kind: str) -> None:
    assert label_sets.of(query) == kind
