"""Multiwindow, multi-burn-rate alerts on error budgets (Site Reliability Workbook, chapter 5).

The long window shows that the burn is significant, the short one that it still goes on, so the
alert resolves soon after the problem does.

Events are requests: availability and latency. The objective of queries has no budget alert, because
slow queries hurt users only through slow requests; `SlowQueryRatioHigh` covers them.
"""

from alerts.alert import Alert, Severity, current_value
from alerts.enrichment import FOR_BUDGETS
from alerts.investigation import of_budget
from alerts.time_scale import seconds
from rules.slo import BAD_EVENTS_WITHIN, BAD_RATIO, BUDGET_LEFT, OBJECTIVE, TARGET

MIN_BAD_EVENTS = 10
"""Minimum of bad events in the long window, so that one failure at night does not page."""


def _burn(burn_rate: float, long: str, short: str, *, for_: str, severity: Severity) -> Alert:
    budget = f"{burn_rate:g} * (1 - {TARGET})"
    events = BAD_EVENTS_WITHIN[long]
    return Alert(
        name="BudgetBurn",
        expr=f"{BAD_RATIO[long]} > on ({OBJECTIVE}) {budget} "
        f"and on ({OBJECTIVE}) {BAD_RATIO[short]} > on ({OBJECTIVE}) {budget} "
        f"and on ({OBJECTIVE}) {events} >= {MIN_BAD_EVENTS}",
        fires_when=f"the burn rate exceeds {burn_rate:g} over {long} and over {short}",
        not_when=f"fewer than {MIN_BAD_EVENTS} bad events in {long}",
        severity=severity,
        for_=for_,
        summary="{{ $labels.job }} burns its {{ $labels.slo }} error budget"
        "{{ with $labels.http_route }} of {{ . }}{{ end }} at more than "
        f"{burn_rate:g} times the sustainable rate",
        description=f"Bad events within {long}: {{{{ $value | humanizePercentage }}}}. "
        "Error budget left, 30 days: "
        f"{current_value(BUDGET_LEFT, 'job', 'slo', 'http_route', show='humanizePercentage')}.",
        labels={"long": long, "short": short},
        enrichments=FOR_BUDGETS,
        investigation=of_budget(seconds(short)),
    )


PAGE_FASTEST = _burn(14.4, "1h", "5m", for_="2m", severity=Severity.PAGE)
PAGE_FAST = _burn(6, "6h", "30m", for_="15m", severity=Severity.PAGE)
TICKET_SLOW = _burn(3, "1d", "2h", for_="1h", severity=Severity.TICKET)
TICKET_SLOWEST = _burn(1, "3d", "6h", for_="3h", severity=Severity.TICKET)
