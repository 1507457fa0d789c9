"""Shares a meter with the other workers of the server, and keeps it shared.

What somebody does to the shared directory is repaired within a second: it is made again, or another
one is used; where neither is possible, or the disk is full, that is logged once, counted in
``vitals_dropped_total`` as long as it lasts, and tried again.
"""

import atexit
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread

from vitals.metrics import worker_discovery
from vitals.metrics.asgi_server import AsgiServer
from vitals.metrics.catalogue import (
    DROPPED,
    PLANNED_START_TIME,
    WORKERS,
    WORKERS_CRASHED,
    WORKERS_ENDED,
    ReasonLabels,
)
from vitals.metrics.declarations import NoLabels
from vitals.metrics.meter import Meter
from vitals.metrics.mmap_store import MmapStore
from vitals.metrics.server_record import ServerRecord
from vitals.metrics.worker_directory import WorkerDirectory

RETRY_SECONDS = 10.0
"""Time between two attempts to share what could not be shared."""

_LOST, _APART = "workers_directory", "workers_apart"
"""Reasons in ``vitals_dropped_total``: the shared directory was lost; nothing can be shared."""


def join(meter: Meter, application: str, configured: str | os.PathLike[str] | None = None) -> None:
    """Share a meter with the other workers of the server, if there may be any.

    Never raises: a failure is logged once, and this worker exports only its own metrics.

    Args:
        meter: The meter to share.
        application: See ``worker_discovery.application_id``.
        configured: See ``worker_discovery.worker_directories``.
    """
    meter.joined = True
    meter.gauge(WORKERS).bind(NoLabels()).set(1)
    for metric in (WORKERS_ENDED, WORKERS_CRASHED):
        meter.counter(metric).bind(NoLabels())
    meter.gauge(PLANNED_START_TIME).bind(NoLabels())
    sharing = WorkerSharing(meter, application, configured)
    try:
        meter.sharing = sharing if sharing.start() else None
    except Exception:  # noqa: BLE001  # the application starts without
        meter.dropped(_APART)


