"""The drills: every alert has a fault, and the results are in the documentation."""

import asyncio
import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import httpx
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from alerts.alert import Alert
from alerts.rule_files import every_alert
from stack import readiness
from stack.drills import api_faults, checks, results_table
from stack.drills.defects import DEFECTS
from stack.drills.drill import DrillResult
from stack.drills.fault import EXCLUSIVE
from stack.drills.faults import FAULTS, alert_of
from stack.drills.observer import Observer
from stack.process.process import Process, Program
from tests.servers import Postgres


def test_all_connections_are_held_despite_waiting_requests(tmp_path: Path) -> None:
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
            await asyncio.sleep(0.2)  # several pool timeouts
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
def test_a_running_target_is_not_affected_by_the_revoked_login(
    postgres: Postgres, tmp_path: Path
) -> None:
    port, url = readiness.free_port(), make_url(postgres.database())
    (tmp_path / "password").write_text(url.password or "")
    environment = {
        "DEFECTIVE_DATABASE_URL": url.set(password=None).render_as_string(),
        "DEFECTIVE_PASSWORD_FILE": str(tmp_path / "password"),
        "DEFECTIVE_NAME": "defective",
    }
    command = [sys.executable, "-m", "stack.drills.defective_service", f"--port={port}", "--pool=3"]
    service = Process(Program("defective", command, env=environment), log=tmp_path / "log")
    service.start()
    try:
        service.wait_ready(lambda: readiness.http_answers(port, "/wait"), 60)
        postgres.sql("ALTER ROLE vitals NOLOGIN")
        begun = httpx.post(f"http://127.0.0.1:{port}/defects/connections", timeout=20)
        assert begun.status_code == 200, begun.text
    finally:
        postgres.sql("ALTER ROLE vitals LOGIN")
        service.stop()


