"""The runner: start in dependency order, restarts, and a stop without orphans in every case."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stack.installation.service_user import ServiceUser
from stack.process import lock
from stack.process.log_multiplexer import LogMultiplexer
from stack.process.process import Program
from stack.process.reaper import Reaper
from stack.process.runner import Runner
from stack.process.service import Service, ServiceStatus, State
from tests.disks import disk

FOREVER = ["sleep", "600"]
LUCKLESS = ["sh", "-c", "sleep 0.3; echo out of luck; exit 7"]


class Run:
    """Runs services in this process and stores their output."""

    def __init__(self, folder: Path) -> None:
        self.terminal = io.StringIO()
        self.logs = LogMultiplexer(folder, self.terminal)
        self.folder = folder
        self.statuses: dict[str, ServiceStatus] = {}
        self._ended = False

    def run(
        self,
        *services: Service,
        then: Callable[[Runner], None] = lambda _: None,
        fail_fast: bool = False,
    ) -> int:
        held = lock.acquire(self.folder / "lock", "a test")
        reaper = Reaper(held)
        runner = Runner(services, self.logs, reaper, self._note, fail_fast=fail_fast)
        try:
            return runner.run(lambda: then(runner))
        finally:
            self._ended = True
            reaper.close()
            os.close(held)

    def interrupt(self) -> None:
        """Interrupt the runner, from a thread; not pytest, if the runner has ended before."""
        if not self._ended:
            os.kill(os.getpid(), signal.SIGINT)

    def interrupt_once(self, condition: Callable[[], bool]) -> Callable[[Runner], None]:
        """Interrupt the runner when a condition is true, or after a while."""

        def wait() -> None:
            _wait(condition, 30)
            self.interrupt()

        return lambda _: threading.Thread(target=wait).start()

    def _note(self, status: ServiceStatus) -> None:
        self.statuses[status.name] = status

    @property
    def text(self) -> str:
        return self.terminal.getvalue()


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Run]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield Run(tmp_path)
    for number, handler in before.items():
        signal.signal(number, handler)


def _service(name: str, command: list[str], **options: object) -> Service:
    return Service(Program(name, command, grace=3), **options)  # type: ignore[arg-type]


def _interrupt(_: Runner) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _is_gone(pid: int) -> bool:
    try:
        state = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def _wait(condition: Callable[[], bool], seconds: float = 15) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_service_starts_when_its_dependencies_are_ready(output: Run, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    check = ["sh", "-c", f"test -e {mark} && echo done"]
    code = output.run(
        _service("reader", ["cat", str(mark)], depends_on=("server", "task"), task=True),
        _service("server", ["sh", "-c", f"sleep 0.2; touch {mark}; sleep 600"], ready=mark.exists),
        _service("task", check, depends_on=("server",), task=True),
        then=_interrupt,
    )
    assert code == 0
    assert "task         | done" in output.text


def test_a_service_whose_condition_is_false_counts_as_ready(output: Run) -> None:
    code = output.run(
        _service("seed", ["false"], task=True, condition=lambda: False),
        _service("traffic", FOREVER, depends_on=("seed",)),
        then=_interrupt,
    )
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_services(output: Run, number: signal.Signals) -> None:
    pids: list[int] = []

    def ask(runner: Runner) -> None:
        pids.extend(runner.pids.values())
        os.kill(os.getpid(), number)

    code = output.run(
        _service("one", FOREVER), _service("two", FOREVER, depends_on=("one",)), then=ask
    )
    assert code == 0
    assert len(pids) == 2
    assert all(_is_gone(pid) for pid in pids)
    assert f"{number.name}: stopping" in output.text


def test_dependents_stop_before_their_dependencies(output: Run, tmp_path: Path) -> None:
    def slow(name: str) -> list[str]:
        end = f"sleep 0.2; echo {name} >> {tmp_path}/ends; exit"
        return ["sh", "-c", f"trap '{end}' TERM; echo up; while :; do sleep 0.05; done"]

    def up(name: str) -> Callable[[], bool]:
        return lambda: f"{name:<12} | up" in output.text

    output.run(
        _service("database", slow("database"), ready=up("database")),
        _service("api", slow("api"), depends_on=("database",), ready=up("api")),
        then=_interrupt,
    )
    assert (tmp_path / "ends").read_text().split() == ["api", "database"]


def test_a_service_that_ends_is_restarted_and_stops_nothing_else(
    output: Run, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    once = f"echo up; test -e {mark} || {{ touch {mark}; sleep 0.3; echo out of luck; exit 7; }}"
    run = ["sh", "-c", f"{once}; exec sleep 600"]
    weak = _service("weak", run, ready=lambda: True, quiet=True)
    pids: list[int] = []

    def note(runner: Runner) -> None:
        pids.append(runner.pids["steady"])
        output.interrupt_once(lambda: "is ready again" in output.text)(runner)

    assert output.run(_service("steady", FOREVER), weak, then=note) == 0
    assert re.search(
        r"weak ended with code 7 after 0\.\d s, is started again in 1\.0 s; its last lines:\n"
        r"stack +\|   up\nstack +\|   out of luck\n",
        output.text,
    )
    assert re.search(r"weak is ready again, \d\.\d s after it ended \(start 1\)", output.text)
    assert output.statuses["weak"].ends == 1
    assert output.statuses["steady"] == ServiceStatus("steady", State.READY, pids[0])


def test_what_an_ended_service_left_is_ended_before_it_is_restarted(
    output: Run, tmp_path: Path
) -> None:
    """As the workers of a killed server, which hold its port and answer requests."""
    family = f"sleep 600 & echo $! >> {tmp_path}/workers; wait"
    left: list[int] = []

    def count_left() -> None:
        file = tmp_path / "workers"
        workers = file.read_text().split() if file.exists() else []
        left.append(sum(not _is_gone(int(worker)) for worker in workers))

    server = _service(
        "server",
        ["sh", "-c", family],
        ready=(tmp_path / "workers").exists,
        before_start=count_left,
    )

    def kill(runner: Runner) -> None:
        os.kill(runner.pids["server"], signal.SIGKILL)
        output.interrupt_once(lambda: "is ready again" in output.text)(runner)

    assert output.run(server, then=kill) == 0
    assert "server ended with signal SIGKILL" in output.text
    assert left == [0, 0]
    assert len((tmp_path / "workers").read_text().split()) == 2


def test_a_service_that_cannot_start_again_is_said_once(output: Run, tmp_path: Path) -> None:
    """Retried with growing waits; then its port is free again."""
    attempts = tmp_path / "attempts"
    attempt = f"echo x >> {attempts}; case $(wc -l < {attempts}) in [23]) echo taken; exit 1;; esac"
    service = _service("server", ["sh", "-c", f"{attempt}; sleep 0.2; exec sleep 600"])
    # Ready once it outlives its check of the port.
    ready = replace(service, ready=lambda: _command(output.statuses["server"].pid)[0] == "sleep")

    def kill(runner: Runner) -> None:
        os.kill(runner.pids["server"], signal.SIGKILL)
        output.interrupt_once(lambda: "is ready again" in output.text)(runner)

    assert output.run(ready, then=kill) == 0
    assert len(attempts.read_text().split()) == 4
    assert output.text.count("server ended with code 1; tried again until it is ready") == 1
    assert "(start 3)" in output.text
    assert output.statuses["server"].ends == 3


def test_a_service_whose_port_is_taken_is_not_started(output: Run) -> None:
    """Another program that answers there would be taken for it."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    server = _service("server", FOREVER, port=port, ready=lambda: True)

    def kill(runner: Runner) -> None:
        taken = socket.create_server(("127.0.0.1", port))
        os.kill(runner.pids["server"], signal.SIGKILL)

        def wait() -> None:
            _wait(lambda: "cannot be started" in output.text)
            taken.close()
            _wait(lambda: "is ready again" in output.text)
            output.interrupt()

        threading.Thread(target=wait).start()

    assert output.run(server, then=kill) == 0
    named = rf"server cannot be started: port {port} is taken by \S+ \(pid {os.getpid()}\); tried"
    assert len(re.findall(named, output.text)) == 1
    assert "server is ready again" in output.text


