"""A service of the stack: its declaration, and its state while the runner supervises it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from stack.installation import ports
from stack.process.process import Process, Program
from stack.process.restart_policy import RestartPolicy

SETTLE_SECONDS = 0.5
"""A program that is missing, or refuses its arguments, has ended by then."""


@dataclass(frozen=True)
class Service:
    """A service: a process of the stack, with its dependencies and readiness probe.

    Attributes:
        program: What to start.
        ready: Readiness probe; without one it is ready when it has run for `SETTLE_SECONDS`. A task
            is ready when it has exited with 0.
        depends_on: Names of the services that must be ready before each start.
        task: It ends by itself.
        condition: Checked before the start; if false the service is skipped and counts as ready.
        port: Port that it listens on, which must be free at each start: another program that
            answers there would be taken for it. 0 for none.
        before_start: Called before each start.
        on_ready: Called each time it is ready, before its dependents start.
        start_timeout: Seconds it may take to be ready.
        quiet: Its output goes only to its log file.
        optional: A task that the start does not wait for and whose failure stops nothing.
    """

    program: Program
    ready: Callable[[], bool] | None = None
    depends_on: Sequence[str] = ()
    task: bool = False
    condition: Callable[[], bool] = lambda: True
    port: int = 0
    before_start: Callable[[], None] = lambda: None
    on_ready: Callable[[], None] = lambda: None
    start_timeout: float = 60.0
    quiet: bool = False
    optional: bool = False

    @property
    def name(self) -> str:
        """Its program's name."""
        return self.program.name


class State(StrEnum):
    """What a service does now."""

    WAITING = "waiting"
    """For its dependencies."""
    STARTING = "starting"
    READY = "ready"
    ENDED = "ended"
    """It will be started again."""
    DONE = "done"
    """A task that succeeded or was not needed."""
    FAILED = "failed"
    """An optional task that failed."""


AVAILABLE = frozenset({State.READY, State.DONE})
"""States in which the dependents of a service may start."""


@dataclass(frozen=True)
class ServiceStatus:
    """A service's state, for those who observe the runner.

    Attributes:
        name: Its name.
        state: Its state.
        pid: Process id of its current or last run; 0 before the first.
        ends: How often it ended without having been asked to.
        task: Whether it ends by itself.
    """

    name: str
    state: State
    pid: int = 0
    ends: int = 0
    task: bool = False


@dataclass
class SupervisedService:
    """A service while the runner supervises it. Times are those of the monotonic clock.

    Attributes:
        service: Its declaration.
        process: Its process.
        state: What it does now.
        ends: How often it ended without having been asked to.
        was_ready: Whether it was ready once: from then on it is restarted when it ends.
        started: Time of its last start.
        ready_since: Time since when it is ready.
        ended: Time of its last end.
        due: Time of its next start.
        attempts: Starts since it was ready last.
        reported: What was said about it since it was ready last, so that it is not said again.
    """

    service: Service
    process: Process
    state: State = State.WAITING
    ends: int = 0
    was_ready: bool = False
    started: float = 0.0
    ready_since: float = 0.0
    ended: float = 0.0
    due: float = 0.0
    attempts: int = 0
    reported: set[str] = field(default_factory=set)
    policy: RestartPolicy = field(default_factory=RestartPolicy)

    @property
    def name(self) -> str:
        """Its program's name."""
        return self.service.name

    @property
    def status(self) -> ServiceStatus:
        """Its state, for observers."""
        return ServiceStatus(
            self.name, self.state, self.process.pid, self.ends, task=self.service.task
        )

    def start(self) -> None:
        """Start its process.

        Raises:
            PortError: Its port is taken.
            OSError: It cannot be started.
        """
        self.started = time.monotonic()
        self.attempts += 1
        if self.service.port:
            ports.check_free(self.service.port)
        self.service.before_start()
        self.process.start()
        self.state = State.STARTING

    def is_ready(self) -> bool:
        """Whether its process is ready; a probe that fails counts as "not yet"."""
        if self.service.task:
            return self.process.code == 0
        if not self.process.alive:
            return False
        if self.service.ready:
            return self.service.ready()
        return time.monotonic() - self.started >= SETTLE_SECONDS

    def end(self) -> bool:
        """Record that its process ended, and plan the next start; whether it was ready before."""
        now = time.monotonic()
        before = self.state is State.READY
        self.due = self.policy.plan(now, now - self.ready_since if before else 0.0)
        if before or not self.ended:
            self.ended = now
        self.ends += 1
        self.state = State.ENDED
        return before
