"""Recording rules of whole services: what a board of hundreds of them shows.

Each is one series a job, so the board reads no metrics of instances.
"""

from rules.monitoring import ALERTS, UP
from rules.releases import DEPLOYED_AT, LAST_VERSIONS, VERSIONS
from rules.signal import Signal, or_zero
from rules.slo import BAD_RATIO, OBJECTIVE, TARGET

_LISTED = f"group by (job) ({VERSIONS} or {LAST_VERSIONS})"
LISTED = Signal(
    "job:app_build_info:listed",
    "Which services run, or ran within a day?",
    "short",
    _LISTED,
)
DOWN = Signal(
    "job:up:down",
    "How many instances of each service do not answer?",
    "short",
    f"count by (job) ({UP.select()}) - {UP.sum('job')} and on (job) {LISTED}",
)


def _firing(severity: str) -> Signal:
    firing = ALERTS.sum("job", alertstate="firing", severity=severity)
    return Signal(
        f"job:alerts:firing_{severity}",
        f"How many alerts of severity {severity} fire for each service?",
        "short",
        f"{or_zero(firing, LISTED)} and on (job) {LISTED}",
    )


PAGES, TICKETS = _firing("page"), _firing("ticket")
BURN_RATE = Signal(
    "job:objective_burn_rate:max1h",
    "How many times the sustainable rate does each service burn its error budget, within an hour, "
    "of the worst objective?",
    "short",
    f"max by (job) ({BAD_RATIO['1h']} / on ({OBJECTIVE}) (1 - {TARGET}))",
)
DEPLOYED = Signal(
    "job:app_build_info:deployed_at",
    "When was a version of each service deployed last?",
    "s",
    f"max by (job) ({DEPLOYED_AT})",
)