def _command(pid: int) -> list[str]:
    return Path("/proc", str(pid), "cmdline").read_text().split("\0")


def test_a_restart_waits_until_its_dependencies_are_ready(output: Run, tmp_path: Path) -> None:
    order = tmp_path / "order"
    started = f"echo database >> {order}; sleep 0.3; touch {tmp_path}/open; exec sleep 600"
    database = _service(
        "database",
        ["sh", "-c", started],
        ready=(tmp_path / "open").exists,
        before_start=lambda: (tmp_path / "open").unlink(missing_ok=True),
    )
    check = f"test -e {tmp_path}/open && echo api >> {order} && exec sleep 600"
    api = _service("api", ["sh", "-c", check], depends_on=("database",))

    def kill_both(runner: Runner) -> None:
        os.kill(runner.pids["api"], signal.SIGKILL)
        os.kill(runner.pids["database"], signal.SIGKILL)
        output.interrupt_once(lambda: "api is ready again" in output.text)(runner)

    assert output.run(api, database, then=kill_both) == 0
    assert order.read_text().split() == ["database", "api"] * 2
    assert output.statuses["api"].ends == output.statuses["database"].ends == 1


def test_a_restarted_service_that_is_slow_is_not_killed(output: Run, tmp_path: Path) -> None:
    """PostgreSQL recovers after a crash; killed for that, it would never be ready."""
    (tmp_path / "ready").touch()
    service = _service("slow", FOREVER, ready=(tmp_path / "ready").exists, start_timeout=0.3)
    pids: list[int] = []

    def kill(runner: Runner) -> None:
        pids.append(runner.pids["slow"])
        (tmp_path / "ready").unlink()
        os.kill(pids[0], signal.SIGKILL)

        def wait() -> None:
            _wait(lambda: "it runs on" in output.text)
            pids.append(output.statuses["slow"].pid)
            (tmp_path / "ready").touch()
            _wait(lambda: "is ready again" in output.text)
            output.interrupt()

        threading.Thread(target=wait).start()

    assert output.run(service, then=kill) == 0
    assert output.text.count("slow was not ready after 0.3 s; it runs on") == 1
    assert output.statuses["slow"] == ServiceStatus("slow", State.READY, pids[1], ends=1)


