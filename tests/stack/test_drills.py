"""Every alert has a fault that brings it, and what the drills found is what the page tells."""

import asyncio
import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from alerts.alert import Alert
from alerts.rule_files import every_alert
from stack import readiness
from stack.drills import checks, table
from stack.drills.defects import DEFECTS
from stack.drills.drill import Outcome
from stack.drills.fault import ALONE
from stack.drills.faults import FAULTS, alert_of
from stack.drills.observer import Sight
from stack.process.process import Process, Program
from tests.servers import Postgres


def test_all_connections_are_held_however_many_requests_want_them(tmp_path: Path) -> None:
    async def scenario() -> None:
        engine = create_async_engine(
            f"sqlite+aiosqlite:///{tmp_path}/pool.db",
            poolclass=AsyncAdaptedQueuePool,
            pool_size=2,
            max_overflow=0,
            pool_timeout=0.05,
        )
        service = cast("Any", SimpleNamespace(engine=engine, pool=2))
        others = [await engine.connect() for _ in range(2)]
        async with AsyncExitStack() as defects:
            held = asyncio.create_task(defects.enter_async_context(DEFECTS["connections"](service)))
            await asyncio.sleep(0.2)  # waited for in vain several times over
            assert not held.done()
            for connection in others:
                await connection.close()
            await held
            with pytest.raises(PoolTimeoutError):
                await engine.connect()
        async with engine.connect():
            pass
        await engine.dispose()

    asyncio.run(scenario())


@pytest.mark.servers
def test_a_service_that_runs_is_not_kept_out_by_the_drill_that_shuts_out_its_role(
    postgres: Postgres, tmp_path: Path
) -> None:
    port, url = readiness.free_port(), make_url(postgres.database())
    (tmp_path / "password").write_text(url.password or "")
    environment = {
        "DEFECTIVE_DATABASE_URL": url.set(password=None).render_as_string(),
        "DEFECTIVE_PASSWORD_FILE": str(tmp_path / "password"),
    }
    words = [sys.executable, "-m", "stack.drills.defective", f"--port={port}", "--pool=3"]
    service = Process(Program("defective", words, env=environment), log=tmp_path / "log")
    service.start()
    try:
        service.wait_ready(lambda: readiness.http_answers(port, "/wait"), 60)
        postgres.sql("ALTER ROLE vitals NOLOGIN")
        begun = httpx.post(f"http://127.0.0.1:{port}/defects/connections", timeout=20)
        assert begun.status_code == 200, begun.text
    finally:
        postgres.sql("ALTER ROLE vitals LOGIN")
        service.stop()


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: f"{alert.name}{alert.labels}")
def test_every_alert_has_a_fault(alert: Alert) -> None:
    faults = [fault for name, fault in FAULTS.items() if alert_of(name) == alert.name]
    assert any(
        all(fault.labels.get(label, text) == text for label, text in alert.labels.items())
        and (not alert.labels or alert.labels.keys() & fault.labels.keys())
        for fault in faults
    )


def test_every_fault_has_an_alert() -> None:
    names = {alert.name for alert in every_alert()}
    assert {alert_of(name) for name in FAULTS} == names
    assert {held for fault in FAULTS.values() for held in fault.holds_back} <= names


def test_a_page_shares_its_job_with_no_ticket_at_the_same_time() -> None:
    """Or it would hold the ticket back, and the ticket's drill would wait in vain."""
    severities = {alert.name: str(alert.severity) for alert in every_alert()}
    severities["BudgetBurn/1d"] = severities["BudgetBurn/3d"] = "ticket"
    severities |= dict.fromkeys(("BudgetBurn", "BudgetBurn/6h"), "page")
    told: dict[tuple[str, str], set[str]] = {}
    for name, fault in FAULTS.items():
        if fault.lane not in {ALONE, "api"}:
            severity = severities.get(name) or severities[alert_of(name)]
            told.setdefault((fault.job, "any"), set()).add(severity)
    assert [where for where, found in told.items() if len(found) > 1] == []


