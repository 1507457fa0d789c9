"""Proofs of drills: the link of a message leads, in a real store, to a trace of the cause."""

import asyncio
import time
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from stack.drills import proofs
from stack.drills.faults import FAULTS, alert_of
from stack.drills.proofs import FINGERPRINT, NoProofError, Proof
from tests.stack.store.storing import Store, storing, trace_id

SERVER, CLIENT = 2, 3
ROUTE = '/a+b & "c" 50%#/{id}'
LINE = {FINGERPRINT: "f1", "code.line.number": 57}
ERROR = "vitals.error.fingerprint"
WAITED = {"db.query.summary": "UPDATE items"}
RAISED = {
    "exception": {"exception.type": "KeyError", "exception.stacktrace": 'File "shop/orders.py"'}
}
REQUEST_ALERTS = {
    *("ErrorRatioHigh", "LatencyP95High", "BudgetBurn", "RouteFails", "RouteErrors", "RouteSlow"),
    *("NPlusOne", "QueriesMultiplied", "StatementSlower", "SlowQueryRatioHigh", "LockWaitLong"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with storing(tmp_path_factory.mktemp("store")) as started:
        kept = {"http.route": ROUTE, "vitals.kept": ["objective"]}
        failed = {"http.route": ROUTE, "vitals.kept": ["error"]}
        slow, repeated, broken, other, waited = (trace_id() for _ in range(5))
        found = {**failed, ERROR: "e1"}
        started.send_traces(
            {"trace": slow, "kind": SERVER, "ago": 9, "duration": 0.4, "attributes": kept},
            {"trace": slow, "kind": CLIENT, "ago": 9, "duration": 0.3, "attributes": LINE},
            {"trace": broken, "kind": SERVER, "ago": 6, "attributes": found, "events": RAISED},
            {"trace": other, "kind": SERVER, "ago": 2, "attributes": {**failed, ERROR: "e2"}},
            {"trace": waited, "kind": SERVER, "ago": 12, "duration": 0.9, "attributes": kept},
            {"trace": waited, "kind": CLIENT, "ago": 12, "duration": 0.8, "attributes": WAITED},
            {"trace": repeated, "kind": SERVER, "ago": 3, "attributes": {"http.route": "/rows"}},
            *({"trace": repeated, "kind": CLIENT, "ago": 3, "attributes": LINE} for _ in range(5)),
        ).raise_for_status()
        yield started


def follow(store: Store, proof: Proof, **parameters: str) -> str:
    now = time.time()
    times = {"from": f"{(now - 60) * 1000:.0f}", "to": f"{now * 1000:.0f}"}
    query = {"service": "shop", **times, **parameters}
    written = "&".join(f"{name}={quote(text, safe='')}" for name, text in query.items())

    async def run() -> str:
        async with httpx.AsyncClient() as client:
            link = f"http://viewer/user/traces/example/?{written}"
            return await proofs.check(link, proof, str(store.client.base_url), client)

    return asyncio.run(run())


def test_a_link_leads_to_a_trace_that_shows_the_cause(store: Store) -> None:
    assert "line" in follow(store, proofs.slow_statement(0.25), route=ROUTE, reason="objective")
    assert follow(store, proofs.slow_request(0.25), route=ROUTE, reason="objective")
    of_error = {"reason": "error", "q": f'{ERROR}="e1"'}
    assert follow(store, proofs.exception("KeyError", "orders.py"), **of_error)
    of_lock = '{span.db.query.summary = "UPDATE items" && duration > 500ms}'
    assert follow(store, proofs.slow_request(0.8), reason="objective", q=of_lock)
    assert follow(store, proofs.repeated_statement(5), route="/rows")


def test_where_no_trace_is_of_that_cause_the_newest_other_one_is_shown(store: Store) -> None:
    of_none = {"reason": "objective", "q": f'{ERROR}="e3"'}
    assert follow(store, proofs.slow_statement(0.25), **of_none)


@pytest.mark.parametrize(
    ("proof", "parameters"),
    [
        (proofs.slow_statement(0.35), {"reason": "objective"}),
        (proofs.slow_statement(0.25), {"reason": "error"}),
        (proofs.slow_request(0.45), {"reason": "objective"}),
        (proofs.repeated_statement(6), {"route": "/rows"}),
        (proofs.exception("ValueError", "orders.py"), {"reason": "error"}),
        (proofs.exception("KeyError", "orders.py"), {"reason": "error", "q": f'{ERROR}="e2"'}),
        (proofs.exception("KeyError", "items.py"), {"reason": "error"}),
        (proofs.slow_request(0), {"service": "other"}),
        (proofs.slow_request(0), {"route": "/other"}),
    ],
)
def test_a_trace_of_another_cause_or_none_is_no_proof(
    store: Store, proof: Proof, parameters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "_ARRIVAL_SECONDS", 0.0)
    with pytest.raises(NoProofError, match="leads to"):
        follow(store, proof, **parameters)


def test_a_trace_from_before_the_alert_is_no_proof(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "_ARRIVAL_SECONDS", 0.0)
    with pytest.raises(NoProofError, match="no trace"):
        follow(store, proofs.slow_request(0), **{"from": f"{time.time() * 1000:.0f}"})


def test_a_message_without_its_link_is_no_proof() -> None:
    with pytest.raises(NoProofError, match="does not lead"):
        asyncio.run(proofs.check("", proofs.slow_request(0), "", httpx.AsyncClient()))


def test_the_drill_of_every_request_alert_has_a_proof() -> None:
    without = {alert_of(name) for name, fault in FAULTS.items() if fault.proof is None}
    assert {alert_of(name) for name in FAULTS} >= REQUEST_ALERTS
    assert not without & REQUEST_ALERTS
