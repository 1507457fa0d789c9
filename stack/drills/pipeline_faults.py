"""Faults of the monitoring pipeline: the Prometheus and Alertmanager of the drills."""

import asyncio
import itertools
import os
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import TYPE_CHECKING

import httpx
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from stack import monitoring_config, readiness
from stack.drills.fault import EXCLUSIVE, Fault, Inject, StoreTarget
from stack.servers import prometheus

if TYPE_CHECKING:
    from stack.drills.environment import Environment

# Two series with the same labels: the evaluation fails.
_FAILING_RULE = """
groups:
  - name: drill
    rules:
      - record: drill
        expr: label_replace({__name__=~"up|scrape_duration_seconds"}, "instance", "", "", "")
"""
_PROTOBUF = {"Content-Type": "application/x-protobuf"}
_LINES, _LINE_BYTES, _SEND_SECONDS = 100, 5_000, 0.5
CRAMPED = StoreTarget("cramped", file_bytes=3_000_000)
NARROW = StoreTarget("narrow", ("--limit=16MB",))
_INVALID_RULES = "groups: none, this is not a rule file\n"
# Six million steps: takes seconds.
_SLOW_RULE = """
groups:
  - name: drill
    rules:
      - record: drill
        expr: max_over_time(vector(1)[100m:1ms])
"""


def _rules(text: str) -> Inject:
    async def inject(environment: "Environment") -> None:
        with environment.rules(text):
            await asyncio.Event().wait()

    return inject


async def _stop_alertmanager(environment: "Environment") -> None:
    with environment.stopped("alertmanager"):
        await asyncio.Event().wait()


async def _revoke_slack(environment: "Environment") -> None:
    """Make the Slack URL invalid, and cause a notification every second."""
    inbox = f"http://{readiness.LOOPBACK}:{environment.drill.ports.inbox}"
    environment.drill.write("alertmanager", monitoring_config.SLACK_URL_FILE, f"{inbox}/revoked")
    try:
        for number in itertools.count():
            await _post_alert(environment, number)
            await asyncio.sleep(1)
    finally:
        environment.drill.write("alertmanager", monitoring_config.SLACK_URL_FILE, f"{inbox}/slack")


async def _post_alert(environment: "Environment", number: int) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=5)
    alert = {
        "labels": {"alertname": "Test", "severity": "ticket", "job": f"alert-{number}"},
        "annotations": {"summary": "test notification"},
        "endsAt": ends.isoformat(),
    }
    address = f"http://{readiness.LOOPBACK}:{environment.drill.ports.alertmanager}/api/v2/alerts"
    with suppress(httpx.HTTPError):
        await environment.client.post(address, json=[alert])


def _send_lines(target: StoreTarget) -> Inject:
    """Send log lines to a store until it can take no more."""

    async def inject(environment: "Environment") -> None:
        try:
            while True:
                with suppress(httpx.HTTPError):
                    await environment.client.post(
                        f"{environment.base(target.job)}/v1/logs",
                        content=_log_lines(),
                        headers=_PROTOBUF,
                    )
                await asyncio.sleep(_SEND_SECONDS)
        finally:
            environment.remove_job(target.job)  # it stays full

    return inject


def _log_lines() -> bytes:
    """A request of OTLP with half a megabyte of lines."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for _ in range(_LINES):
        line = scope.log_records.add(time_unix_nano=time.time_ns())
        line.body.string_value = token_hex(_LINE_BYTES // 2)
    content: bytes = request.SerializeToString()
    return content


async def _kill_gate(environment: "Environment") -> None:
    """Kill the gate of the running stack, which no drill needs; its runner starts it again."""
    os.kill(environment.here.read_pids()["gate"], signal.SIGKILL)
    await asyncio.Event().wait()


async def _freeze_store(environment: "Environment") -> None:
    with environment.frozen("store"):
        await asyncio.Event().wait()


FAULTS = {
    "ServiceEnded": Fault(
        "a service of the stack is killed; the runner starts it again",
        _kill_gate,
        prometheus.RUNNER,
        labels={"service": "gate"},
    ),
    "StoreRejects": Fault(
        "the disk of a store of traces and logs is full",
        _send_lines(CRAMPED),
        CRAMPED.job,
        targets=(CRAMPED,),
        labels={"signal": "logs", "reason": "disk"},
    ),
    "StoreFull": Fault(
        "a store with a limit of 16 MB is sent a megabyte a second",
        _send_lines(NARROW),
        NARROW.job,
        targets=(NARROW,),
    ),
    "IssuesUnread": Fault(
        "the store of traces and logs is frozen",
        _freeze_store,
        "issues",
        lane=EXCLUSIVE,
        seconds=180.0,
    ),
    "RulesFail": Fault(
        "a rule cannot be evaluated", _rules(_FAILING_RULE), "prometheus", lane="rules"
    ),
    "ConfigRejected": Fault(
        "Prometheus reloads an invalid rule file",
        _rules(_INVALID_RULES),
        "prometheus",
        lane="rules",
    ),
    "RulesLate": Fault(
        "a rule takes longer than its interval", _rules(_SLOW_RULE), "prometheus", lane="rules"
    ),
    "NotificationsFail": Fault(
        "the Slack webhook URL is revoked",
        _revoke_slack,
        "alertmanager",
        lane=EXCLUSIVE,
        has_links=False,
    ),
    "AlertsDropped": Fault(
        "Alertmanager is down; the notification follows its restart",
        _stop_alertmanager,
        "prometheus",
        lane=EXCLUSIVE,
        notifies_during_fault=False,
    ),
    "Watchdog": Fault(
        "Alertmanager is down: the heartbeat is missed",
        _stop_alertmanager,
        "",
        lane=EXCLUSIVE,
        labels={"heartbeat": monitoring_config.FAST_HEARTBEAT.partition("?")[0]},
        has_links=False,
    ),
}
"""By the alert that must fire."""
