"""Alertmanager's hops: Prometheus sends to it, and alerts reach a receiver that notifies."""

import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from vitals.doctor.finding import Finding, Findings, note, ok, problem
from vitals.doctor.http_client import HttpClient, UnreachableError
from vitals.doctor.prometheus_api import PrometheusApi

TEST_ALERT = "VitalsDoctor"
"""Name of the test alert, and value of its label ``job``: no rule of inhibition applies to it."""

SEVERITIES = ("page", "ticket")
WATCHDOG = "Watchdog"
POLL = 0.1
RESEND_SECONDS = 120.0
"""A Prometheus that has just started loses alerts, and sends them again after a minute."""

_STATUS, _ALERTS, _SILENCES, _SILENCE = (
    f"/api/v2/{name}" for name in ("status", "alerts", "silences", "silence")
)
_OK = 200


def check_sending(api: PrometheusApi, alertmanager: str | None) -> Findings:
    """Check that Prometheus sends its alerts to this Alertmanager."""
    active = [one["url"] for one in api.get("alertmanagers")["activeAlertmanagers"]]
    if not active:
        yield problem(
            "sending",
            "Prometheus sends its alerts to no Alertmanager",
            'set alerting: alertmanagers: - static_configs: - targets: ["HOST:9093"], and reload',
        )
        return
    hosts = {urllib.parse.urlsplit(url).netloc for url in active}
    if alertmanager is not None and urllib.parse.urlsplit(alertmanager).port not in {
        urllib.parse.urlsplit(url).port for url in active
    }:
        yield problem(
            "sending",
            f"Prometheus sends to {', '.join(sorted(hosts))}, not to {alertmanager}",
            "correct alerting: alertmanagers:, or --alertmanager",
        )
        return
    page = api.own_metrics()
    failed, lost, tried = (
        page.sum(f"prometheus_notifications_{name}_total") if page else 0.0
        for name in ("errors", "dropped", "sent")
    )
    where = ", ".join(sorted(hosts))
    if failed and lost >= tried:
        yield problem(
            "sending",
            f"Prometheus cannot send to {where}: {lost:.0f} alerts were lost",
            "check from Prometheus's machine that it is reachable",
        )
        return
    if lost:
        yield note("sending", f"{lost:.0f} alerts were lost since Prometheus started")
    yield ok("sending", f"Prometheus sends its alerts to {where}")


