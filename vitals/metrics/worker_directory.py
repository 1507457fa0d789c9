"""Directory through which the workers of one server share their metrics: one store file each.

A worker that ends leaves its file. The next worker to start or to be scraped merges its counters
and histograms into the file of the dead and removes it: counters never fall, gauges of the dead
disappear, and there are never more files than workers. The file of the dead lists the files merged
into it and replaces its predecessor atomically: a process killed in between leaves either the old
state or the new one, and no worker is counted twice or not at all.

A lock on the directory keeps two workers from doing this at once. It is released explicitly,
because a process forked meanwhile would keep holding it. A worker that cannot get it in time
reads without it, so a frozen worker blocks no other.
"""

import fcntl
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vitals.metrics import worker_discovery
from vitals.metrics.aggregation import MetricKey, SeriesIndex, SeriesRegistry, StoreSource, compact
from vitals.metrics.catalogue import WORKERS, WORKERS_ENDED
from vitals.metrics.declarations import NoLabels
from vitals.metrics.meter import Meter
from vitals.metrics.mmap_store import MmapStore, RecordKind, in_file, map_file, segments
from vitals.metrics.process_identity import UNKNOWN, start_time

LOCK_TIMEOUT = 1.0
LOCK_POLL = 0.005

_STORES = "*.mmap"
_DEAD = "dead.mmap"
_TEMPORARY = "dead.tmp"


class UnsafeDirectoryError(PermissionError):
    """Other users could read or change the workers' files."""


def join(meter: Meter, application: str, configured: str | os.PathLike[str] | None = None) -> None:
    """Share a meter with the other workers of the server, if there may be any.

    Never raises: a failure is logged once, and this worker exports only its own metrics.

    Args:
        meter: The meter to share.
        application: See ``worker_discovery.application_id``.
        configured: See ``worker_discovery.worker_directory``.
    """
    meter.joined = True
    meter.gauge(WORKERS).bind(NoLabels()).set(1)
    meter.counter(WORKERS_ENDED).bind(NoLabels())
    try:
        directory = worker_discovery.worker_directory(application, configured)
        if directory is not None:
            workers = WorkerDirectory(directory)
            meter.join(workers.create_store(), workers)
    except OSError as error:
        logging.getLogger(__name__).warning(
            "metrics: this worker exports only its own metrics, because it cannot share them with "
            "the others (%s); set %s to a directory of this user",
            error,
            worker_discovery.ENV_VAR,
        )


