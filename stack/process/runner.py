"""The runner: starts services in dependency order, supervises them, and stops all when one ends.

One loop reads the services' output, starts services whose dependencies are ready, runs readiness
probes, and detects services that ended. Nothing in it blocks for long.
"""

import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from stack.process.log_multiplexer import LogMultiplexer
from stack.process.process import Process, Program, StartError
from stack.process.reaper import Reaper

_POLL_SECONDS = 0.05
_CHUNK = 65_536


@dataclass(frozen=True)
class Service:
    """A service: a process of the stack, with its dependencies and readiness probe.

    Attributes:
        program: What to start.
        ready: Readiness probe; a task is ready when it has exited with 0.
        depends_on: Names of the services that must be ready first.
        task: It ends by itself.
        condition: Checked before the start; if false the service is skipped and counts as ready.
        on_ready: Called when it is ready, before its dependents start.
        start_timeout: Seconds it may take to be ready.
        quiet: Its output goes only to its log file.
        optional: A task that the start does not wait for and whose failure stops nothing.
    """

    program: Program
    ready: Callable[[], bool] = lambda: True
    depends_on: Sequence[str] = ()
    task: bool = False
    condition: Callable[[], bool] = lambda: True
    on_ready: Callable[[], None] = lambda: None
    start_timeout: float = 60.0
    quiet: bool = False
    optional: bool = False

    @property
    def name(self) -> str:
        """Its program's name."""
        return self.program.name


class _StopRequested(Exception):  # noqa: N818 - not an error: a signal asked for the stop
    pass


class Runner:
    """Runs a set of services until a signal stops it or one of them ends."""

    def __init__(
        self,
        services: Sequence[Service],
        logs: LogMultiplexer,
        reaper: Reaper,
        on_start: Callable[[Service, int], None] = lambda _service, _pid: None,
    ) -> None:
        """Describe a run; nothing starts yet.

        Args:
            services: The services to run.
            logs: Receives the output of the services.
            reaper: Ends the services if this process is killed.
            on_start: Called for each started service, with its pid.
        """
        self._on_start = on_start
        self._services = {service.name: service for service in services}
        self._logs = logs
        self._reaper = reaper
        self._processes: dict[str, Process] = {}
        self._ready: set[str] = set()
        self._deadlines: dict[str, float] = {}
        self._outputs = selectors.DefaultSelector()
        self._signals: list[str] = []

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the running services."""
        return {name: process.pid for name, process in self._processes.items() if process.alive}

    @property
    def _required(self) -> set[str]:
        return {name for name, service in self._services.items() if not service.optional}

    def run(self, announce: Callable[[], None]) -> int:
        """Start all, call `announce` when all are ready, and run until the end.

        Returns:
            0 after a stop signal, 1 after a service failed.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            while self._required - self._ready:
                self._start_pending()
                self._poll()
            announce()
            while True:
                self._start_pending()
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

    def _start_pending(self) -> None:
        """Start services whose dependencies are ready, and probe started ones."""
        for name, service in self._services.items():
            if name in self._ready:
                continue
            if name not in self._processes:
                if self._ready.issuperset(service.depends_on):
                    self._start(service)
            elif self._is_ready(service):
                service.on_ready()
                self._ready.add(name)
            elif not service.optional and time.monotonic() > self._deadlines[name]:
                raise StartError(
                    f"{name} was not ready after {service.start_timeout:g} s:\n"
                    f"{self._logs.last_lines(name)}"
                )

    def _start(self, service: Service) -> None:
        if not service.condition():
            self._ready.add(service.name)
            return
        process = Process(service.program)
        try:
            process.start()
        except OSError as error:
            raise StartError(f"{service.name} cannot be started: {error}") from error
        self._reaper.add(process.pid)
        self._on_start(service, process.pid)
        self._processes[service.name] = process
        self._deadlines[service.name] = time.monotonic() + service.start_timeout
        os.set_blocking(process.output, False)
        self._outputs.register(process.output, selectors.EVENT_READ, service)

    def _is_ready(self, service: Service) -> bool:
        process = self._processes[service.name]
        return process.code == 0 if service.task else process.alive and service.ready()

    def _poll(self) -> None:
        """Read output for one interval, and check the signals and the processes.

        Raises:
            _StopRequested: A signal arrived.
            StartError: A service ended unexpectedly.
        """
        self._read()
        self._logs.retry()
        self._replace_reaper()
        if self._signals:
            raise _StopRequested
        for name, process in self._processes.items():
            service = self._services[name]
            may_have_ended = service.optional or (service.task and process.code == 0)
            if not process.alive and not may_have_ended:
                self._read()
                raise StartError(
                    f"{name} ended with {_describe(process.code)}:\n{self._logs.last_lines(name)}"
                )

    def _replace_reaper(self) -> None:
        with suppress(OSError):  # no process can be started now: retried in the next iteration
            if self._reaper.replace_if_ended():
                self._logs.log("reaper ended, started another")

    def _read(self) -> None:
        if not self._outputs.get_map():
            time.sleep(_POLL_SECONDS)
        for key, _ in self._outputs.select(_POLL_SECONDS):
            service: Service = key.data
            data = os.read(key.fd, _CHUNK)
            if data:
                self._logs.write(service.name, data, quiet=service.quiet)
            else:
                self._outputs.unregister(key.fd)

    def _stop_all(self) -> None:
        """Stop each once its dependents have ended; a second signal kills the rest."""
        deadlines: dict[str, float] = {}
        signals_before = len(self._signals)
        while running := {name for name, process in self._processes.items() if process.alive}:
            for name in running:
                process = self._processes[name]
                if any(name in self._services[other].depends_on for other in running):
                    continue
                if name not in deadlines:
                    deadlines[name] = time.monotonic() + process.program.grace
                    process.resume()
                    process.send(process.program.stop_signal)
                elif time.monotonic() > deadlines[name]:
                    self._logs.log(f"{name} did not stop in time, killed")
                    process.kill()
            if len(self._signals) > signals_before:
                break
            self._read()
        for process in self._processes.values():
            process.kill()  # what it may have left in its process group
            self._reaper.remove(process.pid)
        self._logs.log("stopped")


def _describe(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"code {code}"
