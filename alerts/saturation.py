"""Alerts on limited resources before they run out, and on CPU time that a process does not get."""

from dataclasses import dataclass

from alerts.alert import Alert, Severity, current_value
from alerts.enrichment import (
    FOR_MEMORY,
    FOR_PROCESSES,
    FOR_QUERIES,
    FOR_STARVATION,
    FOR_THREADS,
    Enrichment,
)
from alerts.investigation import OF_PROCESSES, OF_REQUESTS
from rules.requests import LOOP_LAG_P99
from rules.saturation import (
    CPU_WAIT,
    HELD_USE,
    LONG_SECONDS_LEFT,
    LOOP_BLOCKED_P99,
    ON,
    RESIDENT,
    RESIDENT_GROWTH,
    SECONDS_LEFT,
)
from rules.signal import Signal
from vitals.metrics.catalogue import PROCESS_START_TIME
from vitals.metrics.declarations import matching

MAX_LAG = 0.1
"""Seconds (p99) of event loop lag that need attention."""
STARVED_SHARE = 0.2
"""The share of its time for which a loop waits for a CPU that needs attention beside code that
blocks it."""
SOON, LATER = 600, 4 * 3600
"""Seconds until a limit is reached: users will fail before anyone has looked at a ticket; there is
time for one."""

CPU_STARVED = Alert(
    name="CpuStarved",
    expr=f"{LOOP_LAG_P99} > {MAX_LAG} "
    f"and on {ON} ({LOOP_BLOCKED_P99} <= {MAX_LAG} or {CPU_WAIT} > {STARVED_SHARE})",
    fires_when="event loop lag exceeds 100 ms (p99), because the process waits for a CPU",
    severity=Severity.TICKET,
    for_="5m",
    summary="{{ $labels.instance }} of {{ $labels.job }} does not get the CPU time that it needs",
    description="Every request may wait {{ $value | humanizeDuration }} (p99), of that "
    + current_value(LOOP_BLOCKED_P99, "job", "instance", show="humanizeDuration")
    + " for code; its event loop waits for a CPU for "
    + current_value(CPU_WAIT, "job", "instance", show="humanizePercentage")
    + " of the time: other processes of the host, or the CPU quota of its cgroup, take it.",
    board="svc-runtime",
    enrichments=FOR_STARVATION,
    investigation=OF_REQUESTS,
)


_SUMMARY = "{{ $labels.instance }} of {{ $labels.job }} runs out of {{ $labels.resource }}"


@dataclass(frozen=True)
class Limited:
    """A limited resource, or several of one kind.

    Attributes:
        name: The name of its alerts.
        resource: The values of the label ``resource``, as a regular expression.
        what: It in words, for the table of alerts.
        effect: What happens when nothing is left: one sentence.
        board: The uid of the board that shows it.
        enrichments: What is looked up for the notification.
    """

    name: str
    resource: str
    what: str
    effect: str
    board: str = "svc-runtime"
    enrichments: tuple[Enrichment, ...] = FOR_PROCESSES

    def soon(self) -> Alert:
        """The page: it will be used up before anyone has looked at a ticket."""
        return self._forecast(
            SECONDS_LEFT,
            SOON,
            Severity.PAGE,
            for_="1m",
            fires_when=f"{self.what} are used up within 10 minutes, if they grow as for 3 minutes",
            labels={"forecast": "10m"},
        )

    def later(self) -> Alert:
        """The ticket: it will be used up within hours."""
        return self._forecast(
            LONG_SECONDS_LEFT,
            LATER,
            Severity.TICKET,
            for_="10m",
            fires_when=f"{self.what} are used up within 4 hours, if they grow as for an hour",
            labels={"forecast": "4h"},
        )

    def nearly(self, share: float) -> Alert:
        """The ticket: this share of it is used."""
        return Alert(
            name=self.name,
            expr=f"{HELD_USE.select(resource=matching(self.resource))} > {share}",
            fires_when=f"more than {share:.0%} of the {self.what} are used",
            severity=Severity.TICKET,
            for_="5m",
            keep_firing_for="5m",
            summary=_SUMMARY,
            description=f"{{{{ $value | humanizePercentage }}}} is used. {self.effect}",
            board=self.board,
            enrichments=self.enrichments,
            investigation=OF_PROCESSES,
        )

    def _forecast(
        self,
        left: Signal,
        seconds: int,
        severity: Severity,
        *,
        for_: str,
        fires_when: str,
        labels: dict[str, str],
    ) -> Alert:
        used = current_value(HELD_USE, "job", "instance", "resource", show="humanizePercentage")
        return Alert(
            name=self.name,
            expr=f"{left.select(resource=matching(self.resource))} < {seconds}",
            fires_when=fires_when,
            not_when="less than 30% is used, or no more than at peaks before",
            severity=severity,
            for_=for_,
            keep_firing_for="5m",
            summary=f"{_SUMMARY} in {{{{ $value | humanizeDuration }}}}",
            description=f"{used} is used, and steadily more. {self.effect}",
            board=self.board,
            enrichments=self.enrichments,
            investigation=OF_PROCESSES,
            labels=labels,
        )


