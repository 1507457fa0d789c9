"""The workers of one server: a folder with a file for each, which any of them can read.

A worker that ended leaves its file. The next to come or to be scraped adds what lasts of it, its
counters and histograms, to the file of the dead, and removes it; so counters never fall, gauges of
the dead vanish, and there are never more files than workers. The file of the dead names the files
it holds and replaces its predecessor in one step: whoever is killed in between leaves either the
old state or the new one, and no worker's figures count twice or not at all.

A lock on the folder keeps two from doing this at once. It is let go expressly, for a process
forked meanwhile would hold on to it otherwise; and who cannot get it in time reads without, so a
frozen worker freezes no other.
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
from vitals.metrics.aggregation import Directory, Identity, Index, Source, fold
from vitals.metrics.catalogue import WORKERS, WORKERS_ENDED
from vitals.metrics.declarations import NoLabels
from vitals.metrics.meter import Meter
from vitals.metrics.mmap_store import Kind, Slab, in_file, map_file, segments
from vitals.metrics.process_identity import UNKNOWN, birth

LOCK_SECONDS = 1.0
LOCK_EVERY = 0.005

_SLABS = "*.slab"
_DEAD = "dead.slab"
_UNFINISHED = "dead.unfinished"


class UnsafeFolderError(PermissionError):
    """Others could read or change the workers' files."""


def join(meter: Meter, application: str, chosen: str | os.PathLike[str] | None = None) -> None:
    """Have a meter share its figures with the other workers of the server, if there may be any.

    Never raises: what is in the way is logged once, and this worker shows only its own figures.

    Args:
        meter: Whose figures.
        application: See ``kinship.application``.
        chosen: The folder; see ``kinship.folder``.
    """
    meter.joined = True
    meter.gauge(WORKERS).bind(NoLabels()).set(1)
    meter.counter(WORKERS_ENDED).bind(NoLabels())
    try:
        where = worker_discovery.folder(application, chosen)
        if where is not None:
            workers = Workers(where)
            meter.join(workers.claim(), workers)
    except OSError as error:
        logging.getLogger(__name__).warning(
            "metrics: this worker shows only its own figures, for it cannot share them with the "
            "others (%s); name a folder of this account in %s",
            error,
            worker_discovery.VARIABLE,
        )


class Workers:
    """The workers that share a folder.

    Args:
        folder: Where their files are; made, with its parent, for this account alone.

    Raises:
        OSError: It cannot be made, or others could reach into it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mine = ""
        self._known: dict[str, _File] = {}
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check(folder.parent, stat.S_IWGRP | stat.S_IWOTH)
        folder.mkdir(mode=0o700, exist_ok=True)
        _check(folder, stat.S_IRWXG | stat.S_IRWXO)

    def claim(self) -> Slab:
        """Make a slab of our own, and clear up after the dead.

        Raises:
            OSError: There is no room.
        """
        pid = os.getpid()
        self._mine = f"{pid}-{time.time_ns()}.slab"
        path = self._folder / self._mine
        with self._locked() as held:
            if held:
                _remove_servers(self._folder.parent)
                self._bury(*self._read(Index()))
            try:
                return Slab(in_file(path), pid=pid, birth=birth(pid) or UNKNOWN, spill=True)
            except OSError:
                path.unlink(missing_ok=True)
                raise

    def sources(self, index: Index) -> list[Source]:
        """What the other workers say, and what the dead have left."""
        try:
            with self._locked() as held:
                files, rests = self._read(index)
                if held and self._bury(files, rests):
                    files, _ = self._read(index)
        except OSError as error:
            # Files as they are still tell everything; there is only no room to put them together.
            logging.getLogger(__name__).debug("metrics: the dead stay as they are (%s)", error)
            files, _ = self._read(index)
        self._known = files
        return [Source(file.directory, file.alive) for file in files.values()]

    def _read(self, index: Index) -> tuple[dict[str, "_File"], list[str]]:
        """Every file but ours, read on from where it was read before; and those to be removed."""
        found: dict[str, _File] = {}
        rests: list[str] = []
        for path in sorted(self._folder.glob(_SLABS)):
            if path.name == self._mine:
                continue
            try:
                known = self._known.get(path.name)
                if known is None or not known.is_of(path):
                    known = _File(path, index)
                known.update()
                found[path.name] = known
            except ValueError:
                rests.append(path.name)  # of somebody killed before it was whole
            except OSError as error:
                logging.getLogger(__name__).debug("metrics: %s cannot be read (%s)", path, error)
        if dead := found.get(_DEAD):
            rests += [name for name in dead.directory.folded if found.pop(name, None)]
        return found, rests

    def _bury(self, files: dict[str, "_File"], rests: list[str]) -> bool:
        """Put the dead into one file; returns whether there were any."""
        for name in rests:
            (self._folder / name).unlink(missing_ok=True)
        dead = [name for name, file in files.items() if name != _DEAD and not file.alive]
        if not dead:
            return False
        unfinished = self._folder / _UNFINISHED
        unfinished.unlink(missing_ok=True)  # of somebody who was killed
        try:
            slab = Slab(in_file(unfinished))
            for name in dead:
                slab.append(Kind.FOLDED, name)
            ended, _ = slab.append(Kind.METRIC, Identity.of(WORKERS_ENDED).written())
            slab.append(Kind.SERIES, "", 1, ended)[1][0] = len(dead)
            fold([files[name].directory for name in (_DEAD, *dead) if name in files], slab)
            unfinished.replace(self._folder / _DEAD)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise
        for name in dead:
            (self._folder / name).unlink(missing_ok=True)
        return True

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the folder; false when somebody else does not let go of it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self._folder / "lock", flags, 0o600)
        held = False
        try:
            held = _lock(file)
            yield held
        finally:
            if held:
                fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)


class _File:
    """A worker's file, mapped.

    Raises:
        OSError: It cannot be opened.
        ValueError: There is nothing in it yet.
    """

    def __init__(self, path: Path, index: Index) -> None:
        self.directory = Directory(index)
        self.alive = False
        self._path = path
        self._map()
        if not self._segments:
            raise ValueError(f"{path} holds no slab")

    def is_of(self, path: Path) -> bool:
        """Whether this is the file of that name still; one that is mapped keeps its inode."""
        return path.stat().st_ino == self._inode

    def update(self) -> None:
        """Read what has been added, and see whether its worker lives."""
        if self._path.stat().st_size > self._size:
            self._map()
        self.directory.update(self._segments)
        writer = self._segments[0]
        # With our own pid it can only be a predecessor's: ours is not read from its file.
        self.alive = writer.pid != os.getpid() and birth(writer.pid) == writer.birth

    def _map(self) -> None:
        self._inode = self._path.stat().st_ino
        memory = map_file(self._path)
        self._size = len(memory)
        self._segments = segments(memory)


def _lock(file: int) -> bool:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOCK_EVERY)
        else:
            return True


def _check(path: Path, forbidden: int) -> None:
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & forbidden:
        raise UnsafeFolderError(f"{path} must be a folder that only this account can change")


def _remove_servers(base: Path) -> None:
    """Remove the folders of servers of which nothing lives any more."""
    for folder in base.iterdir():
        pid, _, rest = folder.name.partition("-")
        born, _, application = rest.partition("-")
        if not (pid.isdigit() and born.isdigit() and application):
            continue
        if birth(int(pid)) != int(born) and not _any_alive(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _any_alive(folder: Path) -> bool:
    for path in folder.glob(_SLABS):
        with suppress(OSError, ValueError):
            file = _File(path, Index())
            file.update()
            if file.alive:
                return True
    return False
