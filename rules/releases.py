"""Recording rules of releases: which versions run, and which ran last."""

from rules.signal import Signal
from vitals.metrics.catalogue import BUILD_INFO

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
