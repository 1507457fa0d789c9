import fcntl
import os
import resource
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
from vitals.metrics import worker_directory, worker_discovery
from vitals.metrics.aggregation import SeriesRegistry
from vitals.metrics.catalogue import DROPPED, WORKERS, WORKERS_CRASHED, WORKERS_ENDED
from vitals.metrics.meter import Meter
from vitals.metrics.mmap_store import Segment, map_file, segments
from vitals.metrics.process_identity import start_time, unix_start_time
from vitals.metrics.worker_directory import WorkerDirectory
from vitals.metrics.worker_sharing import join
from vitals.testing import Readings

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("worker.py")
ROOT = SCRIPT.parents[3]
NOBODY = 65_534


class Worker:
    """A real process of `worker.py`."""

    def __init__(self, directory: Path, *, limit: int = 0) -> None:
        command = [sys.executable, "-m", "tests.vitals.metrics.worker", str(directory)]
        if limit:
            command = ["prlimit", f"--fsize={limit}:unlimited", *command]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors = ""
        assert self._receive() == "ready"

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, command: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._receive()

    def scrape(self) -> Readings:
        return Readings.parse(self.send("page").replace("\t", "\n") + "\n")

    def kill(self) -> None:
        if not self.errors:
            self.process.kill()
            _, self.errors = self.process.communicate()
            self.errors += "\nended"

    def _receive(self) -> str:
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


def store_files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.glob("test/*") if path.name != "lock")


def test_every_worker_serves_the_metrics_of_all(start: Start) -> None:
    first, second, third = start(), start(), start()
    first.send("inc shared 2")
    second.send("inc shared 3")
    second.send("inc mine 1")
    third.send("observe 0.5")
    for worker in (first, second, third):
        worker.send("level 4")
        scrape = worker.scrape()
        assert scrape.value(HITS, word="shared") == 5
        assert scrape.value(HITS, word="mine") == 1
        assert scrape.value(HITS, word="before") == 3
        assert scrape.value(WAIT, "_count") == 1
        assert scrape.value(WORKERS) == 3
    assert scrape.value(LEVEL) == 12
    assert scrape.value(WORST) == 4


def test_dead_workers_keep_counters_and_lose_gauges(start: Start, tmp_path: Path) -> None:
    first, second = start(), start()
    for worker in (first, second):
        worker.send("inc shared 2")
        worker.send("level 7")
        worker.send("observe 0.5")
    for ended in range(1, 4):
        second.kill()
        scrape = first.scrape()
        assert scrape.value(HITS, word="shared") == 2 + 2 * ended
        assert scrape.value(WAIT, "_count") == 1 + ended
        assert scrape.value(WAIT, "_bucket", le="0.1") == 0
        assert scrape.value(LEVEL) == 7
        assert scrape.value(WORKERS) == 1
        assert scrape.value(WORKERS_ENDED) == ended
        assert len(store_files(tmp_path)) == 2
        second = start()
        second.send("inc shared 2")
        second.send("observe 0.5")
        assert second.scrape().value(HITS, word="shared") == 4 + 2 * ended
    first.kill()
    assert second.scrape().value(HITS, word="shared") == 10


def test_a_zombie_worker_counts_as_dead(start: Start) -> None:
    first, second = start(), start()
    second.send("level 7")
    second.process.send_signal(signal.SIGKILL)  # and never reaped
    deadline = time.monotonic() + 10
    while first.scrape().value(LEVEL):
        assert time.monotonic() < deadline
    assert Path(f"/proc/{second.pid}/stat").read_text().split()[2] == "Z"


def test_a_reused_pid_is_not_its_predecessor(start: Start, tmp_path: Path) -> None:
    first, second = start(), start()
    second.send("level 7")
    second.send("inc shared 3")
    (path,) = tmp_path.glob(f"test/{second.pid}-*")
    with path.open("r+b") as file:
        header = bytearray(file.read(40))
        written = Segment(map_file(path))
        at = header.index(written.start_time.to_bytes(8, sys.byteorder))
        file.seek(at)
        file.write((written.start_time - 1).to_bytes(8, sys.byteorder))
    scrape = first.scrape()
    assert start_time(second.pid), "the other one lives"
    assert scrape.value(LEVEL) == 0
    assert scrape.value(HITS, word="shared") == 3


