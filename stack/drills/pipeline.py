"""Faults of the watch itself: of the Prometheus and Alertmanager that drills run."""

import asyncio
import itertools
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx

from stack import monitoring_config, readiness
from stack.drills.fault import ALONE, Fault, Inject

if TYPE_CHECKING:
    from stack.drills.environment import Ground

# Two series for one name: Prometheus evaluates it and fails.
_FAILS = """
groups:
  - name: drill
    rules:
      - record: drill
        expr: label_replace({__name__=~"up|scrape_duration_seconds"}, "instance", "", "", "")
"""
_UNREADABLE = "groups: none, for this is no file of rules\n"
# Six million steps, which takes seconds.
_HEAVY = """
groups:
  - name: drill
    rules:
      - record: drill
        expr: max_over_time(vector(1)[100m:1ms])
"""


def _rules(text: str) -> Inject:
    async def inject(ground: "Ground") -> None:
        with ground.rules(text):
            await asyncio.Event().wait()

    return inject


async def _stop_alertmanager(ground: "Ground") -> None:
    with ground.stopped("alertmanager"):
        await asyncio.Event().wait()


async def _revoke_slack(ground: "Ground") -> None:
    """Slack's address is of no use, while there is something to tell every second."""
    inbox = f"http://{readiness.LOOPBACK}:{ground.aside.ports.inbox}"
    ground.aside.write("alertmanager", monitoring_config.SLACK, f"{inbox}/revoked")
    try:
        for number in itertools.count():
            await _post_notice(ground, number)
            await asyncio.sleep(1)
    finally:
        ground.aside.write("alertmanager", monitoring_config.SLACK, f"{inbox}/slack")


async def _post_notice(ground: "Ground", number: int) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=5)
    notice = {
        "labels": {"alertname": "Notice", "severity": "ticket", "job": f"notice-{number}"},
        "annotations": {"summary": "something to tell"},
        "endsAt": ends.isoformat(),
    }
    address = f"http://{readiness.LOOPBACK}:{ground.aside.ports.alertmanager}/api/v2/alerts"
    with suppress(httpx.HTTPError):
        await ground.client.post(address, json=[notice])


FAULTS = {
    "RulesFail": Fault("a rule cannot be evaluated", _rules(_FAILS), "prometheus", lane="rules"),
    "ConfigRejected": Fault(
        "Prometheus is told to read a broken file", _rules(_UNREADABLE), "prometheus", lane="rules"
    ),
    "RulesLate": Fault(
        "a rule takes longer than its interval", _rules(_HEAVY), "prometheus", lane="rules"
    ),
    "NotificationsFail": Fault(
        "Slack's address was revoked", _revoke_slack, "alertmanager", lane=ALONE, linked=False
    ),
    "AlertsDropped": Fault(
        "Alertmanager is down; told when it is back",
        _stop_alertmanager,
        "prometheus",
        lane=ALONE,
        told=False,
    ),
    "Watchdog": Fault(
        "Alertmanager is down: the heartbeat falls silent",
        _stop_alertmanager,
        "",
        lane=ALONE,
        labels={"heartbeat": monitoring_config.HASTY_HEARTBEAT.partition("?")[0]},
        linked=False,
    ),
}
"""By the alert that must fire."""