class Alertmanager:
    """One Alertmanager as the doctor sees it.

    Args:
        client: Sends requests to it.
        timeout: Seconds to wait for an alert.
    """

    def __init__(self, client: HttpClient, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        self._integrations: dict[str, int] = {}

    def check(self, *, test_alert: bool) -> Findings:
        """Check its configuration, and that a test alert arrives; the first fault ends it."""
        try:
            answer = self._client.get(_STATUS)
        except UnreachableError as error:
            yield problem(
                "alertmanager",
                f"{self._client.base} is not reachable: {error}",
                "start it, or give the address where it listens",
            )
            return
        status = answer.json()
        if answer.status != _OK or not isinstance(status, dict) or "config" not in status:
            yield problem(
                "alertmanager",
                f"{self._client.base} responds with {answer.status}, and not as Alertmanager",
                "give its address, and its route prefix if it has one",
            )
            return
        yield ok("alertmanager", f"{status['versionInfo']['version']} answers")
        yield self._configuration()
        self._integrations = count_integrations(status["config"]["original"])
        notifying = sorted(name for name, number in self._integrations.items() if number)
        if not notifying:
            yield problem(
                "receivers",
                f"none of {', '.join(self._integrations)} has an integration",
                "set ALERT_* variables and render its configuration, or add webhook_configs",
            )
        else:
            yield ok("receivers", f"{', '.join(notifying)} notify")
        if test_alert:
            yield from self._send_test_alert()

    def arrives(self, api: PrometheusApi) -> Findings:
        """Check that what fires in Prometheus has arrived."""
        firing = {
            one["labels"]["alertname"]
            for one in api.get("alerts")["alerts"]
            if one["state"] == "firing"
        }
        if WATCHDOG not in firing:
            return
        deadline = time.monotonic() + self._timeout
        while not (found := self._alerts(WATCHDOG)) and time.monotonic() < deadline:
            time.sleep(POLL)
        page = api.own_metrics()
        age = time.time() - (page.sum("process_start_time_seconds") if page else 0.0)
        if found:
            yield ok("arrival", f"{WATCHDOG}, which always fires, has arrived from Prometheus")
        elif age < RESEND_SECONDS:
            yield note(
                "arrival",
                f"{WATCHDOG} has not arrived from Prometheus yet, which started {age:.0f} s ago",
                "ask again in two minutes",
            )
        else:
            yield problem(
                "arrival",
                f"{WATCHDOG} fires in Prometheus and has not arrived here",
                "see Prometheus's log for 'Error sending alert', and alert_relabel_configs",
            )

    def _configuration(self) -> Finding:
        try:
            page = self._client.get("/metrics").text
        except UnreachableError:
            page = ""
        if "alertmanager_config_last_reload_successful 0" in page:
            return problem(
                "config",
                "Alertmanager rejects its configuration file and runs with the one before",
                "run amtool check-config on it, and see its log",
            )
        return ok("config", "is loaded")

    def _send_test_alert(self) -> Findings:
        try:
            with self._silenced(), self._firing():
                routed = self._wait_for_test_alerts()
                yield from self._judge(routed)
            if self._wait_until_resolved():
                yield ok("resolved", "the test alert is over, and no notification went out")
            else:
                yield note("resolved", "the test alert is not over yet", "it ends by itself in 5 m")
        except (UnreachableError, OSError) as error:
            yield problem(
                "test alert", f"cannot be sent: {error}", "see Alertmanager's log, or its gate"
            )

    def _judge(self, routed: dict[str, list[str]]) -> Findings:
        lost = [severity for severity in SEVERITIES if severity not in routed]
        if lost:
            yield problem(
                "test alert",
                f"of severity {', '.join(lost)} has not arrived",
                "see Alertmanager's log",
            )
            return
        yield ok("test alert", f"has arrived in severity {' and '.join(SEVERITIES)}")
        for severity, receivers in routed.items():
            if any(self._integrations.get(name) for name in receivers):
                yield ok("route", f"{severity} goes to {', '.join(receivers)}")
            else:
                yield problem(
                    "route",
                    f"{severity} goes to {', '.join(receivers)}, which has no integration",
                    f"give this receiver an integration, or route severity={severity!r} to one "
                    "that has some",
                )

    @contextmanager
    def _silenced(self) -> Iterator[None]:
        """Silence the test alert, so that no notification goes out."""
        now = datetime.now(UTC)
        answer = self._client.post(
            _SILENCES,
            {
                "matchers": [{"name": "alertname", "value": TEST_ALERT, "isRegex": False}],
                "startsAt": now.isoformat(),
                "endsAt": (now + timedelta(minutes=10)).isoformat(),
                "createdBy": "vitals doctor",
                "comment": "A test alert of vitals doctor.",
            },
        )
        made = answer.json()
        if answer.status != _OK or not isinstance(made, dict):
            raise UnreachableError(f"no silence can be made ({answer.status}: {answer.text[:80]})")
        try:
            yield
        finally:
            self._client.delete(f"{_SILENCE}/{made['silenceID']}")

    @contextmanager
    def _firing(self) -> Iterator[None]:
        self._run = uuid4().hex[:12]
        now = datetime.now(UTC)
        self._post(now, now + timedelta(minutes=5))
        try:
            yield
        finally:
            self._post(now, datetime.now(UTC))

    def _post(self, starts: datetime, ends: datetime) -> None:
        answer = self._client.post(
            _ALERTS,
            [
                {
                    "labels": {
                        "alertname": TEST_ALERT,
                        "job": TEST_ALERT,
                        "severity": severity,
                        "run": self._run,
                    },
                    "annotations": {"summary": "A test alert of vitals doctor"},
                    "startsAt": starts.isoformat(),
                    "endsAt": ends.isoformat(),
                }
                for severity in SEVERITIES
            ],
        )
        if answer.status != _OK:
            raise UnreachableError(f"it responds with {answer.status}: {answer.text[:80]}")

    def _wait_for_test_alerts(self) -> dict[str, list[str]]:
        """The receivers of the test alert by its severity, once it has arrived."""
        deadline = time.monotonic() + self._timeout
        while True:
            routed = {
                alert["labels"]["severity"]: [one["name"] for one in alert["receivers"]]
                for alert in self._alerts(TEST_ALERT)
                if alert["labels"].get("run") == self._run
            }
            if len(routed) == len(SEVERITIES) or time.monotonic() > deadline:
                return {severity: routed[severity] for severity in SEVERITIES if severity in routed}
            time.sleep(POLL)

    def _wait_until_resolved(self) -> bool:
        deadline = time.monotonic() + self._timeout
        while any(one["labels"].get("run") == self._run for one in self._alerts(TEST_ALERT)):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True

    def _alerts(self, name: str) -> list[dict[str, Any]]:
        found = self._client.get(_ALERTS, filter=f'alertname="{name}"').json()
        return found if isinstance(found, list) else []


def count_integrations(config: str) -> dict[str, int]:
    """Integrations of each receiver.

    Args:
        config: The configuration as Alertmanager prints it: YAML of a fixed form, in which each
            receiver begins at the margin and each kind of integration is a list below it.
    """
    receivers: dict[str, int] = {}
    name = ""
    inside = False
    for line in config.splitlines():
        if not line.startswith((" ", "-")):
            inside = line.rstrip() == "receivers:"
        elif inside and line.startswith("- name:"):
            name = line.partition(":")[2].strip().strip("\"'")
            receivers[name] = 0
        elif inside and line.startswith("  ") and line.rstrip().endswith("_configs:"):
            receivers[name] += 1
    return receivers
