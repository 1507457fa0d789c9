"""Recording rules of releases: which versions run, and which ran last."""

from rules.signal import Signal
from vitals.metrics.catalogue import BUILD_INFO, PROCESS_START_TIME
from vitals.metrics.declarations import Matcher

VERSIONS = Signal(
    f"job_version_revision:{BUILD_INFO.name}:max",
    "Which versions run?",
    "short",
    BUILD_INFO.max("job", "version", "revision"),
)
_LAST = f"job_version_revision:{BUILD_INFO.name}:last"
LAST_VERSIONS = Signal(
    _LAST,
    "Which versions run, or ran last, within a day, while none runs?",
    "short",
    # It reads its own last value, so that it outlasts an outage.
    f"{VERSIONS} or {_LAST} unless on (job) {VERSIONS} and on (job) max_over_time({VERSIONS}[1d])",
    long=True,
)


def deployed(**services: str | Matcher) -> str:
    """Query the versions that began to run within the last five minutes.

    Compared with what ran last: an outage, a restart or a second instance is no deploy, a return to
    the version before is one. Six hours bridge an outage of Prometheus itself.
    """
    last = LAST_VERSIONS.select(**services)
    return (
        f"{VERSIONS.select(**services)} unless "
        f"({last} offset 5m or on (job) last_over_time({last}[6h] offset 5m))"
    )


_BUILD = "job, version, revision"
_STARTED = (
    f"min by ({_BUILD}) (min by (job, instance) ({PROCESS_START_TIME.select()}) "
    "* on (job, instance) group_right () "
    f"{BUILD_INFO.max('job', 'instance', 'version', 'revision')})"
)
_RUNNING = f"({VERSIONS} or {LAST_VERSIONS})"
_DEPLOYED_AT = f"job_version_revision:{BUILD_INFO.name}:deployed_at"
DEPLOYED_AT = Signal(
    _DEPLOYED_AT,
    "When was each version that runs, or ran last, deployed?",
    "s",
    # It reads its own last value: a restart is no deploy, a return to the version before is one.
    # The first process of a version started when it was deployed, also if that was not seen.
    f"max by ({_BUILD}) ({_DEPLOYED_AT} and {_RUNNING}) "
    f"or ({_STARTED} or {VERSIONS.by_own_labels} * 0 + time()) and on ({_BUILD}) ({deployed()}) "
    f"or max by ({_BUILD}) (last_over_time({_DEPLOYED_AT}[1d]) and {_RUNNING})",
)