def test_the_page_tells_of_a_run_of_every_fault() -> None:
    text = table.DOCUMENT.read_text()
    rows = text.partition(table.BEGIN)[2].partition(table.END)[0]
    told = re.findall(r"^\| ([A-Z]\w+)(?: \((\w+)\))? \|", rows, re.MULTILINE)
    assert {f"{alert}/{which}" if which else alert for alert, which in told} == {*FAULTS}


def test_the_table_takes_its_place_and_leaves_the_rest(tmp_path: Path) -> None:
    seconds = {"fired": 1.0, "told": 2.04, "mended": 3.0, "resolved": 7.5}
    outcomes = [
        Outcome("BudgetBurn/6h", "page", seconds),
        Outcome("ErrorRatioHigh", "page", seconds),
    ]
    document = tmp_path / "alerts.md"
    document.write_text(f"before\n{table.BEGIN}\nfrom last time\n{table.END}\nafter\n")
    table.write(outcomes, document)
    text = document.read_text()
    assert text.startswith(f"before\n{table.BEGIN}\n")
    assert text.endswith(f"{table.END}\nafter\n")
    assert "from last time" not in text
    assert "| BudgetBurn (6h) | page | two of five requests" in text
    assert "| 1.0 | 2.0 | 4.5 | `BudgetBurn` |" in text


def test_defects_have_names_that_fit_an_address() -> None:
    assert all(re.fullmatch("[a-z]+", name) for name in DEFECTS)


# -- Checks that must be able to fail -----------------------------------------------------------


def note(**labels: str) -> dict[str, Any]:
    found = {"alertname": "NPlusOne", "job": "api"} | labels
    group = {"alertname": "NPlusOne", "job": "api"}
    return {"received": "now", "alert": "NPlusOne", "labels": found, "group": group}


def seen(**what: Any) -> Sight:
    return cast("Sight", SimpleNamespace(**what))


def test_a_stranger_in_the_same_message_is_noticed() -> None:
    ours, stranger = note(http_route="/a"), note(job="shop")
    assert "2 alerts" in checks.check_group(ours, seen(notes=[ours, note(http_route="/b")]))
    with pytest.raises(checks.CheckError, match="shop"):
        checks.check_group(ours, seen(notes=[ours, stranger]))
    with pytest.raises(checks.CheckError, match="grouped by"):
        checks.check_group(ours | {"group": {}}, seen(notes=[ours]))


def test_held_back_means_by_this_alert_and_on_this_job() -> None:
    status = {"inhibitedBy": ["f1"], "silencedBy": []}
    known = [
        {"fingerprint": "f1", "labels": {"alertname": "TargetDown"}, "status": {"inhibitedBy": []}},
        {
            "fingerprint": "f2",
            "labels": {"alertname": "InstanceDown", "job": "api"},
            "status": status,
        },
    ]
    sight = seen(known=known)
    assert checks.is_held_back("InstanceDown", "api", "TargetDown", sight)
    assert not checks.is_held_back("InstanceDown", "shop", "TargetDown", sight)
    assert not checks.is_held_back("InstanceDown", "api", "ErrorRatioHigh", sight)
    told = known[1] | {"fingerprint": "f3", "status": {"inhibitedBy": [], "silencedBy": []}}
    assert not checks.is_held_back("InstanceDown", "api", "TargetDown", seen(known=[*known, told]))


def test_a_message_of_an_earlier_drill_is_not_taken_for_this_one() -> None:
    old = {"received": "2026-01-01T00:00:00", "title": "[FIRING 1] NPlusOne api", "text": "N+1 !"}
    told = note() | {"summary": "N+1"}
    assert checks.find_message(told, "2025", seen(messages=[old])) == "N+1 !"
    assert checks.find_message(told, "2026-02", seen(messages=[old])) == ""
