"""The reconciler: reports alerts to Alertmanager that ended while it or Prometheus was down.

Alertmanager remembers what it notified of, not what fires. It never receives the end of an alert
that ended while Prometheus was down, nor of one that ended while it was itself down for more than
fifteen minutes; and it drops the end of one that another alert or a silence holds back at that
moment. Such an end is never notified, and the next firing passes for the old one until the repeat
interval is over.

So alerts that Prometheus recorded as firing within a day, and that do not fire any more, are
reported to Alertmanager as ended. It notifies of the end of those that it had notified of, and
ignores the others.
"""

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPException
from math import inf
from typing import Any
from urllib.parse import urlencode

import yaml

REMEMBERED = "26h"
"""Alertmanager remembers a notification for twice its repeat interval: a day for tickets."""
EVALUATIONS = 3
"""Evaluations after which Prometheus has restored the alerts that fired before its start."""
INTERVAL = 5.0
"""Seconds between two looks."""
PATIENCE_SECONDS = 60.0
"""A problem is reported when it lasts longer: restarts are none."""
REPEAT_SECONDS = 300.0
"""After which all ends are reported again: a silence may have expired."""
_SLACK_SECONDS = 60.0
"""Resolution of the times of past alerts."""
_TIMEOUT_SECONDS = 10.0
_FIRING = 'ALERTS{alertstate="firing"}'
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Firing:
    """The last time that an alert fired, in Unix time.

    Attributes:
        begun: When its condition became true.
        last: When it was last seen firing: infinity while it fires, 0 while it is only pending.
    """

    begun: float
    last: float


@dataclass
class _Evaluations:
    """Evaluations that were seen since a start of Prometheus."""

    start: str = ""
    seen: dict[str, set[str]] = field(default_factory=dict)

    def are_settled(self, start: str, groups: Iterable[Mapping[str, Any]]) -> bool:
        if start != self.start:
            self.start, self.seen = start, {}
        for group in groups:
            evaluated = self.seen.setdefault(f"{group['file']}:{group['name']}", set())
            if len(evaluated) < EVALUATIONS and group["evaluationTime"]:
                evaluated.add(group["lastEvaluation"])
        return all(len(evaluated) >= EVALUATIONS for evaluated in self.seen.values())