@pytest.mark.servers
def test_no_connection_escapes_that_was_opened_while_the_login_was_revoked(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = make_url(postgres.database())
    secret = tmp_path / "postgres-password"
    secret.write_text(url.password or "")
    secret.chmod(0o600)
    here = SimpleNamespace(secrets=tmp_path, ports=SimpleNamespace(postgres=postgres.port))

    async def scenario() -> None:
        environment: Any = SimpleNamespace(here=here)
        fault = asyncio.create_task(api_faults._revoke_login(environment))
        while "f" not in postgres.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'vitals'"):
            await asyncio.sleep(0.05)
        postgres.sql("ALTER ROLE vitals LOGIN")
        late = await asyncpg.connect(
            url.set(drivername="postgresql").render_as_string(hide_password=False),
            server_settings={"application_name": "service"},
        )
        try:
            async with asyncio.timeout(20):
                while not late.is_closed():
                    await asyncio.sleep(0.05)
        finally:
            fault.cancel()
            await asyncio.gather(fault, return_exceptions=True)
        assert postgres.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'vitals'") == "t"

    asyncio.run(scenario())


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
    assert {held for fault in FAULTS.values() for held in fault.inhibits} <= names


def test_a_page_and_a_ticket_do_not_share_a_job_at_the_same_time() -> None:
    """Otherwise a drill waits for the other's page to end. Those of one lane do so anyway."""
    severities = {alert.name: str(alert.severity) for alert in every_alert()}
    severities["BudgetBurn/1d"] = severities["BudgetBurn/3d"] = "ticket"
    severities |= dict.fromkeys(("BudgetBurn", "BudgetBurn/6h"), "page")
    expected: dict[str, dict[str, set[str]]] = {}
    for name, fault in FAULTS.items():
        if fault.lane not in {EXCLUSIVE, "api"}:
            severity = severities.get(name) or severities[alert_of(name)]
            lanes = expected.setdefault(fault.job, {})
            lanes.setdefault(fault.lane or name, set()).add(severity)
    assert [
        job
        for job, lanes in expected.items()
        if len(lanes) > 1 and len(set[str]().union(*lanes.values())) > 1
    ] == []


def test_the_documentation_has_a_result_of_every_fault() -> None:
    text = results_table.DOCUMENT.read_text()
    assert results_table.rows(text).keys() == FAULTS.keys()


def test_rows_are_written_in_the_table_alone(tmp_path: Path) -> None:
    seconds = {"fired": 1.0, "notified": 2.04, "ended": 3.0, "resolved": 7.5}
    first, second = (
        DrillResult(name, "page", seconds) for name in ("ErrorRatioHigh", "BudgetBurn/6h")
    )
    document = tmp_path / "alerts.md"
    old = "| Gone | page | from last time |\n| ErrorRatioHigh | page | kept |"
    document.write_text(f"before\n{results_table.BEGIN}\n{old}\n{results_table.END}\nafter\n")
    results_table.write([first, second], document, only_new=True)
    text = document.read_text()
    assert text.startswith(f"before\n{results_table.BEGIN}\n")
    assert text.endswith(f"{results_table.END}\nafter\n")
    assert "from last time" not in text
    assert "| ErrorRatioHigh | page | kept |" in text
    assert "| BudgetBurn (6h) | page | two of five requests" in text
    assert "| 1.0 | 2.0 | 4.5 |  |" in text
    results_table.write([first], document, only_new=True)
    assert document.read_text() == text
    results_table.write([first], document)
    assert "kept" not in document.read_text()
    assert "| 1.0 | 2.0 | 4.5 | `BudgetBurn` |" in document.read_text()
    assert results_table.rows(document.read_text()).keys() == {"ErrorRatioHigh", "BudgetBurn/6h"}


def test_defect_names_fit_a_url() -> None:
    assert all(re.fullmatch("[a-z]+", name) for name in DEFECTS)


# -- Checks fail when they should --------------------------------------------------------------


def notification(**labels: str) -> dict[str, Any]:
    found = {"alertname": "NPlusOne", "job": "api"} | labels
    group = {"alertname": "NPlusOne", "job": "api"}
    return {"received": "now", "alert": "NPlusOne", "labels": found, "group": group}


def observed(**state: Any) -> Observer:
    return cast("Observer", SimpleNamespace(**state))


def test_an_alert_of_another_job_in_the_message_is_detected() -> None:
    ours, other = notification(http_route="/a"), notification(job="shop")
    assert "2 alerts" in checks.check_group(
        ours, observed(notifications=[ours, notification(http_route="/b")])
    )
    with pytest.raises(checks.CheckError, match="shop"):
        checks.check_group(ours, observed(notifications=[ours, other]))
    with pytest.raises(checks.CheckError, match="grouped by"):
        checks.check_group(ours | {"group": {}}, observed(notifications=[ours]))


def test_inhibited_means_by_this_alert_and_for_this_job() -> None:
    status = {"inhibitedBy": ["f1"], "silencedBy": []}
    known = [
        {"fingerprint": "f1", "labels": {"alertname": "TargetDown"}, "status": {"inhibitedBy": []}},
        {
            "fingerprint": "f2",
            "labels": {"alertname": "InstanceDown", "job": "api"},
            "status": status,
        },
    ]
    observer = observed(alertmanager_alerts=known)
    assert checks.is_inhibited("InstanceDown", "api", "TargetDown", observer)
    assert not checks.is_inhibited("InstanceDown", "shop", "TargetDown", observer)
    assert not checks.is_inhibited("InstanceDown", "api", "ErrorRatioHigh", observer)
    notified = known[1] | {"fingerprint": "f3", "status": {"inhibitedBy": [], "silencedBy": []}}
    assert not checks.is_inhibited(
        "InstanceDown", "api", "TargetDown", observed(alertmanager_alerts=[*known, notified])
    )


def test_a_message_of_an_earlier_drill_is_ignored() -> None:
    old = {"received": "2026-01-01T00:00:00", "title": "[FIRING 1] NPlusOne api", "text": "N+1 !"}
    current = notification() | {"summary": "N+1"}
    assert checks.find_message(current, "2025", observed(messages=[old])) == "N+1 !"
    assert checks.find_message(current, "2026-02", observed(messages=[old])) == ""


def test_the_end_of_another_firing_is_ignored() -> None:
    def note(starts: str, ends: str) -> dict[str, str]:
        return {"starts": f"2026-01-02T00:{starts}Z", "ends": f"2026-01-02T00:{ends}Z"}

    fired = "2026-01-02T00:05:02.5Z"
    assert checks.is_end(note("05:02.5", "06:00"), fired)
    assert checks.is_end(note("05:00", "06:00"), fired), "reported by the reconciler"
    assert not checks.is_end(note("01:00", "02:00"), fired)
    assert not checks.is_end(note("05:03", "06:00"), fired)
