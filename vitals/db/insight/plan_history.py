"""The plans that statements have had, and whether a new one is worse."""

from time import monotonic

from vitals.db.statements.fingerprint import Statement
from vitals.db.statements.plans import Plan
from vitals.db.statements.query_log import QueryLog
from vitals.metrics.catalogue import OTHER

SHAPES = 8
"""Ways to carry out one statement that are remembered."""


class Shapes:
    """Fills a table of plans; bounded by the fingerprints' slots.

    Args:
        plans: Where the newest plan of each fingerprint goes.
        log: Is told of a plan that changed for the worse; or None.
    """

    def __init__(self, plans: dict[str, Plan], log: QueryLog | None) -> None:
        self._plans = plans
        self._log = log
        self._known: dict[str, dict[str, float]] = {}
        self._told: dict[str, tuple[float, Plan]] = {}

    def told(self, statement: Statement, plan: Plan, seconds: float) -> None:
        """Keep the plan of a real execution, which the database has told of by itself."""
        if statement.fingerprint != OTHER:
            known = self._plans.get(statement.fingerprint)
            if known is not None and known.shape == plan.shape:
                plan = known  # with the advice that was given on it
            self._told[statement.fingerprint] = monotonic(), plan
            self._keep(statement, plan, seconds)

    def asked(self, statement: Statement, plan: Plan, seconds: float, began: float) -> None:
        """Keep the plan that was asked for, or the real one where the database has told of it.

        Args:
            statement: Whose plan it is.
            plan: The answer.
            seconds: What the statement took.
            began: When it began, by the clock ``monotonic``.
        """
        when, real = self._told.get(statement.fingerprint, (0.0, plan))
        if when >= began:
            if real.shape == plan.shape:
                real = plan  # which may have figures of its execution
            plan = real._replace(notes=list(dict.fromkeys([*real.notes, *plan.notes])))
        self._keep(statement, plan, seconds)

    def _keep(self, statement: Statement, plan: Plan, seconds: float) -> None:
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
        if len(shapes) > SHAPES:
            del shapes[next(iter(shapes))]
        self._plans[statement.fingerprint] = plan