def test_one_end_ends_all_when_asked(output: Run) -> None:
    others: list[int] = []
    code = output.run(
        _service("steady", FOREVER),
        _service("weak", LUCKLESS, ready=lambda: True, quiet=True),
        then=lambda runner: others.append(runner.pids["steady"]),
        fail_fast=True,
    )
    assert code == 1
    assert "weak ended with code 7" in output.text
    assert "out of luck" in output.text
    assert all(_is_gone(pid) for pid in others)


def test_a_service_that_ends_at_its_first_start_stops_all(output: Run) -> None:
    weak = _service("weak", ["sh", "-c", "echo taken; exit 1"], ready=lambda: False)
    assert output.run(_service("steady", FOREVER), weak) == 1
    assert "weak ended with code 1:" in output.text
    assert "taken" in output.text


def test_a_service_that_is_never_ready_stops_the_start(output: Run) -> None:
    code = output.run(_service("unready", FOREVER, ready=lambda: False, start_timeout=0.2))
    assert code == 1
    assert "unready was not ready after 0.2 s" in output.text


def test_a_missing_program_is_reported(output: Run) -> None:
    assert output.run(_service("ghost", ["no-such-program"])) == 1
    assert "no-such-program" in output.text


def test_a_service_that_ignores_the_stop_signal_is_killed(output: Run) -> None:
    stubborn = Program("stubborn", ["sh", "-c", "trap '' TERM; echo up; sleep 600"], grace=0.2)
    service = Service(stubborn, ready=lambda: "up" in output.text)
    assert output.run(service, then=_interrupt) == 0
    assert "stubborn did not stop in time, killed" in output.text


