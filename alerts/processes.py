"""Alerts on processes: crashes, crash loops."""

from alerts.alert import Alert, Severity
from alerts.enrichment import FOR_PROCESSES
from alerts.investigation import OF_PROCESSES
from vitals.metrics.catalogue import (
    PLANNED_START_TIME,
    PROCESS_START_TIME,
    WORKERS_CRASHED,
    WORKERS_ENDED,
)
from vitals.metrics.declarations import Gauge, NoLabels

MIN_EXITS = 3
"""Within fifteen minutes, those that are known to be planned left out. Where a server cannot know
how its predecessor ended, a deployment is one, a deployment and its rollback are two."""


def _starts(metric: Gauge[NoLabels]) -> str:
    return f"sum by (job, instance) (changes({metric.select('', '15m')}))"


# Of services with the kit only: others export the time of their start too. Those of an earlier
# version of the kit have no figures of crashes and plans.
_ENDED = WORKERS_ENDED.increase("job", "instance", window="15m")
_CRASHED = WORKERS_CRASHED.increase("job", "instance", window="15m")
_EXITS = (
    f"({_CRASHED} or {_ENDED} * 0) + on (job, instance) {_starts(PROCESS_START_TIME)} "
    f"- on (job, instance) ({_starts(PLANNED_START_TIME)} or {_ENDED} * 0)"
)

CRASH_LOOP = Alert(
    name="CrashLoop",
    # The window replaces a longer `for`: three exits are no chance, whenever they happened.
    expr=f"round({_EXITS}) >= {MIN_EXITS}",
    fires_when="workers or the server exit 3 times in 15m, unplanned",
    not_when="they were shut down: recycled, reloaded or deployed",
    severity=Severity.TICKET,
    for_="1m",
    summary="{{ $labels.instance }} of {{ $labels.job }} is crash-looping",
    description="Workers or the server exited {{ $value | humanize }} times within fifteen "
    "minutes without having been shut down. Each exit aborts requests and loses the in-process "
    "state.",
    board="svc-runtime",
    enrichments=FOR_PROCESSES,
    investigation=OF_PROCESSES,
)

WORKER_CRASHED = Alert(
    name="WorkerCrashed",
    expr=f"round({WORKERS_CRASHED.increase('job', 'instance')}) >= 1",
    fires_when="a worker was killed, or ended by an error",
    not_when="it was shut down: recycled, reloaded or deployed",
    severity=Severity.PAGE,
    summary="A worker of {{ $labels.instance }} of {{ $labels.job }} crashed",
    description="Workers that ended within five minutes without having been shut down: "
    "{{ $value | humanize }}. The server starts others; requests that they answered were aborted.",
    board="svc-runtime",
    enrichments=FOR_PROCESSES,
    investigation=OF_PROCESSES,
)
