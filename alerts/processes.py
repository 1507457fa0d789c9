"""Alerts on the processes that serve."""

from alerts.alert import Alert, Severity
from alerts.enrichment import OF_PROCESSES
from vitals.metrics.catalogue import (
    PROCESS_MAX_FDS,
    PROCESS_OPEN_FDS,
    PROCESS_START_TIME,
    WORKERS_ENDED,
)

MANY_ENDS = 3
"""Within fifteen minutes. A deployment is one, a deployment and its reversal are two."""
NEARLY_ALL = 0.8

_ENDS = (
    f"{WORKERS_ENDED.increase('job', 'instance', window='15m')} + on (job, instance) "
    f"sum by (job, instance) (changes({PROCESS_START_TIME.select('', '15m')}))"
)

CRASH_LOOP = Alert(
    name="CrashLoop",
    # The window is the patience: three ends are no chance event, whenever they came.
    expr=f"round({_ENDS}) >= {MANY_ENDS}",
    severity=Severity.TICKET,
    lasting="1m",
    summary="{{ $labels.instance }} of {{ $labels.job }} ends again and again",
    description="Workers or the server ended {{ $value | humanize }} times within fifteen "
    "minutes. Each end breaks off requests and empties what the process held.",
    board="svc-runtime",
    clues=OF_PROCESSES,
)

FILES_RUN_OUT = Alert(
    name="FilesRunOut",
    expr=f"{PROCESS_OPEN_FDS.max('job', 'instance')} / on (job, instance) "
    f"{PROCESS_MAX_FDS.max('job', 'instance')} > {NEARLY_ALL}",
    severity=Severity.TICKET,
    lasting="5m",
    summary="{{ $labels.instance }} of {{ $labels.job }} runs out of file descriptors",
    description="{{ $value | humanizePercentage }} of what a worker may open is open; at 100% it "
    "can neither take nor make connections.",
    board="svc-runtime",
    clues=OF_PROCESSES,
)
