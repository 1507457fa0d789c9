"""A server process: started without root, stopped by its pid, never left behind.

The kernel ends it when we die, however we die (`setpriv --pdeathsig`). That signal is sent when
the *thread* dies that started the process, so one thread that lives as long as we do starts all.
`setpriv` sets it after it dropped root, because the kernel forgets it on a change of user, and
then becomes the server, so that the pid is the server's own.
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

from stack.installation.service_user import Account
from vitals import secure_files

_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starter")
_POLL_SECONDS = 0.03
_LAST_LINES = 15


class StartError(RuntimeError):
    """A server did not become ready; the message carries its last lines."""


@dataclass(frozen=True)
class Program:
    """What to start.

    Attributes:
        name: How logs and messages call it.
        command: Program and arguments. No secrets: everyone can read them in `ps`.
        account: Whom to run as; `None` stays who we are.
        env: Added to our own environment.
        stop_signal: Asks for an orderly end.
        orphan_signal: What the kernel sends when we die.
        grace: Seconds for an orderly end, then it is killed.
    """

    name: str
    command: Sequence[str]
    account: Account | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    grace: float = 10.0

    @property
    def words(self) -> list[str]:
        """The whole command line."""
        drop = self.account.prefix if self.account else []
        sent = self.orphan_signal.name.removeprefix("SIG")
        return ["setpriv", *drop, "--pdeathsig", sent, "--", *self.command]

    @property
    def environment(self) -> dict[str, str]:
        """Our own and its own, without what a lesser account has no use for.

        Whom alerts reach is a secret, and libraries look for files in a home that is not theirs.
        """
        inherited = dict(os.environ)
        if self.account:
            inherited = {
                name: text for name, text in inherited.items() if not name.startswith("ALERT_")
            }
            inherited["HOME"] = "/nonexistent"
        return {**inherited, **self.env}


class Process:
    """One run after another of a program, in a process group of its own."""

    def __init__(self, program: Program, *, log: Path | None = None) -> None:
        """Describe the process.

        Args:
            program: What to start.
            log: File that its output is added to; without it `output` is a pipe.
        """
        self.program = program
        self.log = log
        self._popen: subprocess.Popen[bytes] | None = None
        self._buried = False

    @property
    def pid(self) -> int:
        """Process id of the present or last run; 0 before the first."""
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
        """Start it, once; `wait_ready` says when it serves."""
        if not self.alive:
            self.kill()  # what a crashed run may have left in its group
            self._popen = _STARTER.submit(self._spawn).result()
            self._buried = False

    def stop(self) -> None:
        """Ask for an orderly end, wait for it, then insist."""
        if self._popen is None:
            return
        if self.alive:
            self.resume()  # a paused process hears nothing else
            self.send(self.program.stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(self.program.grace)
        self.kill()

    def kill(self) -> None:
        """End it and all it started, at once."""
        if self._popen is None or self._buried:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._buried = True  # from here on the pid may be a stranger's
        if self._popen.stdout:
            self._popen.stdout.close()

    def pause(self) -> None:
        """Freeze it: connections hang and nothing is answered."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after a pause."""
        self._signal_group(signal.SIGCONT)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, not to what it started."""
        if self._popen is not None:
            self._popen.send_signal(number)  # nothing when it has ended

    def _signal_group(self, number: signal.Signals) -> None:
        if self.alive:
            os.killpg(self.pid, number)

    def wait_ready(self, probe: Callable[[], bool], seconds: float = 30.0) -> None:
        """Poll until the server answers.

        Raises:
            StartError: It ended instead, or did not answer in time.
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
                self.program.words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if output is None else output,
                stderr=subprocess.STDOUT,
                env=self.program.environment,
                cwd=self.program.cwd,
                process_group=0,  # a Ctrl-C in the terminal is for us alone
            )
        finally:
            if output is not None:
                os.close(output)

    def _last_lines(self) -> str:
        if self.log is None or not self.log.exists():
            return ""
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return ":\n  " + "\n  ".join(lines)