FILES = Limited(
    "FilesRunOut",
    "file descriptors",
    "file descriptors of a worker",
    "At 100% a worker can neither accept nor open connections.",
)
MEMORY = Limited(
    "MemoryRunsOut",
    "(host|cgroup) memory|address space",
    "bytes of memory",
    "At 100% the kernel kills a process, or allocations fail.",
    enrichments=FOR_MEMORY,
)
DISK = Limited(
    "DiskRunsOut",
    "disk space of .*",
    "bytes of a disk",
    "At 100% nothing can be written there: databases refuse writes, samples and logs are lost.",
)
THREADS = Limited(
    "ThreadsRunOut",
    "worker threads|cgroup tasks",
    "threads",
    "At 100% every endpoint without async waits, or no thread can be started.",
    enrichments=FOR_THREADS,
)
CONNECTIONS = Limited(
    "ConnectionsRunOut",
    "connections of .*",
    "database connections",
    "At 100% every request that needs one waits, and then fails.",
    board="svc-db",
    enrichments=FOR_QUERIES,
)

FILES_SOON, FILES_LATER, FILES_NEARLY = FILES.soon(), FILES.later(), FILES.nearly(0.8)
MEMORY_SOON, MEMORY_LATER, MEMORY_NEARLY = MEMORY.soon(), MEMORY.later(), MEMORY.nearly(0.9)
DISK_SOON, DISK_LATER, DISK_NEARLY = DISK.soon(), DISK.later(), DISK.nearly(0.9)
THREADS_SOON, THREADS_NEARLY = THREADS.soon(), THREADS.nearly(0.9)
# Of a pool that is nearly full tells DBPoolSaturated.
CONNECTIONS_SOON = CONNECTIONS.soon()

DOUBLES = 600
"""Seconds within which memory that leaks doubles."""
MIN_LEAK = 128 * 2**20
"""Bytes that a worker grew by; less is a cache that fills."""
_RESIDENT = f"last_over_time({RESIDENT}[5m])"
MEMORY_GROWS = Alert(
    name="MemoryRunsOut",
    # The limit may be far, or unknown. A process that has just started warms up.
    expr=f"{_RESIDENT} > {MIN_LEAK} + max_over_time({RESIDENT}[1h] offset 5m) "
    f"and last_over_time({RESIDENT_GROWTH}[5m]) * {DOUBLES} > {_RESIDENT} "
    f"unless on {ON} changes({PROCESS_START_TIME.select('', '10m')}) > 0",
    fires_when="the memory of a worker doubles within 10 minutes and exceeds that of the hour "
    "before by 128 MiB",
    not_when="it was started within 10m",
    severity=Severity.TICKET,
    for_="2m",
    keep_firing_for="5m",
    summary="The memory of {{ $labels.instance }} of {{ $labels.job }} grows without end",
    description="Its largest worker uses {{ $value | humanize1024 }}B, by "
    + current_value(RESIDENT_GROWTH, "job", "instance", show="humanize1024")
    + "B more each second.",
    board="svc-runtime",
    enrichments=FOR_MEMORY,
    investigation=OF_PROCESSES,
    labels={"forecast": "growth"},
)