class Reconciler:
    """Compares what fired with what fires, and reports ends.

    Args:
        prometheus: URL of Prometheus.
        alertmanager: URL of Alertmanager.
        report: Called with a line on what was reported after a restart.
    """

    def __init__(
        self, prometheus: str, alertmanager: str, report: Callable[[str], None] = lambda _: None
    ) -> None:
        self._prometheus = prometheus.rstrip("/")
        self._alertmanager = alertmanager.rstrip("/")
        self._report = report
        self._evaluations = _Evaluations()
        self._starts = ("", "")
        self._firing: frozenset[Labels] = frozenset()
        self._reported_at = -REPEAT_SECONDS

    def reconcile(self) -> int:
        """Report what has ended, if something may have; returns the number of ended alerts.

        Raises:
            OSError: Prometheus or Alertmanager does not answer.
            ValueError: It does not answer in JSON.
        """
        start = str(self._query("status/runtimeinfo")["startTime"])
        groups = self._query("rules", type="alert")["groups"]
        if not self._evaluations.are_settled(start, groups):
            return 0
        status = _get(f"{self._alertmanager}/api/v2/status")
        starts = (start, status["uptime"])
        firing = frozenset(labels for labels, one in _active(groups).items() if one.last)
        ended = self._firing - firing
        late = time.monotonic() - self._reported_at >= REPEAT_SECONDS
        if starts == self._starts and not ended and not late:
            self._firing = firing
            return 0
        step = f"{max(1, int(min((group['interval'] for group in groups), default=60)))}s"
        history, stop, external = self._history(step), self._stop(start, step), self._external()
        # Asked last: what begins to fire after this answer would be reported as ended.
        active = _active(self._query("rules", type="alert")["groups"])
        group_by = yaml.safe_load(status["config"]["original"])["route"].get("group_by", [])
        over = ended_alerts(history, active, stop, group_by)
        if over:
            self._post(over, external)
        if over and starts != self._starts:
            names = sorted({dict(labels)["alertname"] for labels in over})
            self._report(
                f"{len(over)} ended alerts were reported to Alertmanager after a "
                f"restart: {', '.join(names)}"
            )
        # Only now: what could not be reported is tried again.
        self._starts, self._firing, self._reported_at = starts, firing, time.monotonic()
        return len(over)

    def _history(self, step: str) -> dict[Labels, Firing]:
        last = self._values(f"max_over_time(timestamp({_FIRING})[{REMEMBERED}:{step}])")
        begun = self._values(f"last_over_time(ALERTS_FOR_STATE[{REMEMBERED}])")
        return {
            labels: Firing(min(begun.get(labels, seen), seen), seen)
            for labels, seen in last.items()
        }

    def _stop(self, start: str, step: str) -> float:
        """When Prometheus evaluated its alerts last before its start."""
        query = f"max(max_over_time(timestamp({_FIRING})[{REMEMBERED}:{step}]))"
        return next(iter(self._values(query, time=start).values()), 0.0)

    def _values(self, query: str, **more: str) -> dict[Labels, float]:
        return {
            frozenset(_without_state(each["metric"]).items()): float(each["value"][1])
            for each in self._query("query", query=query, **more)["result"]
        }

    def _query(self, path: str, **parameters: str) -> Any:
        return _get(f"{self._prometheus}/api/v1/{path}?{urlencode(parameters)}")["data"]

    def _external(self) -> dict[str, str]:
        """The labels that Prometheus adds to the alerts that it sends, and does not drop again."""
        config = yaml.safe_load(self._query("status/config")["yaml"])
        labels = dict(config.get("global", {}).get("external_labels") or {})
        for rule in config.get("alerting", {}).get("alert_relabel_configs") or ():
            if rule.get("action") == "labeldrop":
                labels = {k: v for k, v in labels.items() if not re.fullmatch(rule["regex"], k)}
        return labels

    def _post(self, over: Mapping[Labels, Firing], external: Mapping[str, str]) -> None:
        alerts = [
            {
                "labels": {**external, **dict(labels)},
                "annotations": {
                    "summary": f"{dict(labels)['alertname']} of "
                    f"{dict(labels).get('job', 'the watch')} does not fire any more"
                },
                "startsAt": _iso(min(firing.begun, firing.last - 1)),
                "endsAt": _iso(firing.last),
            }
            for labels, firing in over.items()
        ]
        request = urllib.request.Request(  # noqa: S310 - the address of a command line
            f"{self._alertmanager}/api/v2/alerts",
            json.dumps(alerts).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()  # noqa: S310


def keep_reconciling(
    prometheus: str,
    alertmanager: str,
    report: Callable[[str], None],
    interval: float = INTERVAL,
    ends: Callable[[float], object] = time.sleep,
) -> None:
    """Reconcile until `ends` returns true; both servers may restart or be away meanwhile.

    Args:
        prometheus: URL of Prometheus.
        alertmanager: URL of Alertmanager.
        report: Called with a line on what was reported after a restart, and on a new problem.
        interval: Seconds between two looks.
        ends: Waits for that long.
    """
    reconciler = Reconciler(prometheus, alertmanager, report)
    known, failed_since = "", inf
    while not ends(interval):
        try:
            reconciler.reconcile()
        except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
            failed_since = min(failed_since, time.monotonic())
            problem = f"reconciler: cannot compare what fired with what fires: {error!r}"
            if time.monotonic() - failed_since > PATIENCE_SECONDS and problem != known:
                report(problem)
                known = problem
        else:
            known, failed_since = "", inf


def ended_alerts(
    fired: Mapping[Labels, Firing],
    active: Mapping[Labels, Firing],
    stop: float,
    group_by: Sequence[str] = ("alertname", "job"),
) -> dict[Labels, Firing]:
    """The alerts whose end Alertmanager may not know, of those that fired.

    Args:
        fired: Alerts that fired, by their labels.
        active: Alerts that fire or are pending.
        stop: When Prometheus evaluated its alerts last before its start.
        group_by: Labels by which Alertmanager groups; ``...`` is all of them.
    """
    firing = {labels for labels, one in active.items() if one.last}
    busy = {_group(labels, group_by) for labels in firing}
    return {
        labels: one
        for labels, one in fired.items()
        if labels not in firing
        # Its condition may have been true all the time.
        and not (labels in active and active[labels].begun <= one.last)
        # A notification of its group would repeat an end that was notified long ago.
        and not (_group(labels, group_by) in busy and not stop - _SLACK_SECONDS <= one.last <= stop)
    }


def _group(labels: Labels, group_by: Sequence[str]) -> frozenset[tuple[str, str]]:
    if "..." in group_by:
        return labels
    return frozenset(label for label in labels if label[0] in group_by)


def _active(groups: Iterable[Mapping[str, Any]]) -> dict[Labels, Firing]:
    """Alerts that fire or are pending, by their labels."""
    return {
        frozenset(alert["labels"].items()): Firing(
            datetime.fromisoformat(alert["activeAt"]).timestamp(),
            inf if alert["state"] == "firing" else 0.0,
        )
        for group in groups
        for rule in group["rules"]
        for alert in rule["alerts"]
    }


def _without_state(metric: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in metric.items() if name not in {"__name__", "alertstate"}}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
        return json.load(response)
