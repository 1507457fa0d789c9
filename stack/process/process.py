"""A server process: started without root, stopped by pid, ended with this process.

The kernel ends it when this process dies in whatever way (`setpriv --pdeathsig`). That signal is
sent when the *thread* that started the process dies, so one thread that never ends starts them all.
`setpriv` sets it after dropping root, because the kernel clears it on a change of user, and then
executes the server, so the pid is the server's own.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from stack.installation.service_user import ServiceUser
from vitals import secure_files

_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
_POLL_SECONDS = 0.03
_TAIL_LINES = 15


class StartError(RuntimeError):
    """A server did not become ready; the message holds its last log lines."""


@dataclass(frozen=True)
class Program:
    """What to start.

    Attributes:
        name: Name in logs and messages.
        command: Program and arguments. No secrets: every user can read them in `ps`.
        user: Service user to run as; `None` keeps the current user.
        env: Added to the current environment.
        stop_signal: Signal for an orderly shutdown.
        parent_death_signal: Sent by the kernel when this process dies.
        grace: Seconds for an orderly shutdown before it is killed.
    """

    name: str
    command: Sequence[str]
    user: ServiceUser | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    parent_death_signal: signal.Signals = signal.SIGKILL
    grace: float = 10.0

    @property
    def command_line(self) -> list[str]:
        """The whole command line, with setpriv."""
        drop = self.user.setpriv_options if self.user else []
        sent = self.parent_death_signal.name.removeprefix("SIG")
        return ["setpriv", *drop, "--pdeathsig", sent, "--", *self.command]

    @property
    def environment(self) -> dict[str, str]:
        """The current environment plus `env`, without variables that a service user must not have.

        ALERT_* variables hold secrets, and libraries would read files in another user's home.
        """
        inherited = dict(os.environ)
        if self.user:
            inherited = {
                name: text for name, text in inherited.items() if not name.startswith("ALERT_")
            }
            inherited["HOME"] = "/nonexistent"
        return {**inherited, **self.env}


class Process:
    """A program that can be started repeatedly, in a process group of its own."""

    def __init__(self, program: Program, *, log: Path | None = None) -> None:
        """Describe the process.

        Args:
            program: What to start.
            log: File that its output is appended to; without it `output` is a pipe.
        """
        self.program = program
        self.log = log
        self._popen: subprocess.Popen[bytes] | None = None
        self._reaped = False

    @property
    def pid(self) -> int:
        """Process id of the current or last run; 0 before the first."""
        return self._popen.pid if self._popen else 0

    @property
    def code(self) -> int | None:
        """Exit code of the last run, negative for a signal; `None` while it runs."""
        return self._popen.poll() if self._popen else 0

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def output(self) -> int:
        """File descriptor to read its output from, when there is no log file."""
        if self._popen is None or self._popen.stdout is None:
            raise RuntimeError(f"{self.program.name} has no output pipe")
        return self._popen.stdout.fileno()

    def start(self) -> None:
        """Start it unless it runs; `wait_ready` waits until it serves."""
        if not self.alive:
            self.kill()  # what a crashed run may have left in its process group
            self._popen = _STARTER.submit(self._spawn).result()
            self._reaped = False

    def stop(self) -> None:
        """Send the stop signal, wait for the end, then kill."""
        if self._popen is None:
            return
        if self.alive:
            self.resume()  # a paused process would not react
            self.send(self.program.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(self.program.grace)
        self.kill()

    def kill(self) -> None:
        """Kill it and its process group."""
        if self._popen is None or self._reaped:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._reaped = True  # from here on the pid may be reused
        if self._popen.stdout:
            self._popen.stdout.close()

    def pause(self) -> None:
        """Stop it with SIGSTOP: connections hang."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue it after a pause."""
        self._signal_group(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, not to its children."""
        if self._popen is not None:
            self._popen.send_signal(number)  # no effect if it has ended

    def _signal_group(self, number: signal.Signals) -> None:
        if self.alive:
            os.killpg(self.pid, number)

    def wait_ready(self, probe: Callable[[], bool], seconds: float = 30.0) -> None:
        """Poll until the server is ready.

        Raises:
            StartError: It ended, or was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not probe():
            if not self.alive:
                raise StartError(f"{self.program.name} ended with {self.code}{self._last_lines()}")
            if time.monotonic() > deadline:
                self.kill()
                raise StartError(
                    f"{self.program.name} was not ready after {seconds:g} s{self._last_lines()}"
                )
            time.sleep(_POLL_SECONDS)

    def _spawn(self) -> subprocess.Popen[bytes]:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        output = secure_files.open_file(self.log, flags) if self.log else None
        try:
            return subprocess.Popen(
                self.program.command_line,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if output is None else output,
                stderr=subprocess.STDOUT,
                env=self.program.environment,
                cwd=self.program.cwd,
                process_group=0,  # Ctrl-C in the terminal must reach the runner only
            )
        finally:
            if output is not None:
                os.close(output)

    def _last_lines(self) -> str:
        if self.log is None or not self.log.exists():
            return ""
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return ":\n  " + "\n  ".join(lines)
