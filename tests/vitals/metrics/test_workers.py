import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vitals.metrics.worker import HITS, LEVEL, WAIT, WORST, Word
from vitals.metrics import worker_discovery, workers
from vitals.metrics.aggregation import Index
from vitals.metrics.catalogue import WORKERS, WORKERS_ENDED
from vitals.metrics.meter import Meter
from vitals.metrics.mmap_store import Segment, map_file, segments
from vitals.metrics.process_identity import birth, started_at
from vitals.metrics.workers import Workers, join
from vitals.testing import Readings

SCRIPT = Path(__file__).with_name("worker.py")
ROOT = SCRIPT.parents[3]
NOBODY = 65_534


class Worker:
    """A real process of `worker.py`."""

    def __init__(self, folder: Path, *, limit: int = 0) -> None:
        command = [sys.executable, "-m", "tests.vitals.metrics.worker", str(folder)]
        if limit:
            command = ["prlimit", f"--fsize={limit}", *command]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors = ""
        assert self._hear() == "ready"

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, command: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._hear()

    def page(self) -> Readings:
        return Readings.parse(self.tell("page").replace("\t", "\n") + "\n")

    def kill(self) -> None:
        if not self.errors:
            self.process.kill()
            _, self.errors = self.process.communicate()
            self.errors += "\nended"

    def _hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip("\n")


Start = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Worker] = []

    def begin(*, limit: int = 0) -> Worker:
        started.append(Worker(tmp_path, limit=limit))
        return started[-1]

    yield begin
    for worker in started:
        worker.kill()


def slabs(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.glob("test/*") if path.name != "lock")


def test_every_worker_answers_for_all(start: Start) -> None:
    first, second, third = start(), start(), start()
    first.tell("inc shared 2")
    second.tell("inc shared 3")
    second.tell("inc mine 1")
    third.tell("observe 0.5")
    for worker in (first, second, third):
        worker.tell("level 4")
        page = worker.page()
        assert page.value(HITS, word="shared") == 5
        assert page.value(HITS, word="mine") == 1
        assert page.value(HITS, word="before") == 3
        assert page.value(WAIT, "_count") == 1
        assert page.value(WORKERS) == 3
    assert page.value(LEVEL) == 12
    assert page.value(WORST) == 4


def test_the_dead_keep_their_counts_and_lose_their_gauges(start: Start, tmp_path: Path) -> None:
    first, second = start(), start()
    for worker in (first, second):
        worker.tell("inc shared 2")
        worker.tell("level 7")
        worker.tell("observe 0.5")
    for ended in range(1, 4):
        second.kill()
        page = first.page()
        assert page.value(HITS, word="shared") == 2 + 2 * ended
        assert page.value(WAIT, "_count") == 1 + ended
        assert page.value(WAIT, "_bucket", le="0.1") == 0
        assert page.value(LEVEL) == 7
        assert page.value(WORKERS) == 1
        assert page.value(WORKERS_ENDED) == ended
        assert len(slabs(tmp_path)) == 2
        second = start()
        second.tell("inc shared 2")
        second.tell("observe 0.5")
        assert second.page().value(HITS, word="shared") == 4 + 2 * ended
    first.kill()
    assert second.page().value(HITS, word="shared") == 10


def test_a_worker_killed_and_not_yet_waited_for_is_dead(start: Start) -> None:
    first, second = start(), start()
    second.tell("level 7")
    second.process.send_signal(signal.SIGKILL)  # and nobody asks how it ended
    deadline = time.monotonic() + 10
    while first.page().value(LEVEL):
        assert time.monotonic() < deadline
    assert Path(f"/proc/{second.pid}/stat").read_text().split()[2] == "Z"


def test_a_pid_that_was_given_out_again_is_not_its_predecessor(
    start: Start, tmp_path: Path
) -> None:
    first, second = start(), start()
    second.tell("level 7")
    second.tell("inc shared 3")
    (path,) = tmp_path.glob(f"test/{second.pid}-*")
    with path.open("r+b") as file:
        header = bytearray(file.read(40))
        written = Segment(map_file(path))
        at = header.index(written.birth.to_bytes(8, sys.byteorder))
        file.seek(at)
        file.write((written.birth - 1).to_bytes(8, sys.byteorder))
    page = first.page()
    assert birth(second.pid), "the other one lives"
    assert page.value(LEVEL) == 0
    assert page.value(HITS, word="shared") == 3