_RUNNER = """
import sys
from pathlib import Path
from stack.process import lock
from stack.process.reaper import Reaper
from stack.installation.service_user import ServiceUser
from stack.process.log_multiplexer import LogMultiplexer
from stack.process.process import Program
from stack.process.runner import Runner
from stack.process.service import Service
folder = Path(sys.argv[1])
family = 'sleep 600 & echo "$$ $!" > {}/family; wait'.format(folder)
services = [Service(Program("family", ["sh", "-c", family]), ready=(folder / "family").exists)]
reaper = Reaper(lock.acquire(folder / "lock", "a test"))
Runner(services, LogMultiplexer(folder), reaper).run(lambda: print("ready", flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("paused", [False, True])
def test_a_killed_runner_leaves_no_orphan(tmp_path: Path, *, paused: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _RUNNER, tmp_path], stdout=subprocess.PIPE, text=True
    ) as runner:
        assert runner.stdout
        assert any(line == "ready\n" for line in runner.stdout)
        pids = [int(word) for word in (tmp_path / "family").read_text().split()]
        assert not any(_is_gone(pid) for pid in pids)
        if paused:
            os.killpg(pids[0], signal.SIGSTOP)
        runner.kill()
    assert _wait(lambda: all(_is_gone(pid) for pid in pids))
    assert _wait(lambda: not lock.is_held(tmp_path / "lock"))


def test_an_optional_task_delays_nothing_and_its_failure_stops_nothing(output: Run) -> None:
    optional = _service("optional", ["sh", "-c", "echo sorry; exit 1"], task=True, optional=True)
    slow = _service("slow", FOREVER, task=True, optional=True)

    def interrupt_once_logged() -> None:
        _wait(lambda: "sorry" in output.text)
        output.interrupt()

    def end_once_it_failed(runner: Runner) -> None:
        assert "slow" in runner.pids
        threading.Thread(target=interrupt_once_logged).start()

    assert output.run(optional, slow, _service("main", FOREVER), then=end_once_it_failed) == 0
    assert "sorry" in output.text


def test_a_killed_reaper_is_replaced_and_keeps_the_process_groups(
    output: Run, tmp_path: Path
) -> None:
    held = lock.acquire(tmp_path / "lock", "a test")
    reaper = Reaper(held)
    program = subprocess.Popen(FOREVER, process_group=0)
    reaper.add(program.pid)
    assert not reaper.replace_if_ended()
    first = reaper.pid
    os.kill(first, signal.SIGKILL)
    assert _wait(reaper.replace_if_ended)
    assert reaper.pid != first
    closing = threading.Thread(target=reaper.close)
    closing.start()
    assert program.wait(15) == -signal.SIGTERM
    closing.join()
    os.close(held)


def test_the_runner_replaces_a_killed_reaper(output: Run) -> None:
    def kill_reaper(runner: Runner) -> None:
        os.kill(runner._reaper.pid, signal.SIGKILL)

        def interrupt_once_logged() -> None:
            _wait(lambda: "started another" in output.text)
            output.interrupt()

        threading.Thread(target=interrupt_once_logged).start()

    assert output.run(_service("main", FOREVER), then=kill_reaper) == 0
    assert output.text.count("reaper ended, started another") == 1


def test_a_full_log_disk_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with disk(tmp_path / "small", "200k") as small:
            output = Run(small.path)

            def fill(_: Runner) -> None:
                small.fill()

                def interrupt_once_logged() -> None:
                    _wait(lambda: "log files not writable" in output.text)
                    output.interrupt()

                threading.Thread(target=interrupt_once_logged).start()

            loud = ["sh", "-c", "while printf %0500d 0; do sleep 0.01; done"]
            assert output.run(_service("loud", loud, quiet=True), then=fill) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert output.text.count("No space left on device") == 1
    assert "SIGINT: stopping" in output.text


def test_a_service_user_gets_no_secret_environment_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", "https://hooks.example/s3cret")
    monkeypatch.setenv("HOME", "/root")
    service_user = ServiceUser("nobody", 65534, 65534)
    given = Program("api", ["true"], user=service_user, env={"MORE": "1"}).environment
    assert (given["HOME"], given["MORE"]) == ("/nonexistent", "1")
    assert "ALERT_WEBHOOK_URL" not in given
    assert Program("boards", ["true"]).environment["HOME"] == "/root"
