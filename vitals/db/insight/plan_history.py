"""Plan history: the plans of each statement, and detection of changes for the worse."""

from time import monotonic, time

from vitals.db.statements.fingerprint import Statement
from vitals.db.statements.plans import Plan
from vitals.db.statements.query_log import QueryLog
from vitals.metrics.catalogue import OTHER

MAX_SHAPES = 8
"""Plan shapes kept per statement."""


class PlanHistory:
    """Fills the table of plans; bounded by the number of fingerprints.

    Args:
        plans: Receives the newest plan of each fingerprint.
        log: Logs plans that changed for the worse; or None.
    """

    def __init__(self, plans: dict[str, Plan], log: QueryLog | None) -> None:
        self._plans = plans
        self._log = log
        self._known: dict[str, dict[str, float]] = {}
        self._logged: dict[str, tuple[float, Plan]] = {}

    def record_logged(self, statement: Statement, plan: Plan, seconds: float) -> None:
        """Record the plan of an actual execution, collected from auto_explain."""
        if statement.fingerprint != OTHER:
            known = self._plans.get(statement.fingerprint)
            if known is not None and known.shape == plan.shape:
                plan = known  # with its advice
            self._logged[statement.fingerprint] = monotonic(), plan
            self._record(statement, plan, seconds)

    def record_explain(
        self, statement: Statement, plan: Plan, seconds: float, began: float
    ) -> None:
        """Record a plan from EXPLAIN; a plan that auto_explain has logged since takes precedence.

        Args:
            statement: The statement.
            plan: Its plan.
            seconds: The statement's duration.
            began: When the statement began, on the clock ``monotonic``.
        """
        when, real = self._logged.get(statement.fingerprint, (0.0, plan))
        if when >= began:
            if real.shape == plan.shape:
                real = plan  # which may have actual figures
            plan = real._replace(notes=list(dict.fromkeys([*real.notes, *plan.notes])))
        self._record(statement, plan, seconds)

    def _record(self, statement: Statement, plan: Plan, seconds: float) -> None:
        shapes = self._known.setdefault(statement.fingerprint, {})
        before = self._plans.get(statement.fingerprint)
        was = shapes.get(before.shape) if before is not None else None
        if (
            before is not None
            and was is not None
            and plan.shape not in shapes
            and seconds >= 2 * was
            and self._log is not None
        ):
            self._log.plan_changed(statement, before, plan, was, seconds)
        shapes[plan.shape] = min(seconds, shapes.get(plan.shape, seconds))
        if len(shapes) > MAX_SHAPES:
            del shapes[next(iter(shapes))]
        self._plans[statement.fingerprint] = plan._replace(taken=time())