class WorkerSharing:
    """Keeps one meter shared.

    Args:
        meter: The meter.
        application: See ``worker_discovery.application_id``.
        configured: See ``worker_discovery.worker_directories``.
    """

    def __init__(
        self, meter: Meter, application: str, configured: str | os.PathLike[str] | None
    ) -> None:
        self._meter = meter
        self._application = application
        self._configured = worker_discovery.configured_directory(configured)
        self._pid = os.getpid()
        self._may_share = False
        self._record: ServerRecord | None = None
        self._server: AsgiServer | None = None
        self._addresses: set[str] = set()
        self._directory: WorkerDirectory | None = None
        self._store: MmapStore | None = None
        self._ends = False
        self._next_try = 0.0
        self._is_told = False
        self._log = logging.getLogger(__name__)
        self._repair: Thread | None = None

    def start(self) -> bool:
        """Join the others.

        Returns:
            Whether there is anything to do later: there may be others, or a server to watch.
        """
        self._server = AsgiServer.running()
        self._addresses = self._server.addresses if self._server else set()
        self._may_share = bool(self._directories())
        started_by_server = self._server is not None or worker_discovery.server_pid() is not None
        if started_by_server and self._configured != "":
            self._record_start()
        if not self._may_share and self._record is None:
            return False
        atexit.register(self._end)
        if self._may_share:
            for reason in (_LOST, _APART):  # in advance: when it is needed there may be no space
                self._meter.counter(DROPPED).bind(ReasonLabels(reason))
            self._meter.refresh()  # others see complete figures
            self.check()
        return True

    def check(self) -> None:
        """Join the others, again if necessary."""
        with self._meter.collecting:
            try:
                if self._is_due:
                    self._join()
            except Exception:  # noqa: BLE001  # sharing must fail neither a scrape nor a start
                self._meter.dropped(_APART)

    def tick(self) -> None:
        """Check and read the others in another thread, if anything has changed."""
        try:
            if self._server is not None and self._server.is_shutting_down:
                self.leave()
            changed = self._directory is not None and self._directory.has_changed
            if (self._is_due or changed) and not (self._repair and self._repair.is_alive()):
                target = self._check_and_read
                self._repair = Thread(target=target, name="vitals workers", daemon=True)
                self._repair.start()
        except Exception:  # noqa: BLE001  # such as no more threads: the next tick tries again
            self._meter.dropped(_APART)

    def leave(self) -> None:
        """Note in this worker's file that it ends by plan."""
        if self._server is None or self._server.has_started:
            if not self._ends and self._record is not None:
                self._record.mark_planned()
            self._ends = True
            if self._store is not None:
                self._store.segments[0].mark_ended()

    def _end(self) -> None:
        """The same when the process ends, for servers without the lifespan protocol."""
        ends = self._server is not None and self._server.is_shutting_down
        if ends and os.getpid() == self._pid:
            self.leave()

    def _check_and_read(self) -> None:
        self.check()
        try:
            self._meter.read_peers()
        except Exception:  # noqa: BLE001  # the next scrape reads them
            self._meter.dropped(_APART)

    @property
    def _is_due(self) -> bool:
        if not self._may_share or time.monotonic() < self._next_try:
            return False
        if self._directory is None or self._store is None:
            return True
        return not self._directory.is_intact or self._store.spilled is not None

    def _record_start(self) -> None:
        """Note that this process serves, and find out how its predecessor ended."""
        service = worker_discovery.service_id(self._application, self._addresses)
        base = worker_discovery.base_directories(os.getpid())[0]
        with suppress(OSError):  # then every start counts as one after a crash
            self._record = ServerRecord(base, service)
            planned = self._record.planned_start
            self._meter.gauge(PLANNED_START_TIME).bind(NoLabels()).set(planned)

    def _directories(self) -> list[Path]:
        return worker_discovery.worker_directories(
            self._application, self._configured, self._addresses
        )

    def _join(self) -> None:
        store, directory = self._store, self._directory
        lost = store is not None and directory is not None and not directory.is_intact
        try:
            self._share()
        except OSError as error:
            self._meter.dropped(_APART)
            self._next_try = time.monotonic() + RETRY_SECONDS
            self._tell_failure(error, lost=lost)
            return
        if lost:
            self._meter.dropped(_LOST)
            self._log.warning(
                "metrics: somebody removed or replaced the directory that the workers share; it is "
                "made again as %s, and no figure is lost; find out who removes it",
                self._directory and self._directory.path,
            )
        elif self._is_told:
            self._log.info("metrics: this worker shares its metrics with the others again")
        self._is_told = False

    def _share(self) -> None:
        """Share through the first directory that is safe; one that others use already is better.

        Raises:
            OSError: None of them can be used.
        """
        failure = None
        for path in sorted(self._directories(), key=lambda path: not path.is_dir()):
            try:
                if self._directory is None:
                    self._directory = WorkerDirectory(path)
                else:
                    self._directory.move_to(path)
                self._directory.share(self._meter.store.used, self._move)
            except OSError as error:
                failure = failure or error
            else:
                return
        if failure is not None:
            raise failure

    def _move(self, store: MmapStore) -> None:
        if self._directory is None:
            return
        self._meter.join(store, self._directory)
        self._store = store
        if self._ends:
            store.segments[0].mark_ended()

    def _tell_failure(self, error: OSError, *, lost: bool) -> None:
        if not self._meter.shared:
            self._meter.part()
        if self._is_told:
            return
        self._is_told = True
        if lost:
            self._log.warning(
                "metrics: somebody removed or replaced the directory that the workers share, and "
                "it cannot be made again (%s); workers that start now export only their own "
                "metrics; remove what is there",
                error,
            )
        elif self._meter.shared:
            self._log.warning(
                "metrics: no space to share more series with the other workers (%s); new series of "
                "this worker appear only in its own scrapes, until there is space",
                error,
            )
        else:
            self._log.warning(
                "metrics: this worker exports only its own metrics, because it cannot share them "
                "with the others (%s); set %s to a directory of this user",
                error,
                worker_discovery.ENV_VAR,
            )
