"""Directory through which the workers of one server share their metrics: one store file each.

A worker that ends leaves its file. The next worker to start or to be scraped merges its counters
and histograms into the file of the dead and removes it: counters never fall, gauges of the dead
disappear, and there are never more files than workers. The file of the dead lists the files merged
into it and replaces its predecessor atomically: a process killed in between leaves either the old
state or the new one, and no worker is counted twice or not at all.

Files that somebody removes stay mapped by the workers that have read them, and what their writers
count still appears there. So a worker goes on with them until their writers have written them
again, which is within a second, and writes the file of the dead again itself.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vitals.metrics.aggregation import MetricKey, SeriesIndex, SeriesRegistry, StoreSource, compact
from vitals.metrics.catalogue import WORKERS_CRASHED, WORKERS_ENDED
from vitals.metrics.mmap_store import (
    FileMemory,
    MmapStore,
    RecordKind,
    in_file,
    map_file,
    segments,
)
from vitals.metrics.process_identity import UNKNOWN, start_time

LOCK_TIMEOUT = 1.0
LOCK_POLL = 0.005

MAX_COMPACTED_NAMES = 1_000
"""Most names of merged files in the file of the dead. A worker that has not looked since so many
others ended would count the first of these twice."""

MAX_ENDED_SIBLINGS = 20
"""Most directories of one server in which no process is left; a script may start services on ever
other ports."""

_STORES = "*.mmap"
_DEAD = "dead.mmap"
_TEMPORARY = "dead.tmp"
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


class UnsafeDirectoryError(PermissionError):
    """Other users could read or change the workers' files."""


