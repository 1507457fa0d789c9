"""One drill: break something, follow its alert to the inbox, mend it, see the end told."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from stack.drills import checks
from stack.drills.environment import Ground
from stack.drills.fault import Fault
from stack.drills.faults import alert_of
from stack.drills.load import Asking
from stack.drills.observer import Sight

WATCHDOG = "Watchdog"
"""It fires always; its end is what is told."""
_CALM_SECONDS = 120.0
_LINK_SECONDS = 15.0


class DrillError(RuntimeError):
    """The drill cannot run, or the alert did not behave."""


@dataclass
class Outcome:
    """What a drill saw.

    Attributes:
        name: Of the fault.
        severity: Of the alert, as it was told.
        seconds: From the fault to each event; ``mended`` counts from the fault too.
        seen: What was checked, in words.
    """

    name: str
    severity: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    @property
    def to_resolve(self) -> float:
        """Seconds from the end of the fault to the end that is told."""
        return self.seconds["resolved"] - self.seconds["mended"]


class Drill:
    """A fault on its ground.

    Args:
        name: The fault's.
        fault: What to break.
        ground: Where.
        sight: Sees what comes of it.
        tell: Takes each event's text and its seconds since the fault.
    """

    def __init__(
        self,
        name: str,
        fault: Fault,
        ground: Ground,
        sight: Sight,
        tell: Callable[[str, float], None],
    ) -> None:
        self.outcome = Outcome(name)
        self._alert = alert_of(name)
        self._fault = fault
        self._ground = ground
        self._sight = sight
        self._tell = tell
        self._began, self._started = time.monotonic(), _now()
        self._patience = 0.0
        self._injecting: list[asyncio.Task[None]] = []
        wanted = {"alertname": self._alert, **fault.labels}
        self._labels = wanted | ({"job": fault.job} if fault.job else {})

    async def run(self) -> Outcome:
        """Run it.

        Raises:
            DrillError: The alert did not come, was not as it should be, or did not end.
        """
        await self._get_ready()
        load = self._fault.load
        asking = Asking(load, self._ground.base(load.job)) if load else None
        jobs = [asking.keep_asking()] if asking else []
        async with meanwhile(*jobs):
            await self._wait_for_baseline()
            known = {note["starts"] for note in self._notes("firing")}
            self._began, self._started = time.monotonic(), _now()
            self._say(f"fault: {self._fault.what}")
            if asking:
                asking.break_()
            async with meanwhile(self._fault.inject(self._ground)) as self._injecting:
                if self._alert != WATCHDOG:
                    await self._expect("fires in Prometheus", "fired", self._is_firing)
                if self._fault.told:
                    note = await self._hear(known)
                    await self._check(note)
            if asking:
                asking.calm()
            self._note("mended", "fault ended")
            if not self._fault.told:
                note = await self._hear(known)
                await self._check(note)
            starts = note["starts"]
            await self._expect(
                "the end is told",
                "resolved",
                lambda: any(note["starts"] == starts for note in self._notes("resolved")),
            )
        return self.outcome

    # -- What is seen ----------------------------------------------------------------------------

    def _is_mine(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(name) == text for name, text in self._labels.items())

    def _notes(self, status: str) -> list[Mapping[str, Any]]:
        return [
            note
            for note in self._sight.notes
            if note["status"] == status and self._is_mine(note["labels"])
        ]

    def _is_firing(self) -> bool:
        return any(
            alert["state"] == "firing" and self._is_mine(alert["labels"])
            for alert in self._sight.alerts
        )

    # -- Steps -----------------------------------------------------------------------------------

    async def _get_ready(self) -> None:
        """Wait until nothing would be mistaken for the fault, or would hide it."""
        for rule in await self._sight.rules():
            if rule["name"] == self._alert and self._is_like(rule["labels"]):
                self._patience = rule["duration"] + rule.get("keepFiringFor", 0.0)
        if not await self._sight.until(self._is_calm, _CALM_SECONDS):
            raise DrillError(f"{self._alert} is firing already, or held back: mend that first")

    def _is_like(self, labels: Mapping[str, str]) -> bool:
        return all(labels.get(name, text) == text for name, text in self._fault.labels.items())

    def _is_calm(self) -> bool:
        if self._alert == WATCHDOG:
            return True
        return not any(
            self._is_mine(alert["labels"])
            or (alert["labels"].get("job") == self._fault.job and _pages(alert))
            for alert in self._sight.alerts
        )

    async def _wait_for_baseline(self) -> None:
        jobs = {patient.job for patient in self._fault.patients} | {self._fault.job} - {""}
        for job in jobs:
            query = f'min(count_over_time(up{{job="{job}"}}[5m]) and on () up{{job="{job}"}} == 1)'
            deadline = time.monotonic() + _CALM_SECONDS
            while await self._sight.ask(query) < self._fault.baseline:
                if time.monotonic() > deadline:
                    raise DrillError(f"Prometheus does not see {job}")
                await asyncio.sleep(0.2)

    async def _hear(self, known: set[str]) -> Mapping[str, Any]:
        def arrived() -> Mapping[str, Any] | None:
            fresh = [note for note in self._notes("firing") if note["starts"] not in known]
            return fresh[-1] if fresh else None

        note: Mapping[str, Any] = await self._expect("told", "told", arrived)
        self.outcome.severity = note["severity"]
        self._say(f"inbox: {note['severity']}: {note['summary']}")
        return note

    async def _check(self, note: Mapping[str, Any]) -> None:
        try:
            if note["group"]:
                self._see(checks.check_group(note, self._sight))
            for name in sorted(self._fault.holds_back):
                held = partial(checks.is_held_back, name, self._fault.job, self._alert, self._sight)
                await self._expect(f"{name} held back", "", held)
                self._see(f"{name} fires and is held back")
            if self._fault.linked:
                text = await self._sight.until(
                    lambda: checks.find_message(note, self._started, self._sight), _LINK_SECONDS
                )
                links = checks.check_links(note, text or "", self._ground, self._sight)
                self._see(await links)
        except checks.CheckError as error:
            raise DrillError(str(error)) from error

    async def _expect(self, what: str, event: str, holds: Callable[[], Any]) -> Any:
        """Wait for an event and note when it came."""
        seconds = self._patience + self._fault.seconds

        def holds_while_broken() -> Any:
            for task in self._injecting:
                if task.done() and not task.cancelled():
                    task.result()  # it could not be injected: there is nothing to wait for
            return holds()

        if found := await self._sight.until(holds_while_broken, seconds):
            if event:
                self._note(event, what if event != "told" else "")
            return found
        states = {alert["state"] for alert in self._sight.alerts if self._is_mine(alert["labels"])}
        raise DrillError(
            f"not within {seconds:.0f} s: {what}; Prometheus: {', '.join(states) or 'inactive'}"
            f"{self._holders()}"
        )

    def _holders(self) -> str:
        names = {each["fingerprint"]: each["labels"]["alertname"] for each in self._sight.known}
        holders = {
            names.get(holder, holder)
            for each in self._sight.known
            if self._is_mine(each["labels"])
            for holder in each["status"]["inhibitedBy"] + each["status"]["silencedBy"]
        }
        return f"; held back by {', '.join(sorted(holders))}" if holders else ""

    # -- Telling ---------------------------------------------------------------------------------

    def _note(self, event: str, text: str) -> None:
        self.outcome.seconds[event] = time.monotonic() - self._began
        if text:
            self._say(text)

    def _see(self, text: str) -> None:
        self.outcome.seen.append(text)
        self._say(f"checked: {text}")

    def _say(self, text: str) -> None:
        self._tell(text, time.monotonic() - self._began)


def _now() -> str:
    """As the inbox writes it, which is on this machine."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _pages(alert: Mapping[str, Any]) -> bool:
    return bool(alert["labels"].get("severity") == "page")


@asynccontextmanager
async def meanwhile(*jobs: Coroutine[None, None, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Do something else at the same time; it ends, and cleans up, with the block."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