def test_a_kill_during_compaction_loses_and_doubles_nothing(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next compaction neither loses nor doubles a count, wherever the last one ended."""
    for _ in range(2):
        worker = start()
        worker.send("inc shared 3")
        worker.kill()
    directory = WorkerDirectory(tmp_path / "test")
    contents = {path.name: path.read_bytes() for path in tmp_path.glob("test/*.mmap")}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _killed)
        with pytest.raises(KeyboardInterrupt):
            directory.sources(SeriesRegistry())
    assert (tmp_path / "test" / "dead.tmp").exists()
    assert start().scrape().value(HITS, word="shared") == 6
    for name, content in contents.items():  # as if killed before it could remove them
        if name != "dead.mmap":
            (tmp_path / "test" / name).write_bytes(content)
    scrape = start().scrape()
    assert scrape.value(HITS, word="shared") == 6
    assert scrape.value(HITS, word="before") == 4
    assert not set(contents) - {"dead.mmap"} & set(store_files(tmp_path))


def _killed(*_arguments: object) -> None:
    raise KeyboardInterrupt


def test_an_incomplete_worker_file_is_removed(start: Start, tmp_path: Path) -> None:
    first = start()
    for content in (b"", bytes(100)):
        (tmp_path / "test" / "99999-1.mmap").write_bytes(content)
        assert first.scrape().value(WORKERS) == 1
        assert len(store_files(tmp_path)) == 1


def test_a_frozen_worker_holding_the_lock_blocks_no_other(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start()
    first.send("inc shared 1")
    monkeypatch.setattr(worker_directory, "LOCK_TIMEOUT", 0.05)
    with (tmp_path / "test" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        meter = Meter()
        join(meter, "test", tmp_path)
        assert {t.metric.name: t.series[-1].values for t in meter.collect()}["hits_total"] == [1.0]


def test_with_a_full_disk_a_worker_exports_only_its_own_metrics(
    start: Start, tmp_path: Path
) -> None:
    first = start()
    first.send("inc shared 1")
    full = start(limit=20_000)
    full.send("inc shared 5")
    assert full.scrape().value(HITS, word="shared") == 5
    assert first.scrape().value(HITS, word="shared") == 1
    assert len(store_files(tmp_path)) == 1
    full.kill()
    assert full.errors.count("exports only its own metrics") == 1


def test_a_disk_that_fills_up_keeps_shared_series_until_there_is_space(start: Start) -> None:
    first, filling = start(), start(limit=1 << 16)
    filling.send("many 1500")
    filling.send("inc shared 5")
    first.send("inc shared 2")
    own, others = filling.scrape(), first.scrape()
    shared = [s for s in others.samples if s.name == HITS.name]
    assert len([s for s in own.samples if s.name == HITS.name]) == 1_503
    assert 100 < len(shared) < 1_400
    # What others cannot see is a series of its own: no counter falls from one scrape to the next.
    mine = {"word": "shared", "worker": str(filling.pid)}
    by_labels = [(s.labels, s.value) for s in own.samples if s.labels.get("word") == "shared"]
    assert len(by_labels) == 2
    assert ({"word": "shared"}, 2) in by_labels
    assert (mine, 5) in by_labels
    assert others.value(HITS, word="shared") == 2
    assert others.value(DROPPED, reason="workers_apart") == 1
    resource.prlimit(filling.pid, resource.RLIMIT_FSIZE, (1 << 30, resource.RLIM_INFINITY))
    assert filling.send("retry") == "done"
    for worker in (filling, first):
        assert worker.scrape().value(HITS, word="shared") == 7
        assert not [s for s in worker.scrape().samples if "worker" in s.labels]
    filling.kill()
    assert filling.errors.count("no space to share more") == 1


def test_a_worker_that_could_not_share_does_once_it_can(start: Start) -> None:
    first, full = start(), start(limit=20_000)
    full.send("inc shared 5")
    scrape = full.scrape()
    assert {s.labels.get("worker") for s in scrape.samples} == {str(full.pid)}
    assert scrape.value(WORKERS) == 1
    resource.prlimit(full.pid, resource.RLIMIT_FSIZE, (1 << 30, resource.RLIM_INFINITY))
    full.send("retry")
    assert full.scrape().value(HITS, word="shared") == 5
    assert first.scrape().value(HITS, word="shared") == 5


def test_a_removed_directory_is_made_again_and_no_counter_falls(
    start: Start, tmp_path: Path
) -> None:
    first, second, third, dead = (start() for _ in range(4))
    workers = (first, second, third)
    for worker in (*workers, dead):
        worker.send("inc shared 10")
        worker.send("observe 0.5")
    dead.kill()
    for worker in workers:
        assert worker.scrape().value(HITS, word="shared") == 40
    for rounds in range(3):
        shutil.rmtree(tmp_path / "test")
        for number, worker in enumerate(workers):
            worker.send("inc shared 1")
            scrape = worker.scrape()
            assert scrape.value(HITS, word="shared") == 40 + 3 * rounds + number + 1
            assert scrape.value(WAIT, "_count") == 4
            assert scrape.value(WORKERS) == 3
            assert scrape.value(WORKERS_ENDED) == 1
        assert len(store_files(tmp_path)) == 4
        for worker in workers:
            worker.send("tick")
    assert start().scrape().value(HITS, word="shared") == 49
    first.kill()
    assert first.errors.count("removed or replaced") == 3


def test_what_a_worker_counted_after_the_removal_survives_its_death(
    start: Start, tmp_path: Path
) -> None:
    first, second, third = start(), start(), start()
    for worker in (first, second, third):
        worker.scrape()
    shutil.rmtree(tmp_path / "test")
    second.send("inc shared 7")
    second.kill()  # before it could write its file again
    for worker in (first, third, first):
        scrape = worker.scrape()
        assert scrape.value(HITS, word="shared") == 7
        assert scrape.value(WORKERS_ENDED) == 1
    assert start().scrape().value(HITS, word="shared") == 7


def test_a_removal_is_noticed_without_scrapes(start: Start, tmp_path: Path) -> None:
    first, second = start(), start()
    for worker in (first, second):
        worker.send("inc shared 2")
        worker.send("tick")
    shutil.rmtree(tmp_path / "test")
    for worker in (first, second):
        worker.send("tick")
    assert start().scrape().value(HITS, word="shared") == 4
    assert first.scrape().value(DROPPED, reason="workers_directory") == 2


def _as_file(directory: Path, _elsewhere: Path) -> None:
    directory.write_text("")


def _as_link(directory: Path, elsewhere: Path) -> None:
    directory.symlink_to(elsewhere)


def _open_to_all(directory: Path, _elsewhere: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)


def _of_another_user(directory: Path, _elsewhere: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make another user's directory")
    directory.mkdir(mode=0o700)
    os.chown(directory, NOBODY, NOBODY)


@pytest.mark.parametrize("replace", [_as_file, _as_link, _open_to_all, _of_another_user])
def test_a_directory_that_is_replaced_harms_no_figure(
    replace: Callable[[Path, Path], None], start: Start, tmp_path: Path
) -> None:
    first, second = start(), start()
    for worker in (first, second):
        worker.send("inc shared 2")
        worker.send("tick")
    directory, elsewhere = tmp_path / "test", tmp_path / "elsewhere"
    directory.rename(elsewhere)
    replace(directory, elsewhere)
    for worker in (first, second) * 2:
        worker.send("inc shared 1")
        worker.send("tick")
    scrapes = [worker.scrape().value(HITS, word="shared") for worker in (first, second) * 3]
    assert set(scrapes) == {8}
    assert first.scrape().value(DROPPED, reason="workers_apart") >= 1
    late = start()
    late.send("inc shared 1")
    samples = [s for s in late.scrape().samples if s.name == HITS.name]
    assert {s.labels.get("worker") for s in samples} == {str(late.pid)}
    _remove(directory)
    for worker in (first, second, late):
        worker.send("retry")
        worker.send("tick")
    assert {w.scrape().value(HITS, word="shared") for w in (first, second, late)} == {9}
    second.kill()
    assert second.errors.count("cannot be made again") == 1
    assert second.errors.count("and no figure is lost") == 1


def test_a_file_that_is_replaced_is_written_again(start: Start, tmp_path: Path) -> None:
    first, second = start(), start()
    for worker in (first, second):
        worker.send("inc shared 2")
        worker.send("tick")
    (path,) = tmp_path.glob(f"test/{second.pid}-*.mmap")
    path.unlink()
    path.write_bytes(b"x" * 100_000)
    second.send("inc shared 1")
    second.send("tick")
    assert {worker.scrape().value(HITS, word="shared") for worker in (first, second)} == {5}


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)


def test_a_directory_that_another_user_has_taken_is_avoided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken, secret = tmp_path / "taken", tmp_path / "secret"
    taken.mkdir()
    taken.chmod(0o777)
    monkeypatch.delenv(worker_discovery.ENV_VAR, raising=False)
    monkeypatch.setattr(worker_discovery, "server_pid", os.getppid)
    monkeypatch.setattr(worker_discovery, "base_directories", lambda _: [taken, secret])
    meter = Meter()
    join(meter, "test")
    assert meter.shared
    assert not caplog.records
    assert [*secret.glob("*/*.mmap")]
    assert not [*taken.iterdir()]
    taken.chmod(0o700)  # a worker that starts later still finds the others
    later = Meter()
    join(later, "test")
    assert len([*secret.glob("*/*.mmap")]) == 2


def test_other_users_cannot_guess_the_last_directories() -> None:
    bases = worker_discovery.base_directories(os.getppid())
    assert len({path.name for path in bases}) == 2
    with subprocess.Popen(["sleep", "60"]) as process:
        others = worker_discovery.base_directories(process.pid)
        process.kill()
    assert bases[0] == others[0]
    assert bases[-1].name != others[-1].name


def test_workers_that_end_by_plan_did_not_crash(start: Start) -> None:
    first, planned, killed = start(), start(), start()
    planned.send("leave")
    for worker in (planned, killed):
        worker.send("inc shared 1")
        worker.kill()
    for _ in range(2):
        scrape = first.scrape()
        assert scrape.value(WORKERS_ENDED) == 2
        assert scrape.value(WORKERS_CRASHED) == 1
        assert scrape.value(HITS, word="shared") == 2


def test_dead_workers_files_stay_while_there_is_no_space_to_compact(
    start: Start, tmp_path: Path
) -> None:
    big = start()
    big.send("many 1500")
    small = start(limit=1 << 16)
    big.kill()
    for _ in range(2):
        scrape = small.scrape()
        assert scrape.value(HITS) == 1_502
    assert len(store_files(tmp_path)) == 2
    assert start().scrape().value(HITS) == 1_503


@pytest.mark.parametrize("where", ["file", "link", "open", "kernel"])
def test_an_unsafe_directory_is_logged_once_and_nothing_is_shared(
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
    assert not [*tmp_path.rglob("*.mmap")]


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A directory in which this test can write nothing, even as root."""
    # Not below tmp_path: when created by root, only root may enter it.
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o555)
    account = os.geteuid()
    if account == 0:
        os.seteuid(NOBODY)
    try:
        yield directory
    finally:
        os.seteuid(account)
        directory.chmod(0o700)
        shutil.rmtree(directory)


