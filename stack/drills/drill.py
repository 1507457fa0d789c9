"""One drill: inject a fault, follow its alert to the inbox, revert it, and see it resolved."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from stack.drills import checks, proofs, runbooks
from stack.drills.environment import Environment
from stack.drills.fault import Fault
from stack.drills.faults import alert_of
from stack.drills.load import LoadGenerator
from stack.drills.observer import Observer

WATCHDOG = "Watchdog"
"""Always firing; the notification is sent when it stops."""
_IDLE_SECONDS = 120.0
_LINK_SECONDS = 15.0


class DrillError(RuntimeError):
    """The drill cannot run, or the alert did not behave as expected."""


@dataclass
class DrillResult:
    """The result of a drill.

    Attributes:
        name: Name of the fault.
        severity: Severity of the notification.
        seconds: Time from the start of the fault to each event, including ``ended``.
        checks: Descriptions of the passed checks.
    """

    name: str
    severity: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)

    @property
    def to_resolve(self) -> float:
        """Seconds from the end of the fault to the resolved notification."""
        return self.seconds["resolved"] - self.seconds["ended"]


class Drill:
    """Runs one fault in an environment.

    Args:
        name: Name of the fault.
        fault: The fault.
        environment: Where it is injected.
        observer: Observes the alert.
        on_event: Called with the text of each event and its seconds since the fault.
    """

    def __init__(
        self,
        name: str,
        fault: Fault,
        environment: Environment,
        observer: Observer,
        on_event: Callable[[str, float], None],
    ) -> None:
        self.outcome = DrillResult(name)
        self._alert = alert_of(name)
        self._fault = fault
        self._environment = environment
        self._observer = observer
        self._on_event = on_event
        self._began, self._started = time.monotonic(), _now()
        self._rule_seconds = 0.0
        self._injecting: list[asyncio.Task[None]] = []
        wanted = {"alertname": self._alert, **fault.labels}
        self._labels = wanted | ({"job": fault.job} if fault.job else {})

    async def run(self) -> DrillResult:
        """Run it.

        Raises:
            DrillError: The alert did not fire, did not resolve, or failed a check.
        """
        await self._wait_until_idle()
        load = self._fault.load
        load_generator = LoadGenerator(load, self._environment.base(load.job)) if load else None
        tasks = [load_generator.run()] if load_generator else []
        async with background(*tasks):
            await self._wait_for_baseline()
            known = {note["starts"] for note in self._notifications("firing")}
            self._began, self._started = time.monotonic(), _now()
            self._print(f"fault: {self._fault.description}")
            if load_generator:
                load_generator.use_fault_load()
            async with background(self._fault.inject(self._environment)) as self._injecting:
                if self._alert != WATCHDOG:
                    await self._wait_for_event("fires in Prometheus", "fired", self._is_firing)
                if self._fault.notifies_during_fault:
                    note = await self._follow(known)
            if load_generator:
                load_generator.use_normal_load()
            self._record("ended", "fault ended")
            if not self._fault.notifies_during_fault:
                note = await self._wait_for_notification(known)
                await self._check(note)
            await self._wait_for_end(note["starts"])
        return self.outcome

    async def _follow(self, known: set[str]) -> Mapping[str, Any]:
        """Wait for the notification and check it, of a pair with one of each killed."""
        with self._environment.half_killed() as killed:
            note = await self._wait_for_notification(known)
            await self._check(note)
            if killed:
                sent = [n for n in self._notifications("firing") if n["labels"] == note["labels"]]
                fresh = [n for n in sent if n["starts"] not in known]
                if len(fresh) != 1:
                    raise DrillError(f"notified {len(fresh)} times by what is left of the pair")
                self._add_check("one Prometheus and one Alertmanager were killed: notified once")
        return note

    async def _wait_for_end(self, starts: str) -> None:
        if not self._fault.notifies_end:
            ended = lambda: not self._is_firing()  # noqa: E731
            await self._wait_for_event("ends in Prometheus", "resolved", ended)
            return
        await self._wait_for_event(
            "resolved notification",
            "resolved",
            lambda: any(checks.is_end(note, starts) for note in self._notifications("resolved")),
        )

    # -- Observations ----------------------------------------------------------------------------

    def _matches(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(name) == text for name, text in self._labels.items())

    def _notifications(self, status: str) -> list[Mapping[str, Any]]:
        return [
            note
            for note in self._observer.notifications
            if note["status"] == status and self._matches(note["labels"])
        ]

    def _is_firing(self) -> bool:
        return any(
            alert["state"] == "firing" and self._matches(alert["labels"])
            for alert in self._observer.alerts
        )

    # -- Steps -----------------------------------------------------------------------------------

    async def _wait_until_idle(self) -> None:
        """Wait until no active alert could be mistaken for the fault, or inhibit it."""
        for rule in await self._observer.rules():
            if rule["name"] == self._alert and self._is_rule(rule["labels"]):
                self._rule_seconds = rule["duration"] + rule.get("keepFiringFor", 0.0)
        if not await self._observer.wait_for(self._is_idle, _IDLE_SECONDS):
            raise DrillError(f"{self._alert} is already firing or inhibited: fix that first")

    def _is_rule(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(name, text) == text for name, text in self._fault.labels.items())

    def _is_idle(self) -> bool:
        if self._alert == WATCHDOG:
            return True
        return not any(
            self._matches(alert["labels"])
            or (alert["labels"].get("job") == self._fault.job and _pages(alert))
            for alert in self._observer.alerts
        )

    async def _wait_for_baseline(self) -> None:
        jobs = {target.job for target in self._fault.targets} | {self._fault.job} - {""}
        for job in jobs:
            query = f'min(count_over_time(up{{job="{job}"}}[5m]) and on () up{{job="{job}"}} == 1)'
            deadline = time.monotonic() + _IDLE_SECONDS
            while await self._observer.query(query) < self._fault.baseline:
                if time.monotonic() > deadline:
                    raise DrillError(f"Prometheus has too few samples of job {job}")
                await asyncio.sleep(0.2)

    async def _wait_for_notification(self, known: set[str]) -> Mapping[str, Any]:
        def arrived() -> Mapping[str, Any] | None:
            fresh = [note for note in self._notifications("firing") if note["starts"] not in known]
            return fresh[-1] if fresh else None

        notification: Mapping[str, Any] = await self._wait_for_event(
            "notified", "notified", arrived
        )
        self.outcome.severity = notification["severity"]
        self._print(f"inbox: {notification['severity']}: {notification['summary']}")
        return notification

    async def _check(self, note: Mapping[str, Any]) -> None:
        try:
            if note["group"]:
                self._add_check(checks.check_group(note, self._observer))
            for name in sorted(self._fault.inhibits):
                held = partial(
                    checks.is_inhibited, name, self._fault.job, self._alert, self._observer
                )
                await self._wait_for_event(f"{name} inhibited", "", held)
                self._add_check(f"{name} fires and is inhibited")
            if runbook := runbooks.steps(self._alert):
                follow = checks.check_runbook(runbook, note["labels"], self._observer)
                self._add_check(await follow)
            if self._fault.has_links:
                text = await self._observer.wait_for(
                    lambda: checks.find_message(note, self._started, self._observer), _LINK_SECONDS
                )
                links = checks.check_links(note, text or "", self._environment, self._observer)
                self._add_check(await links)
                if says := self._fault.says:
                    self._add_check(checks.check_says(says, text or ""))
                if self._fault.proof:
                    store = self._environment.store
                    link = checks.links_of(text or "").get("Trace", "")
                    found = proofs.check(link, self._fault.proof, store, self._environment.client)
                    self._add_check(await found)
        except (checks.CheckError, proofs.NoProofError) as error:
            raise DrillError(str(error)) from error

    async def _wait_for_event(
        self, description: str, event: str, condition: Callable[[], Any]
    ) -> Any:
        """Wait for an event and record its time."""
        seconds = self._rule_seconds + 2 * self._fault.seconds  # also on a busy machine

        def check_during_fault() -> Any:
            for task in self._injecting:
                if task.done() and not task.cancelled():
                    task.result()  # raises if the injection failed
            return condition()

        if found := await self._observer.wait_for(check_during_fault, seconds):
            if event:
                self._record(event, description if event != "notified" else "")
            return found
        states = {
            alert["state"] for alert in self._observer.alerts if self._matches(alert["labels"])
        }
        raise DrillError(
            f"not within {seconds:.0f} s: {description}; "
            f"Prometheus: {', '.join(states) or 'inactive'}"
            f"{self._suppressors()}"
        )

    def _suppressors(self) -> str:
        names = {
            each["fingerprint"]: each["labels"]["alertname"]
            for each in self._observer.alertmanager_alerts
        }
        suppressors = {
            names.get(suppressor, suppressor)
            for each in self._observer.alertmanager_alerts
            if self._matches(each["labels"])
            for suppressor in each["status"]["inhibitedBy"] + each["status"]["silencedBy"]
        }
        return f"; inhibited or silenced by {', '.join(sorted(suppressors))}" if suppressors else ""

    # -- Output ----------------------------------------------------------------------------------

    def _record(self, event: str, text: str) -> None:
        self.outcome.seconds[event] = time.monotonic() - self._began
        if text:
            self._print(text)

    def _add_check(self, text: str) -> None:
        self.outcome.checks.append(text)
        self._print(f"checked: {text}")

    def _print(self, text: str) -> None:
        self._on_event(text, time.monotonic() - self._began)


def _now() -> str:
    """The current time in the format of the inbox."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _pages(alert: Mapping[str, Any]) -> bool:
    return bool(alert["labels"].get("severity") == "page")


@asynccontextmanager
async def background(
    *coroutines: Coroutine[None, None, None],
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run coroutines in the background; cancel and await them at the end of the block."""
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
