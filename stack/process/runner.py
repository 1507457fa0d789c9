"""The runner: starts services in dependency order, restarts what ends, and stops all when asked.

One loop reads the services' output, starts services whose dependencies are ready, runs readiness
probes, and detects services that ended. Nothing in it blocks for long.

A service whose first start fails stops all. Once it was ready, its end stops nothing else: it is
logged, and the service is started again, see `restart_policy`.
"""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

from stack.process import ends
from stack.process.log_multiplexer import LogMultiplexer
from stack.process.outputs import Outputs
from stack.process.process import Process, StartError
from stack.process.reaper import Reaper
from stack.process.restart_policy import DEPENDENCY_SECONDS
from stack.process.service import AVAILABLE, Service, ServiceStatus, State, SupervisedService

REAPER = "reaper"
_POLL_SECONDS = 0.05
_SHOWN_LINES = 5
_RUNS = frozenset({State.STARTING, State.READY})
_PROBE_ERRORS = (OSError, RuntimeError, subprocess.SubprocessError)


class _StopRequested(Exception):  # noqa: N818 - not an error: a signal asked for the stop
    pass


class Runner:
    """Runs a set of services until a signal stops it."""

    def __init__(
        self,
        services: Sequence[Service],
        logs: LogMultiplexer,
        reaper: Reaper,
        on_change: Callable[[ServiceStatus], None] = lambda _status: None,
        *,
        fail_fast: bool = False,
    ) -> None:
        """Describe a run; nothing starts yet.

        Args:
            services: The services to run.
            logs: Receives the output of the services.
            reaper: Ends the services if this process is killed.
            on_change: Called with each new state of a service.
            fail_fast: Stop all when one ends.
        """
        self._on_change = on_change
        self._services = {
            service.name: SupervisedService(service, Process(service.program))
            for service in services
        }
        self._logs = logs
        self._reaper = reaper
        self._reaper_ends = 0
        self._fail_fast = fail_fast
        self._announced = False
        self._outputs = Outputs(logs)
        self._signals: list[str] = []

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running services."""
        return {
            name: each.process.pid for name, each in self._services.items() if each.process.alive
        }

    def run(self, announce: Callable[[], None]) -> int:
        """Start all, call `announce` when all are ready, and run until the end.

        Returns:
            0 after a stop signal, 1 after the first start of a service failed, or after the end of
            a service if one ends all.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            for each in self._services.values():
                self._on_change(each.status)
            while True:
                self._start_pending()
                if not self._announced and self._all_started():
                    self._announced = True
                    announce()
                self._poll()
        except _StopRequested:
            self._logs.log(f"{self._signals[0]}: stopping")
            return 0
        except StartError as error:
            self._logs.log(str(error))
            self._logs.log("stopping everything")
            return 1
        finally:
            self._stop_all()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(signal.Signals(number).name)

    def _all_started(self) -> bool:
        required = (each for each in self._services.values() if not each.service.optional)
        return all(each.was_ready or each.state is State.DONE for each in required)

    # -- Starts ----------------------------------------------------------------------------------

    def _start_pending(self) -> None:
        """Start services that are due and whose dependencies are ready, and probe started ones."""
        for each in self._services.values():
            if each.state is State.STARTING:
                self._probe(each)
            elif each.state in {State.WAITING, State.ENDED} and time.monotonic() >= each.due:
                if self._waits_for(each):
                    self._set_state(each, State.WAITING)
                else:
                    self._start(each)

    def _waits_for(self, each: SupervisedService) -> list[str]:
        """The dependencies that a start waits for. A restart does not wait for ever.

        The API serves without Redis, so a Redis that never comes back must not keep it from that.
        """
        if each.was_ready and time.monotonic() > each.due + DEPENDENCY_SECONDS:
            return []
        return self._missing(each)

    def _missing(self, each: SupervisedService) -> list[str]:
        """The dependencies that are not ready."""
        names = each.service.depends_on
        return [name for name in names if self._services[name].state not in AVAILABLE]

    def _start(self, each: SupervisedService) -> None:
        if not each.was_ready and not each.service.condition():
            self._set_state(each, State.DONE)
            return
        try:
            each.start()
        except _PROBE_ERRORS as error:
            self._fail(each, f"cannot be started: {error}")
            return
        self._reaper.add(each.process.pid)
        self._outputs.add(each)
        self._on_change(each.status)

    def _probe(self, each: SupervisedService) -> None:
        try:
            if each.is_ready():
                each.service.on_ready()
                self._set_ready(each)
                return
        except _PROBE_ERRORS as error:
            if not each.was_ready:
                raise StartError(f"{each.name} is not ready: {error}") from error
            self._tell_once(each, f"{each.name} is not ready yet: {error}")
        if time.monotonic() - each.started > each.service.start_timeout:
            self._report_late(each)

    def _set_ready(self, each: SupervisedService) -> None:
        each.ready_since = time.monotonic()
        if each.was_ready:
            self._logs.log(ends.describe_return(each))
        each.was_ready, each.attempts = True, 0
        each.reported.clear()
        self._set_state(each, State.DONE if each.service.task else State.READY)

    def _report_late(self, each: SupervisedService) -> None:
        """A server that is slow after a crash may be recovering: it is not killed then."""
        late = f"{each.name} was not ready after {each.service.start_timeout:g} s"
        if each.was_ready:
            self._tell_once(each, f"{late}; it runs on (pid {each.process.pid})")
        elif not each.service.optional:
            raise StartError(f"{late}:\n{self._logs.last_lines(each.name)}")

    # -- Ends ------------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Read output for one interval, and check the signals and the processes.

        Raises:
            _StopRequested: A signal arrived.
            StartError: A service ended that may not end now.
        """
        self._outputs.read(_POLL_SECONDS)
        self._logs.retry()
        self._replace_reaper()
        if self._signals:
            raise _StopRequested
        for each in self._services.values():
            succeeded = each.service.task and each.process.code == 0  # found by its probe
            if each.state in _RUNS and not each.process.alive and not succeeded:
                self._outputs.close(each)
                self._fail(each, f"ended with {ends.describe_code(each.process.code)}")

    def _fail(self, each: SupervisedService, how: str) -> None:
        """Handle the end of a service, or a start that failed.

        Raises:
            StartError: It was the first start, or one end ends all.
        """
        # What it has left in its process group, such as the workers of a server, may hold its port.
        each.process.kill()
        self._reaper.remove(each.process.pid)
        service, code = each.service, each.process.code or 0
        if service.optional and code > 0:
            self._set_state(each, State.FAILED)
            return
        if not service.optional and (self._fail_fast or not each.was_ready):
            raise StartError(f"{each.name} {how}:\n{self._logs.last_lines(each.name)}")
        ran_at_all = each.state in _RUNS
        last_lines = self._logs.last_lines(each.name, _SHOWN_LINES) if ran_at_all else ""
        shown = f"; its last lines:\n{last_lines}" if last_lines else ""
        ran = time.monotonic() - each.started
        if each.end():
            self._logs.log(ends.describe_end(each, how, ran, self._missing(each)) + shown)
        else:
            self._tell_once(each, ends.describe_failed_start(each, how), more=shown)
        self._on_change(each.status)

    def _tell_once(self, each: SupervisedService, text: str, more: str = "") -> None:
        """Log a text, unless it was logged since the service was ready last."""
        if text not in each.reported:
            each.reported.add(text)
            self._logs.log(text + more)

    def _set_state(self, each: SupervisedService, state: State) -> None:
        if each.state is not state:
            each.state = state
            self._on_change(each.status)

    def _replace_reaper(self) -> None:
        with suppress(OSError):  # no process can be started now: retried in the next iteration
            if self._reaper.replace_if_ended():
                self._reaper_ends += 1
                self._logs.log("reaper ended, started another")
                self._on_change(
                    ServiceStatus(REAPER, State.READY, self._reaper.pid, self._reaper_ends)
                )

    # -- Stop ------------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Stop each once its dependents have ended; a second signal kills the rest."""
        deadlines: dict[str, float] = {}
        signals_before = len(self._signals)
        while running := {name: each for name, each in self._services.items() if name in self.pids}:
            for name, each in running.items():
                if any(name in other.service.depends_on for other in running.values()):
                    continue
                process = each.process
                if name not in deadlines:
                    deadlines[name] = time.monotonic() + process.program.grace
                    process.resume()
                    process.send(process.program.stop_signal)
                elif time.monotonic() > deadlines[name]:
                    self._logs.log(f"{name} did not stop in time, killed")
                    process.kill()
            if len(self._signals) > signals_before:
                break
            self._outputs.read(_POLL_SECONDS)
        for each in self._services.values():
            each.process.kill()  # what it may have left in its process group
            self._reaper.remove(each.process.pid)
        self._logs.log("stopped")
