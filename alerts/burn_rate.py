"""Alerts on promises being broken too fast, by several windows at once.

The long window says that it matters, the short one that it is still going on, so the alert ends
soon after the trouble does (Site Reliability Workbook, chapter 5).

Events are requests: availability and latency. A promise about queries has no budget of its own, for
slow queries hurt only through slow requests; `SlowQueryRatioHigh` speaks of them.
"""

from alerts.alert import Alert, Severity, current
from alerts.enrichment import OF_BUDGETS
from rules.slo import BAD_EVENTS_WITHIN, BAD_RATIO, BUDGET_LEFT, TARGET

ENOUGH_BAD = 10
"""Bad events within the long window, so that one failure at night is no trend."""


def _burn(pace: float, long: str, short: str, *, lasting: str, severity: Severity) -> Alert:
    budget = f"{pace:g} * (1 - {TARGET})"
    events = BAD_EVENTS_WITHIN[long]
    return Alert(
        name="BudgetBurn",
        expr=f"{BAD_RATIO[long]} > on (job, slo) {budget} "
        f"and on (job, slo) {BAD_RATIO[short]} > on (job, slo) {budget} "
        f"and on (job, slo) {events} >= {ENOUGH_BAD}",
        severity=severity,
        lasting=lasting,
        summary=f"{{{{ $labels.job }}}} breaks its promise of {{{{ $labels.slo }}}} {pace:g} "
        "times as fast as it may",
        description=f"Bad within {long}: {{{{ $value | humanizePercentage }}}}. Left of the "
        f"month's budget: {current(BUDGET_LEFT, 'job', 'slo', show='humanizePercentage')}.",
        labels={"long": long, "short": short},
        clues=OF_BUDGETS,
    )


PAGE_FASTEST = _burn(14.4, "1h", "5m", lasting="2m", severity=Severity.PAGE)
PAGE_FAST = _burn(6, "6h", "30m", lasting="15m", severity=Severity.PAGE)
TICKET_SLOW = _burn(3, "1d", "2h", lasting="1h", severity=Severity.TICKET)
TICKET_SLOWEST = _burn(1, "3d", "6h", lasting="3h", severity=Severity.TICKET)
