"""Starts parts in order of readiness, watches them, and ends all when one ends.

One loop does everything: it reads the parts' output, starts what has all it needs, asks those
that start whether they are ready, and notices who ended. Nothing in it blocks for long.
"""

import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from stack.process.log_multiplexer import Journal
from stack.process.process import Process, Program, StartError
from stack.process.reaper import Keeper

_TURN_SECONDS = 0.05
_CHUNK = 65_536


@dataclass(frozen=True)
class Part:
    """A program of the stack and its place in the order.

    Attributes:
        program: What to start.
        ready: Whether it serves; a task is ready when it has ended well.
        needs: Names of the parts that must be ready before.
        task: It ends by itself.
        wanted: Asked when its turn comes; a part that is not wanted counts as ready.
        once_ready: Done once it is ready, before others that need it start.
        seconds: How long it may take to be ready.
        quiet: Its lines go only to its log file.
        aside: A task that nobody waits for and whose failure ends nothing.
    """

    program: Program
    ready: Callable[[], bool] = lambda: True
    needs: Sequence[str] = ()
    task: bool = False
    wanted: Callable[[], bool] = lambda: True
    once_ready: Callable[[], None] = lambda: None
    seconds: float = 60.0
    quiet: bool = False
    aside: bool = False

    @property
    def name(self) -> str:
        """Its program's name."""
        return self.program.name


class _Asked(Exception):  # noqa: N818 - not an error: somebody asked us to stop
    pass


class Runner:
    """Runs a set of parts until it is asked to stop or one of them ends."""

    def __init__(
        self,
        parts: Sequence[Part],
        journal: Journal,
        keeper: Keeper,
        started: Callable[[Part, int], None] = lambda _part, _pid: None,
    ) -> None:
        """Describe a run; nothing starts yet.

        Args:
            parts: What to run.
            journal: Takes what the parts say.
            keeper: Ends what is left when we are killed.
            started: Told each part that was started, with its pid.
        """
        self._started = started
        self._parts = {part.name: part for part in parts}
        self._journal = journal
        self._keeper = keeper
        self._processes: dict[str, Process] = {}
        self._ready: set[str] = set()
        self._due: dict[str, float] = {}
        self._outputs = selectors.DefaultSelector()
        self._signals: list[str] = []

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of the parts that run now."""
        return {name: process.pid for name, process in self._processes.items() if process.alive}

    @property
    def _awaited(self) -> set[str]:
        return {name for name, part in self._parts.items() if not part.aside}

    def run(self, announce: Callable[[], None]) -> int:
        """Start all, call `announce` when all are ready, and stay until the end.

        Returns:
            0 when asked to stop, 1 when a part failed.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)
        try:
            while self._awaited - self._ready:
                self._advance()
                self._turn()
            announce()
            while True:
                self._advance()
                self._turn()
        except _Asked:
            self._journal.say(f"{self._signals[0]}: stopping")
            return 0
        except StartError as error:
            self._journal.say(str(error))
            self._journal.say("stopping everything")
            return 1
        finally:
            self._stop_all()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(signal.Signals(number).name)

    def _advance(self) -> None:
        """Start what may start, and see who has become ready."""
        for name, part in self._parts.items():
            if name in self._ready:
                continue
            if name not in self._processes:
                if self._ready.issuperset(part.needs):
                    self._start(part)
            elif self._has_become_ready(part):
                part.once_ready()
                self._ready.add(name)
            elif not part.aside and time.monotonic() > self._due[name]:
                raise StartError(
                    f"{name} was not ready after {part.seconds:g} s:\n"
                    f"{self._journal.last_lines(name)}"
                )

    def _start(self, part: Part) -> None:
        if not part.wanted():
            self._ready.add(part.name)
            return
        process = Process(part.program)
        try:
            process.start()
        except OSError as error:
            raise StartError(f"{part.name} could not be started: {error}") from error
        self._keeper.watch(process.pid)
        self._started(part, process.pid)
        self._processes[part.name] = process
        self._due[part.name] = time.monotonic() + part.seconds
        os.set_blocking(process.output, False)
        self._outputs.register(process.output, selectors.EVENT_READ, part)

    def _has_become_ready(self, part: Part) -> bool:
        process = self._processes[part.name]
        return process.code == 0 if part.task else process.alive and part.ready()

    def _turn(self) -> None:
        """Read output for a moment.

        Raises:
            _Asked: A signal came.
            StartError: A part ended that should not have.
        """
        self._read()
        self._journal.look()
        self._mind_keeper()
        if self._signals:
            raise _Asked
        for name, process in self._processes.items():
            part = self._parts[name]
            may_end = part.aside or (part.task and process.code == 0)
            if not process.alive and not may_end:
                self._read()
                raise StartError(
                    f"{name} ended with {_describe(process.code)}:\n"
                    f"{self._journal.last_lines(name)}"
                )

    def _mind_keeper(self) -> None:
        with suppress(OSError):  # no process can be started now: again in the next turn
            if self._keeper.replace_if_ended():
                self._journal.say("the keeper was ended: started another")

    def _read(self) -> None:
        if not self._outputs.get_map():
            time.sleep(_TURN_SECONDS)
        for key, _ in self._outputs.select(_TURN_SECONDS):
            part: Part = key.data
            data = os.read(key.fd, _CHUNK)
            if data:
                self._journal.take(part.name, data, quiet=part.quiet)
            else:
                self._outputs.unregister(key.fd)

    def _stop_all(self) -> None:
        """Ask each to end once all that need it have ended; a second signal kills the rest."""
        told: dict[str, float] = {}
        signals_before = len(self._signals)
        while running := {name for name, process in self._processes.items() if process.alive}:
            for name in running:
                process = self._processes[name]
                if any(name in self._parts[other].needs for other in running):
                    continue
                if name not in told:
                    told[name] = time.monotonic() + process.program.grace
                    process.resume()
                    process.send(process.program.stop_signal)
                elif time.monotonic() > told[name]:
                    self._journal.say(f"{name} does not end: killed")
                    process.kill()
            if len(self._signals) > signals_before:
                break
            self._read()
        for process in self._processes.values():
            process.kill()  # what it may have left in its group
            self._keeper.forget(process.pid)
        self._journal.say("stopped")


def _describe(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"code {code}"