class WorkerDirectory:
    """The directory that holds the workers' stores.

    Args:
        directory: Its path; created, with its parent, for this user only.

    Raises:
        OSError: It cannot be created, or other users have access to it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own_name = ""
        self._stores: dict[str, _WorkerStore] = {}
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(directory.parent, stat.S_IWGRP | stat.S_IWOTH)
        directory.mkdir(mode=0o700, exist_ok=True)
        _check(directory, stat.S_IRWXG | stat.S_IRWXO)

    def create_store(self) -> MmapStore:
        """Create this worker's store, and compact those of dead workers.

        Raises:
            OSError: There is no space left.
        """
        pid = os.getpid()
        self._own_name = f"{pid}-{time.time_ns()}.mmap"
        path = self._directory / self._own_name
        with self._locked() as locked:
            if locked:
                _remove_ended_servers(self._directory.parent)
                self._compact_dead(*self._read(SeriesRegistry()))
            try:
                return MmapStore(
                    in_file(path), pid=pid, start_time=start_time(pid) or UNKNOWN, spill=True
                )
            except OSError:
                path.unlink(missing_ok=True)
                raise

    def sources(self, registry: SeriesRegistry) -> list[StoreSource]:
        """The stores of the other live workers, and of dead ones."""
        try:
            with self._locked() as locked:
                stores, leftovers = self._read(registry)
                if locked and self._compact_dead(stores, leftovers):
                    stores, _ = self._read(registry)
        except OSError as error:
            # The files are complete as they are; there is only no space to merge them.
            logging.getLogger(__name__).debug(
                "metrics: cannot compact the files of dead workers (%s)", error
            )
            stores, _ = self._read(registry)
        self._stores = stores
        return [StoreSource(store.series_index, store.alive) for store in stores.values()]

    def _read(self, registry: SeriesRegistry) -> tuple[dict[str, "_WorkerStore"], list[str]]:
        """Update every store but our own; returns them, and the names of files to remove."""
        stores: dict[str, _WorkerStore] = {}
        leftovers: list[str] = []
        for path in sorted(self._directory.glob(_STORES)):
            if path.name == self._own_name:
                continue
            try:
                known = self._stores.get(path.name)
                if known is None or not known.is_at(path):
                    known = _WorkerStore(path, registry)
                known.update()
                stores[path.name] = known
            except ValueError:
                leftovers.append(path.name)  # its worker was killed before it was complete
            except OSError as error:
                logging.getLogger(__name__).debug("metrics: %s cannot be read (%s)", path, error)
        if dead := stores.get(_DEAD):
            leftovers += [name for name in dead.series_index.compacted if stores.pop(name, None)]
        return stores, leftovers

    def _compact_dead(self, stores: dict[str, "_WorkerStore"], leftovers: list[str]) -> bool:
        """Merge dead workers' stores into one file; returns whether there were any."""
        for name in leftovers:
            (self._directory / name).unlink(missing_ok=True)
        dead = [name for name, store in stores.items() if name != _DEAD and not store.alive]
        if not dead:
            return False
        temporary = self._directory / _TEMPORARY
        temporary.unlink(missing_ok=True)  # left by a worker that was killed
        try:
            store = MmapStore(in_file(temporary))
            for name in dead:
                store.append(RecordKind.COMPACTED, name)
            ended, _ = store.append(RecordKind.METRIC, MetricKey.of(WORKERS_ENDED).to_json())
            store.append(RecordKind.SERIES, "", 1, ended)[1][0] = len(dead)
            compact([stores[name].series_index for name in (_DEAD, *dead) if name in stores], store)
            temporary.replace(self._directory / _DEAD)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        for name in dead:
            (self._directory / name).unlink(missing_ok=True)
        return True

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Lock the directory; False if another worker holds the lock until the timeout."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self._directory / "lock", flags, 0o600)
        locked = False
        try:
            locked = _lock(file)
            yield locked
        finally:
            if locked:
                fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)


class _WorkerStore:
    """Another worker's store, mapped read-only.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is still empty.
    """

    def __init__(self, path: Path, registry: SeriesRegistry) -> None:
        self.series_index = SeriesIndex(registry)
        self.alive = False
        self._path = path
        self._map()
        if not self._segments:
            raise ValueError(f"{path} holds no metrics store")

    def is_at(self, path: Path) -> bool:
        """Whether the path still names this file; a mapped file keeps its inode."""
        return path.stat().st_ino == self._inode

    def update(self) -> None:
        """Index what has been added, and check whether its worker is alive."""
        if self._path.stat().st_size > self._size:
            self._map()
        self.series_index.update(self._segments)
        writer = self._segments[0]
        # With our own pid it is a predecessor's: this worker's own file is not read.
        self.alive = writer.pid != os.getpid() and start_time(writer.pid) == writer.start_time

    def _map(self) -> None:
        self._inode = self._path.stat().st_ino
        memory = map_file(self._path)
        self._size = len(memory)
        self._segments = segments(memory)


def _lock(file: int) -> bool:
    # Not filelock: fifteen lines are not worth a dependency of every application.
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOCK_POLL)
        else:
            return True


def _check(path: Path, forbidden: int) -> None:
    status = path.lstat()
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_mode & forbidden
    ):
        raise UnsafeDirectoryError(f"{path} must be a directory that only this user can change")


def _remove_ended_servers(base: Path) -> None:
    """Remove the directories of servers without live processes."""
    for directory in base.iterdir():
        pid, _, rest = directory.name.partition("-")
        start, _, application = rest.partition("-")
        if not (pid.isdigit() and start.isdigit() and application):
            continue
        if start_time(int(pid)) != int(start) and not _any_alive(directory):
            shutil.rmtree(directory, ignore_errors=True)


def _any_alive(directory: Path) -> bool:
    for path in directory.glob(_STORES):
        with suppress(OSError, ValueError):
            store = _WorkerStore(path, SeriesRegistry())
            store.update()
            if store.alive:
                return True
    return False