class WorkerDirectory:
    """The directory that holds the workers' stores.

    Args:
        directory: Its path; created, with its parent, for this user only.

    Raises:
        OSError: It cannot be created, or other users have access to it.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory
        self._own_name = f"{os.getpid()}-{time.time_ns()}.mmap"
        self._own_file: FileMemory | None = None
        self._stores: dict[str, _WorkerStore] = {}
        self._changed = 0
        self.move_to(directory)

    def move_to(self, directory: Path) -> None:
        """Use this directory from now on; what was read from another one is kept.

        Raises:
            OSError: It cannot be created, or other users have access to it.
        """
        self.path = directory
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        self._check()

    def share(self, size: int, move: Callable[[MmapStore], None]) -> None:
        """Create this worker's file, or replace it, and compact those of dead workers.

        Args:
            size: Bytes that the metrics need.
            move: Moves the metrics to the new store; others see the file only then.

        Raises:
            OSError: There is no space left.
        """
        pid = os.getpid()
        path = self.path / self._own_name
        temporary = path.with_suffix(".tmp")
        with self._locked() as locked:
            if locked:
                _remove_ended_servers(self.path)
                self._compact_dead(*self._read(SeriesRegistry()))
            temporary.unlink(missing_ok=True)
            try:
                file = in_file(temporary)
                started = start_time(pid) or UNKNOWN
                store = MmapStore(file, pid=pid, start_time=started, spill=True, size=size)
                move(store)
                file.move(path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
        self._own_file = file

    @property
    def is_intact(self) -> bool:
        """Whether this worker's file is where the others look for it."""
        try:
            self._check()
            inode = (self.path / self._own_name).lstat().st_ino
        except OSError:
            return False
        return self._own_file is not None and inode == self._own_file.inode

    @property
    def has_changed(self) -> bool:
        """Whether files were added, replaced or removed since they were read."""
        try:
            return self.path.lstat().st_mtime_ns != self._changed
        except OSError:
            return True

    def sources(self, registry: SeriesRegistry) -> list[StoreSource]:
        """The stores of the other live workers, and of dead ones."""
        try:
            self._check()
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
        with suppress(OSError):
            self._changed = self.path.lstat().st_mtime_ns
        for path in self._files():
            try:
                known = self._stores.get(path.name)
                if known is None or not known.is_at(path):
                    found = _WorkerStore(path, registry)
                    known = _newer(found, known) if path.name == _DEAD else found
                known.update()
                stores[path.name] = known
            except ValueError:
                leftovers.append(path.name)  # its worker was killed before it was complete
            except OSError as error:
                logging.getLogger(__name__).debug("metrics: %s cannot be read (%s)", path, error)
        for name, lost in self._stores.items():
            if name not in stores and name not in leftovers:
                lost.is_lost = True
                lost.update()
                stores[name] = lost
        if dead := stores.get(_DEAD):
            leftovers += [name for name in dead.series_index.compacted if stores.pop(name, None)]
        return stores, leftovers

    def _files(self) -> list[Path]:
        """The files of the other workers; none in a directory that others may have made."""
        try:
            self._check()
            return sorted(path for path in self.path.glob(_STORES) if path.name != self._own_name)
        except OSError:
            return []

    def _compact_dead(self, stores: dict[str, "_WorkerStore"], leftovers: list[str]) -> bool:
        """Merge dead workers' stores into one file; returns whether there were any."""
        for name in leftovers:
            (self.path / name).unlink(missing_ok=True)
        dead = [name for name, store in stores.items() if name != _DEAD and not store.alive]
        before = stores.get(_DEAD)
        if not dead and not (before and before.is_lost):
            return False
        temporary = self.path / _TEMPORARY
        temporary.unlink(missing_ok=True)  # left by a worker that was killed
        names = [*(before.series_index.compacted if before else ()), *dead]
        crashed = sum(not stores[name].ended for name in dead)
        try:
            store = MmapStore(in_file(temporary))
            for name in names[-MAX_COMPACTED_NAMES:]:
                store.append(RecordKind.COMPACTED, name)
            for metric, number in ((WORKERS_ENDED, len(dead)), (WORKERS_CRASHED, crashed)):
                address, _ = store.append(RecordKind.METRIC, MetricKey.of(metric).to_json())
                store.append(RecordKind.SERIES, "", 1, address)[1][0] = number
            compact([stores[name].series_index for name in (_DEAD, *dead) if name in stores], store)
            temporary.replace(self.path / _DEAD)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        for name in dead:
            (self.path / name).unlink(missing_ok=True)
        return True

    def _check(self) -> None:
        _check(self.path.parent, _WRITABLE)
        _check(self.path, stat.S_IRWXG | stat.S_IRWXO)

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Lock the directory; False if another worker holds the lock until the timeout."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self.path / "lock", flags, 0o600)
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

    Attributes:
        series_index: Its series.
        alive: Whether its worker lives.
        ended: Whether its worker has ended by plan, or is about to.
        is_lost: Whether its file was removed.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is still empty.
    """

    def __init__(self, path: Path, registry: SeriesRegistry) -> None:
        self.series_index = SeriesIndex(registry)
        self.alive = False
        self.is_lost = False
        self._path = path
        self._map()
        if not self._segments:
            raise ValueError(f"{path} holds no metrics store")

    @property
    def ended(self) -> bool:
        return self._segments[0].ended

    def is_at(self, path: Path) -> bool:
        """Whether the path still names this file; a mapped file keeps its inode."""
        return path.stat().st_ino == self._inode

    def update(self) -> None:
        """Index what has been added, and check whether its worker is alive."""
        if not self.is_lost and self._path.stat().st_size > self._size:
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


def _newer(found: _WorkerStore, known: _WorkerStore | None) -> _WorkerStore:
    """The file that was found, unless the known file of the dead counts more of them.

    A worker that had not read the last one has written it again, after all files were removed.
    """
    if known is not None:
        found.update()
        counted, before = (s.series_index.total(WORKERS_ENDED) for s in (found, known))
        known.is_lost = before > counted
        if known.is_lost:
            return known
    return found


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


def make_private(path: Path) -> None:
    """Create a directory, with its parents, that only this user can change.

    Raises:
        OSError: It cannot be created, or other users can change it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check(path, _WRITABLE)


def _check(path: Path, forbidden: int) -> None:
    status = path.lstat()
    if (
        not stat.S_ISDIR(status.st_mode)
        or status.st_uid != os.geteuid()
        or status.st_mode & forbidden
    ):
        raise UnsafeDirectoryError(f"{path} must be a directory that only this user can change")


def _remove_ended_servers(own: Path) -> None:
    """Remove the directories of servers without live processes, and surplus ones of this server."""
    ended: list[tuple[int, Path]] = []
    for directory in own.parent.iterdir():
        pid, _, rest = directory.name.partition("-")
        start, _, application = rest.partition("-")
        if not (pid.isdigit() and start.isdigit() and application) or _any_alive(directory):
            continue
        if start_time(int(pid)) != int(start):
            shutil.rmtree(directory, ignore_errors=True)
        elif own.name.startswith(f"{pid}-{start}-") and directory != own:
            with suppress(FileNotFoundError):  # removed by another worker
                ended.append((directory.stat().st_mtime_ns, directory))
    for _, directory in sorted(ended, reverse=True)[MAX_ENDED_SIBLINGS:]:
        shutil.rmtree(directory, ignore_errors=True)


def _any_alive(directory: Path) -> bool:
    for path in directory.glob(_STORES):
        with suppress(OSError, ValueError):
            store = _WorkerStore(path, SeriesRegistry())
            store.update()
            if store.alive:
                return True
    return False