def test_killed_while_putting_the_dead_together(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was reached, the next to do it neither loses nor doubles a count."""
    for _ in range(2):
        worker = start()
        worker.tell("inc shared 3")
        worker.kill()
    folder = Workers(tmp_path / "test")
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("test/*.slab")}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _killed)
        with pytest.raises(KeyboardInterrupt):
            folder.sources(Index())
    assert (tmp_path / "test" / "dead.unfinished").exists()
    assert start().page().value(HITS, word="shared") == 6
    for name, content in kept.items():  # as if killed before it could remove them
        if name != "dead.slab":
            (tmp_path / "test" / name).write_bytes(content)
    page = start().page()
    assert page.value(HITS, word="shared") == 6
    assert page.value(HITS, word="before") == 4
    assert not set(kept) - {"dead.slab"} & set(slabs(tmp_path))


def _killed(*_arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_worker_killed_before_its_file_was_whole_leaves_nothing(
    start: Start, tmp_path: Path
) -> None:
    first = start()
    for content in (b"", bytes(100)):
        (tmp_path / "test" / "99999-1.slab").write_bytes(content)
        assert first.page().value(WORKERS) == 1
        assert len(slabs(tmp_path)) == 1


def test_a_frozen_worker_with_the_lock_freezes_no_other(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start()
    first.tell("inc shared 1")
    monkeypatch.setattr(workers, "LOCK_SECONDS", 0.05)
    with (tmp_path / "test" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        meter = Meter()
        join(meter, "test", tmp_path)
        assert {t.metric.name: t.rows[-1].values for t in meter.collect()}["hits_total"] == [1.0]


def test_a_full_disk_leaves_a_worker_with_its_own_figures(start: Start, tmp_path: Path) -> None:
    first = start()
    first.tell("inc shared 1")
    full = start(limit=20_000)
    full.tell("inc shared 5")
    assert full.page().value(HITS, word="shared") == 5
    assert first.page().value(HITS, word="shared") == 1
    assert len(slabs(tmp_path)) == 1
    full.kill()
    assert full.errors.count("shows only its own figures") == 1


def test_a_disk_that_fills_up_keeps_what_is_shared(start: Start) -> None:
    first, filling = start(), start(limit=1 << 16)
    filling.tell("many 1500")
    filling.tell("inc shared 5")
    own = filling.page()
    shared = [s for s in first.page().samples if s.name == HITS.name]
    assert own.value(HITS, word="shared") == 5
    assert len([s for s in own.samples if s.name == HITS.name]) == 1_502
    assert 100 < len(shared) < 1_400
    filling.kill()
    assert filling.errors.count("no room to share more") == 1


def test_the_dead_stay_as_they_are_while_there_is_no_room_to_put_them_together(
    start: Start, tmp_path: Path
) -> None:
    big = start()
    big.tell("many 1500")
    small = start(limit=1 << 16)
    big.kill()
    for _ in range(2):
        page = small.page()
        assert page.value(HITS) == 1_502
    assert len(slabs(tmp_path)) == 2
    assert start().page().value(HITS) == 1_503


@pytest.mark.parametrize("where", ["file", "link", "open", "kernel"])
def test_a_folder_that_will_not_do_is_said_once_and_nothing_is_shared(
    where: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = tmp_path / "chosen"
    if where == "file":
        chosen.write_text("")
    elif where == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        chosen.symlink_to(tmp_path / "elsewhere")
    elif where == "open":
        chosen.mkdir()
        chosen.chmod(0o777)
    else:
        chosen = Path("/proc/vitals")
    meter = Meter()
    join(meter, "test", chosen)
    meter.counter(HITS).bind(Word("here")).inc()
    assert not meter.shared
    assert "hits_total" in {total.metric.name for total in meter.collect()}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert not [*tmp_path.rglob("*.slab")]


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder in which this test can write nothing, also where tests run as root."""
    # Not below tmp_path, which only root may enter where root made it.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    account = os.geteuid()
    if account == 0:
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        os.seteuid(account)
        folder.chmod(0o700)
        shutil.rmtree(folder)


@pytest.mark.parametrize("below", ["", "chosen"])
def test_a_read_only_folder_is_said_once_and_nothing_is_shared(
    below: str, read_only: Path, caplog: pytest.LogCaptureFixture
) -> None:
    meter = Meter()
    join(meter, "test", read_only / below)
    meter.counter(HITS).bind(Word("here")).inc()
    assert not meter.shared
    assert "hits_total" in {total.metric.name for total in meter.collect()}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "shows only its own figures" in caplog.text
    assert not [*read_only.iterdir()]


def test_files_are_for_this_account_alone(start: Start, tmp_path: Path) -> None:
    start()
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_folders_of_ended_servers_go(tmp_path: Path) -> None:
    ended, alive, orphaned = (
        tmp_path / f"{pid}-{born}-abcdef012345"
        for pid, born in ((os.getpid(), 1), (os.getpid(), birth(os.getpid())), (99_999_999, 5))
    )
    for folder in (ended, alive):
        folder.mkdir(mode=0o700)
        (folder / "lock").touch()
    (tmp_path / "somebody's own").mkdir()
    worker = Worker(tmp_path)
    try:
        shutil.copytree(tmp_path / "test", orphaned)
        join(Meter(), "other", tmp_path)
        left = {path.name for path in tmp_path.iterdir()}
    finally:
        worker.kill()
    assert left == {alive.name, orphaned.name, "test", "other", "somebody's own"}


def test_a_process_that_stands_alone_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(worker_discovery.VARIABLE, raising=False)
    assert worker_discovery.folder("test") is None
    monkeypatch.setenv(worker_discovery.VARIABLE, "/somewhere")
    assert worker_discovery.folder("test") == Path("/somewhere/test")
    monkeypatch.setenv(worker_discovery.VARIABLE, "")
    assert worker_discovery.folder("test") is None
    assert worker_discovery.folder("test", "/elsewhere") == Path("/elsewhere/test")


def test_applications_of_one_server_are_told_apart() -> None:
    first, second, other = (worker_discovery.application(name) for name in ("a", "a", "b"))
    assert len({first, second, other}) == 3


def test_births_tell_processes_apart() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert (birth(process.pid) or 0) > (birth(os.getpid()) or 0) > 0
        assert abs((started_at(process.pid) or 0) - time.time()) < 30
        process.kill()
        deadline = time.monotonic() + 10
        while birth(process.pid) is not None:
            assert time.monotonic() < deadline
        process.wait()
    assert birth(process.pid) is None
    assert started_at(process.pid) is None


def test_what_a_fork_inherits_is_the_parents(start: Start, tmp_path: Path) -> None:
    first = start()
    meter = Meter()
    hits = meter.counter(HITS).bind(("shared",))  # type: ignore[arg-type]
    level = meter.gauge(LEVEL).bind(())  # type: ignore[arg-type]
    join(meter, "test", tmp_path)
    hits.inc(3)
    level.set(2)
    pid = os.fork()
    if pid == 0:
        hits.inc(100)
        level.set(100)
        os._exit(0 if hits.value == 100 and not meter.shared else 1)
    assert os.waitpid(pid, 0)[1] == 0
    page = first.page()
    assert page.value(HITS, word="shared") == 3
    assert page.value(LEVEL) == 2


def test_reading_again_reads_only_what_was_added(start: Start, tmp_path: Path) -> None:
    worker = start()
    worker.tell("many 300")
    index, folder = Index(), Workers(tmp_path / "test")
    (before,) = folder.sources(index)
    worker.tell("many 1500")
    (after,) = folder.sources(index)
    assert after.directory is before.directory
    assert len(after.directory.series) == 1_500 + 3
    (path,) = tmp_path.glob(f"test/{worker.pid}-*")
    assert len(segments(map_file(path))) > 1
