"""Profiling probe: which lines hold the event loop and anyio's threads, and a profile."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from vitals.db.insight.page_login import Admin, AdminLogin
from vitals.host import Host
from vitals.otlp.target import TargetError
from vitals.profiling.block_report import BlockReport
from vitals.profiling.memory.growth_watch import GrowthWatch
from vitals.profiling.memory.memory_page import PATH as MEMORY_PATH
from vitals.profiling.memory.memory_page import MemoryPage
from vitals.profiling.profile_page import PATH, ProfilePage
from vitals.profiling.profile_push import ProfilePush, push_target
from vitals.profiling.thread_pool_watch import ThreadPoolWatch
from vitals.profiling.watchdog import SAMPLER, WATCHDOG, watch_running_loop

THRESHOLD = 0.05
MIN_THRESHOLD = 0.02
"""Seconds; below it, how Python switches threads cannot be told from a block."""
MIN_INTERVAL = 0.1
"""Seconds."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProfilingProbe:
    """Names the lines that hold the event loop while the application serves.

    Attributes:
        threshold: Seconds for which the loop may not turn.
        admin: Who may read the profile; None disables its page.
        admin_login: Checks a name and a password.
        endpoint: Where profiles are pushed to; None leaves it to the environment.
        resource: Returns the attributes of the service.
        memory_interval: Seconds between two readings of the memory; None reads none.

    Raises:
        ValueError: The threshold or the interval is too short.
    """

    threshold: float = THRESHOLD
    admin: Admin | None = None
    admin_login: AdminLogin | None = None
    endpoint: str | None = None
    resource: Callable[[], Mapping[str, str]] = dict
    memory_interval: float | None = None

    def __post_init__(self) -> None:
        if not self.threshold >= MIN_THRESHOLD:
            raise ValueError(f"block_threshold {self.threshold} must be {MIN_THRESHOLD} or more")
        if self.memory_interval is not None and not self.memory_interval >= MIN_INTERVAL:
            raise ValueError(
                f"memory_interval {self.memory_interval} must be {MIN_INTERVAL} or more"
            )

    def attach(self, host: Host) -> None:
        """Watch from the first connection on, until the lifespan ends."""
        report = BlockReport(host.meter, host.routes, host.service_name, logs=lambda: host.logs)
        ends: list[Callable[[], None]] = []

        def start() -> None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return  # no asyncio
            if not ends:
                dropped = host.meter.dropped
                ends.append(watch_running_loop(self.threshold, report, host.activity, dropped))
                threads = ThreadPoolWatch(host.meter, report)
                WATCHDOG.add(threads, dropped)
                ends.append(lambda: WATCHDOG.remove(threads))
                SAMPLER.add(host.meter, host.routes)
                WATCHDOG.add(SAMPLER, dropped)
                ends.append(end_profile)
                if self.memory_interval is not None:
                    memory = GrowthWatch(
                        host.meter, host.service_name, self.memory_interval, logs=lambda: host.logs
                    )
                    WATCHDOG.add(memory, dropped)
                    ends.append(memory.stop)

        def end_profile() -> None:
            SAMPLER.remove(host.meter)
            if not SAMPLER.is_used:
                WATCHDOG.remove(SAMPLER)

        @asynccontextmanager
        async def running() -> AsyncIterator[None]:
            start()  # unless it has with the first connection: a lifespan may begin again
            try:
                yield
            finally:
                while ends:
                    ends.pop()()

        if self.admin is not None:
            host.serve(PATH, ProfilePage(SAMPLER, self.admin, self.admin_login))
        host.serve(MEMORY_PATH, MemoryPage(self.admin, self.admin_login))
        host.at_start(start)
        host.lifespan(running)
        host.on_finished(report.finished)
        self._push(host)

    def _push(self, host: Host) -> None:
        """Push profiles where an address is set; log one that is none, when it would be used."""
        try:
            target = push_target(self.endpoint)
        except TargetError as error:
            problem = str(error)
            host.at_start(lambda: _log.warning("profiles are not pushed: %s", problem))
            return
        if target is not None:
            ProfilePush(SAMPLER, target, self._labels, host.meter.dropped).attach(host)

    def _labels(self) -> dict[str, str]:
        """The labels of this process's profiles."""
        resource = self.resource()
        return {
            "service_name": resource.get("service.name", ""),
            "service_version": resource.get("service.version", ""),
            "service_instance_id": resource.get("service.instance.id", ""),
            "process_pid": str(os.getpid()),
        }
