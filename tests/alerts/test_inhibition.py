"""Which alerts hold back which others: the declared pairs, and no other, in real Alertmanagers."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations, permutations
from typing import Any

import httpx
import pytest

from alerts import alertmanager
from alerts.alert import Severity
from alerts.inhibition import INHIBITIONS, Inhibition
from alerts.receivers import ReceiverSettings
from alerts.rule_files import every_alert
from checks.promql import labels_of
from tests import servers

Labels = dict[str, str]


def samples() -> Iterator[Labels]:
    """The labels of one firing alert of each kind, of all objectives that it can have."""
    for alert in every_alert():
        own = {**alert.labels, "severity": str(alert.severity), "alertname": alert.name}
        shared = dict.fromkeys(labels_of(alert.expr), "same")
        for slo in ("latency", "availability") if "slo" in shared else ("",):
            yield {**shared, **own, **({"slo": slo} if slo else {})}


SAMPLES = [labels for labels in samples() if labels["severity"] != Severity.NONE]


def declared(cause: Labels, consequence: Labels) -> bool:
    return any(pair.applies(cause, consequence) for pair in INHIBITIONS)


def example(pair: Inhibition) -> tuple[Labels, Labels]:
    """Two alerts of a pair, of one job."""
    return next(
        (one | {"job": "api"}, other | {"job": "api"})
        for one, other in permutations(SAMPLES, 2)
        if pair.applies(one | {"job": "api"}, other | {"job": "api"})
    )


def apart(labels: Labels, number: int) -> Labels:
    """The alert of another job, and of another service, database and Redis if it is of one."""
    shared = ("service", "db_namespace", "server_address")
    also: Labels = {name: f"{number}" for name in shared if name in labels}
    return {**labels, "job": f"job {number}", **also}


@pytest.fixture
def address(every_suite: str) -> Iterator[str]:
    settings = ReceiverSettings(webhook="http://127.0.0.1:1/")
    config = alertmanager.configuration(settings, "", alertmanager.NORMAL_TIMINGS)
    del config["templates"]  # no notification is rendered
    server = servers.start_alertmanager(config)
    yield f"{server.url}/api/v2/alerts"
    server.close()


def held_back(address: str, pairs: list[tuple[Labels, Labels]]) -> set[tuple[str, str]]:
    """Post pairs of alerts; number and side of each one that is inhibited."""
    ends = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
    body = [
        {"labels": {**alert, "number": str(number), "side": side}, "endsAt": ends}
        for number, pair in enumerate(pairs)
        for side, alert in zip(("one", "other"), pair, strict=True)
    ]
    httpx.post(address, json=body, timeout=60).raise_for_status()
    found: list[dict[str, Any]] = httpx.get(address, timeout=60).raise_for_status().json()
    assert len(found) == len(body)
    return {
        (alert["labels"]["number"], alert["labels"]["side"])
        for alert in found
        if alert["status"]["inhibitedBy"]
    }


@pytest.mark.servers
def test_alerts_are_held_back_by_those_that_explain_them_and_by_no_other(address: str) -> None:
    pairs = [
        (apart(one, number), apart(other, number))
        for number, (one, other) in enumerate(combinations(SAMPLES, 2))
    ]
    expected = {(str(n), "other") for n, (one, other) in enumerate(pairs) if declared(one, other)}
    expected |= {(str(n), "one") for n, (one, other) in enumerate(pairs) if declared(other, one)}
    for pair in INHIBITIONS:  # of another job, instance, cache or objective, it explains nothing
        for label in pair.equal:
            own = {name: f"{len(pairs)} {name}" for name in pair.equal}
            cause, consequence = (apart(alert, len(pairs)) | own for alert in example(pair))
            pairs.append((cause | {label: f"{len(pairs)} this"}, consequence))

    assert held_back(address, pairs) == expected
    assert len(expected) > len(INHIBITIONS)


def test_every_pair_holds_back_and_has_a_reason() -> None:
    for pair in INHIBITIONS:
        assert all(example(pair))
        assert pair.reason.endswith(".")


def test_a_ticket_never_holds_back_a_page() -> None:
    for one, other in permutations(SAMPLES, 2):
        if declared(one, other) and other["severity"] == Severity.PAGE:
            assert one["severity"] == Severity.PAGE


def test_no_two_alerts_hold_back_each_other() -> None:
    """Of two that explain each other, neither would be notified."""
    for one, other in combinations(SAMPLES, 2):
        assert not (declared(one, other) and declared(other, one))


@pytest.mark.parametrize(
    ("cause", "consequence"),
    [
        ("BudgetBurn", "CacheStoreDown"),
        ("ErrorRatioHigh", "EventLoopLagHigh"),
        ("TargetDown", "CacheStoreDown"),
        ("DBPoolTimeouts", "NPlusOne"),
        ("MetricsGone", "FilesRunOut"),
    ],
)
def test_a_page_does_not_hold_back_what_it_does_not_explain(cause: str, consequence: str) -> None:
    pages = [one for one in SAMPLES if one["alertname"] == cause and one["severity"] == "page"]
    tickets = [one for one in SAMPLES if one["alertname"] == consequence]
    assert pages
    assert tickets
    assert not [1 for page in pages for ticket in tickets if declared(page, ticket)]


def test_no_pair_is_declared_twice() -> None:
    pairs = [str(pair.rule()) for pair in INHIBITIONS]
    assert len(pairs) == len({*pairs})