@pytest.mark.parametrize("below", ["", "chosen"])
def test_a_read_only_directory_is_logged_once_and_nothing_is_shared(
    below: str, read_only: Path, caplog: pytest.LogCaptureFixture
) -> None:
    meter = Meter()
    join(meter, "test", read_only / below)
    meter.counter(HITS).bind(Word("here")).inc()
    assert not meter.shared
    assert "hits_total" in {total.metric.name for total in meter.collect()}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "exports only its own metrics" in caplog.text
    assert not [*read_only.iterdir()]


def test_files_are_private_to_the_user(start: Start, tmp_path: Path) -> None:
    start()
    (directory,) = tmp_path.iterdir()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_directories_of_ended_servers_are_removed(tmp_path: Path) -> None:
    ended, alive, orphaned = (
        tmp_path / f"{pid}-{start}-abcdef012345"
        for pid, start in (
            (os.getpid(), 1),
            (os.getpid(), start_time(os.getpid())),
            (99_999_999, 5),
        )
    )
    for directory in (ended, alive):
        directory.mkdir(mode=0o700)
        (directory / "lock").touch()
    (tmp_path / "somebody's own").mkdir()
    worker = Worker(tmp_path)
    try:
        shutil.copytree(tmp_path / "test", orphaned)
        join(Meter(), "other", tmp_path)
        left = {path.name for path in tmp_path.iterdir()}
    finally:
        worker.kill()
    assert left == {alive.name, orphaned.name, "test", "other", "somebody's own"}


