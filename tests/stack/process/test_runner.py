"""The runner: order of readiness, and an end without orphans, however it comes."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stack.installation.service_user import Account
from stack.process import lock, reaper
from stack.process.log_multiplexer import Journal
from stack.process.process import Program
from stack.process.runner import Part, Runner
from tests.disks import disk

FOREVER = ["sleep", "600"]


class Stage:
    """Runs parts in this process and remembers what was told."""

    def __init__(self, folder: Path) -> None:
        self.terminal = io.StringIO()
        self.journal = Journal(folder, self.terminal)
        self.folder = folder

    def run(self, *parts: Part, then: Callable[[Runner], None] = lambda _: None) -> int:
        held = lock.take(self.folder / "lock", "a test")
        guard = reaper.Keeper(held)
        runner = Runner(parts, self.journal, guard)
        try:
            return runner.run(lambda: then(runner))
        finally:
            guard.close()
            os.close(held)

    @property
    def told(self) -> str:
        return self.terminal.getvalue()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield Stage(tmp_path)
    for number, handler in before.items():
        signal.signal(number, handler)


def _part(name: str, command: list[str], **options: object) -> Part:
    return Part(Program(name, command, grace=3), **options)  # type: ignore[arg-type]


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


def test_a_part_starts_when_what_it_needs_is_ready(stage: Stage, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = stage.run(
        _part("reader", ["cat", str(mark)], needs=("server", "task"), task=True),
        _part("server", ["sh", "-c", f"sleep 0.2; touch {mark}; sleep 600"], ready=mark.exists),
        _part("task", ["sh", "-c", f"test -e {mark} && echo done"], needs=("server",), task=True),
        then=_interrupt,
    )
    assert code == 0
    assert "task         | done" in stage.told


def test_what_is_not_wanted_counts_as_ready(stage: Stage) -> None:
    code = stage.run(
        _part("seed", ["false"], task=True, wanted=lambda: False),
        _part("traffic", FOREVER, needs=("seed",)),
        then=_interrupt,
    )
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all(stage: Stage, number: signal.Signals) -> None:
    pids: list[int] = []

    def ask(runner: Runner) -> None:
        pids.extend(runner.pids.values())
        os.kill(os.getpid(), number)

    code = stage.run(_part("one", FOREVER), _part("two", FOREVER, needs=("one",)), then=ask)
    assert code == 0
    assert len(pids) == 2
    assert all(_is_gone(pid) for pid in pids)
    assert f"{number.name}: stopping" in stage.told


def test_dependents_end_before_what_they_need(stage: Stage, tmp_path: Path) -> None:
    def slow(name: str) -> list[str]:
        end = f"sleep 0.2; echo {name} >> {tmp_path}/ends; exit"
        return ["sh", "-c", f"trap '{end}' TERM; echo up; while :; do sleep 0.05; done"]

    def up(name: str) -> Callable[[], bool]:
        return lambda: f"{name:<12} | up" in stage.told

    stage.run(
        _part("database", slow("database"), ready=up("database")),
        _part("api", slow("api"), needs=("database",), ready=up("api")),
        then=_interrupt,
    )
    assert (tmp_path / "ends").read_text().split() == ["api", "database"]


def test_a_crash_of_one_part_ends_all_and_shows_its_last_lines(stage: Stage) -> None:
    others: list[int] = []

    def note(runner: Runner) -> None:
        others.append(runner.pids["steady"])

    code = stage.run(
        _part("steady", FOREVER),
        _part("weak", ["sh", "-c", "sleep 0.3; echo out of luck; exit 7"], quiet=True),
        then=note,
    )
    assert code == 1
    assert "weak ended with code 7" in stage.told
    assert "out of luck" in stage.told
    assert all(_is_gone(pid) for pid in others)


def test_a_part_that_is_never_ready_ends_the_start(stage: Stage) -> None:
    code = stage.run(_part("deaf", FOREVER, ready=lambda: False, seconds=0.2))
    assert code == 1
    assert "deaf was not ready after 0.2 s" in stage.told


def test_a_missing_program_is_told(stage: Stage) -> None:
    assert stage.run(_part("ghost", ["no-such-program"])) == 1
    assert "no-such-program" in stage.told


def test_a_part_that_ignores_the_request_to_end_is_killed(stage: Stage) -> None:
    stubborn = Program("stubborn", ["sh", "-c", "trap '' TERM; echo up; sleep 600"], grace=0.2)
    part = Part(stubborn, ready=lambda: "up" in stage.told)
    assert stage.run(part, then=_interrupt) == 0
    assert "stubborn does not end: killed" in stage.told


_RUNNER = """
import sys
from pathlib import Path
from stack.process import lock, reaper
from stack.installation.service_user import Account
from stack.process.log_multiplexer import Journal
from stack.process.process import Program
from stack.process.runner import Part, Runner
folder = Path(sys.argv[1])
family = 'sleep 600 & echo "$$ $!" > {}/family; wait'.format(folder)
parts = [Part(Program("family", ["sh", "-c", family]), ready=(folder / "family").exists)]
guard = reaper.Keeper(lock.take(folder / "lock", "a test"))
Runner(parts, Journal(folder), guard).run(lambda: print("ready", flush=True))
"""


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


def test_nobody_waits_for_a_part_that_runs_aside_nor_falls_with_it(stage: Stage) -> None:
    aside = _part("aside", ["sh", "-c", "echo sorry; exit 1"], task=True, aside=True)
    slow = _part("slow", FOREVER, task=True, aside=True)

    def interrupt_once_told() -> None:
        _wait(lambda: "sorry" in stage.told)
        os.kill(os.getpid(), signal.SIGINT)

    def end_once_it_failed(runner: Runner) -> None:
        assert "slow" in runner.pids
        threading.Thread(target=interrupt_once_told).start()

    assert stage.run(aside, slow, _part("main", FOREVER), then=end_once_it_failed) == 0
    assert "sorry" in stage.told


def test_a_keeper_that_is_killed_is_replaced_and_knows_what_the_first_knew(
    stage: Stage, tmp_path: Path
) -> None:
    held = lock.take(tmp_path / "lock", "a test")
    guard = reaper.Keeper(held)
    program = subprocess.Popen(FOREVER, process_group=0)
    guard.watch(program.pid)
    assert not guard.replace_if_ended()
    first = guard.pid
    os.kill(first, signal.SIGKILL)
    assert _wait(guard.replace_if_ended)
    assert guard.pid != first
    closing = threading.Thread(target=guard.close)
    closing.start()
    assert program.wait(15) == -signal.SIGTERM
    closing.join()
    os.close(held)


def test_the_runner_replaces_a_killed_keeper(stage: Stage) -> None:
    def kill_keeper(runner: Runner) -> None:
        os.kill(runner._keeper.pid, signal.SIGKILL)

        def interrupt_once_told() -> None:
            _wait(lambda: "started another" in stage.told)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt_once_told).start()

    assert stage.run(_part("main", FOREVER), then=kill_keeper) == 0
    assert stage.told.count("the keeper was ended: started another") == 1


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with disk(tmp_path / "small", "200k") as small:
            stage = Stage(small.place)

            def fill(_: Runner) -> None:
                small.fill()

                def interrupt_once_told() -> None:
                    _wait(lambda: "log files cannot be written" in stage.told)
                    os.kill(os.getpid(), signal.SIGINT)

                threading.Thread(target=interrupt_once_told).start()

            loud = ["sh", "-c", "while printf %0500d 0; do sleep 0.01; done"]
            assert stage.run(_part("loud", loud, quiet=True), then=fill) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stage.told.count("No space left on device") == 1
    assert "SIGINT: stopping" in stage.told


def test_a_lesser_account_learns_nothing_that_it_has_no_use_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALERT_WEBHOOK_URL", "https://hooks.example/s3cret")
    monkeypatch.setenv("HOME", "/root")
    lesser = Account("nobody", 65534, 65534)
    given = Program("api", ["true"], account=lesser, env={"MORE": "1"}).environment
    assert (given["HOME"], given["MORE"]) == ("/nonexistent", "1")
    assert "ALERT_WEBHOOK_URL" not in given
    assert Program("boards", ["true"]).environment["HOME"] == "/root"
