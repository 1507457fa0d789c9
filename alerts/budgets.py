"""Alerts on promises being broken too fast, by several windows at once.

The long window says that it matters, the short one that it is still going on, so the alert ends
soon after the trouble does (Site Reliability Workbook, chapter 5).
"""

from alerts.alert import Alert, Severity, current
from alerts.signals.promises import BAD_EVENTS_WITHIN, BAD_RATIO, BUDGET_LEFT, TARGET
from vitals.metric import Matcher, excluding, matching

ENOUGH_BAD = 10
"""Bad events within the long window, so that one failure at night is no trend."""

EVERY_PROMISE = excluding("")
USERS_FEEL = matching("availability|latency")
"""Slow queries hurt only through slow requests; alone they never wake anyone."""


def _burn(
    pace: float, long: str, short: str, *, lasting: str, severity: Severity, slo: Matcher
) -> Alert:
    budget = f"{pace:g} * (1 - {TARGET.select(slo=slo)})"
    events = BAD_EVENTS_WITHIN[long].select(slo=slo)
    return Alert(
        name="BudgetBurn",
        expr=f"{BAD_RATIO[long].select(slo=slo)} > on (job, slo) {budget} "
        f"and on (job, slo) {BAD_RATIO[short].select(slo=slo)} > on (job, slo) {budget} "
        f"and on (job, slo) {events} >= {ENOUGH_BAD}",
        severity=severity,
        lasting=lasting,
        summary=f"{{{{ $labels.job }}}} breaks its promise of {{{{ $labels.slo }}}} {pace:g} "
        "times as fast as it may",
        description=f"Bad within {long}: {{{{ $value | humanizePercentage }}}}. Left of the "
        f"month's budget: {current(BUDGET_LEFT, 'job', 'slo', show='humanizePercentage')}.",
        labels={"long": long, "short": short},
    )


PAGE_FASTEST = _burn(14.4, "1h", "5m", lasting="2m", severity=Severity.PAGE, slo=USERS_FEEL)
PAGE_FAST = _burn(6, "6h", "30m", lasting="15m", severity=Severity.PAGE, slo=USERS_FEEL)
TICKET_SLOW = _burn(3, "1d", "2h", lasting="1h", severity=Severity.TICKET, slo=EVERY_PROMISE)
TICKET_SLOWEST = _burn(1, "3d", "6h", lasting="3h", severity=Severity.TICKET, slo=EVERY_PROMISE)