def test_a_process_without_workers_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(worker_discovery.ENV_VAR, raising=False)
    assert worker_discovery.worker_directories("test") == []
    monkeypatch.setenv(worker_discovery.ENV_VAR, "/somewhere")
    assert worker_discovery.worker_directories("test") == [Path("/somewhere/test")]
    monkeypatch.setenv(worker_discovery.ENV_VAR, "")
    assert worker_discovery.worker_directories("test") == []
    assert worker_discovery.worker_directories("test", "/elsewhere") == [Path("/elsewhere/test")]


def test_applications_of_one_server_have_distinct_ids() -> None:
    first, second, other = (worker_discovery.application_id(name) for name in ("a", "a", "b"))
    assert len({first, second, other}) == 3


def test_start_times_distinguish_processes() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert (start_time(process.pid) or 0) > (start_time(os.getpid()) or 0) > 0
        assert abs((unix_start_time(process.pid) or 0) - time.time()) < 30
        process.kill()
        deadline = time.monotonic() + 10
        while start_time(process.pid) is not None:
            assert time.monotonic() < deadline
        process.wait()
    assert start_time(process.pid) is None
    assert unix_start_time(process.pid) is None


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_does_not_write_to_the_parents_store(start: Start, tmp_path: Path) -> None:
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
    scrape = first.scrape()
    assert scrape.value(HITS, word="shared") == 3
    assert scrape.value(LEVEL) == 2


def test_rereading_reads_only_new_records(start: Start, tmp_path: Path) -> None:
    worker = start()
    worker.send("many 300")
    registry, directory = SeriesRegistry(), WorkerDirectory(tmp_path / "test")
    (before,) = directory.sources(registry)
    worker.send("many 1500")
    (after,) = directory.sources(registry)
    assert after.series_index is before.series_index
    assert len(after.series_index.series) == 1_500 + 7
    (path,) = tmp_path.glob(f"test/{worker.pid}-*")
    assert len(segments(map_file(path))) > 1
