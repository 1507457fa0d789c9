"""Where the database's time goes: statements by their total time.

How often and how long is of all workers of the server, out of the metrics that they share; routes,
lines, texts and plans are what this one has seen itself.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vitals.db.statements.metrics_reader import Measured
from vitals.db.statements.plans import Plan
from vitals.db.statements.statement_stats import Ledger, Tally
from vitals.metrics.catalogue import OTHER


@dataclass(frozen=True)
class Part:
    """What one route has of a statement.

    Attributes:
        route: The template; empty for what no request caused.
        source: The line of the application that sent it lately.
        calls: How many.
        seconds: Their time together.
        repeated: Requests that sent it once a row.
    """

    route: str
    source: str
    calls: int
    seconds: float
    repeated: int


@dataclass(frozen=True)
class Bottleneck:
    """A statement with its cost.

    Attributes:
        summary: The operation and the tables.
        fingerprint: As in the metrics; ``__other__`` stands for all that found no slot.
        text: The statement without its values; empty when only another worker has seen it.
        calls: How many.
        seconds: Their time together.
        share: Of the time of all statements, 0 to 1.
        mean: Seconds.
        p95: Seconds that 95 of 100 calls stayed within, reckoned from the histogram.
        slowest: Seconds, of the calls that this worker has seen.
        slow: How many broke the objective.
        failed: How many failed.
        routes: Who sent it, the most expensive first.
        plan: How the database carries it out, where it was asked.
        advice: What to do, in words.
    """

    summary: str
    fingerprint: str
    text: str
    calls: int
    seconds: float
    share: float
    mean: float
    p95: float
    slowest: float
    slow: int
    failed: int
    routes: list[Part]
    plan: Plan | None = None
    advice: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Fields by name, with times to the microsecond."""
        fields = asdict(self)
        if self.plan is not None:
            fields["plan"] = self.plan._asdict()
        return {name: _rounded(value) for name, value in fields.items()}


def rank(
    ledger: Ledger, plans: Mapping[str, Plan], measured: Mapping[str, Measured]
) -> list[Bottleneck]:
    """Statements by their total time, the greatest first; of equals, the one with more p95."""
    found: dict[str, list[tuple[str, Tally]]] = defaultdict(list)
    for route, tally in ledger:
        if tally.calls:
            found[tally.statement.fingerprint].append((route, tally))
    all_seconds = sum(one.seconds for one in measured.values())
    made = [
        _bottleneck(fingerprint, one, all_seconds, found[fingerprint], plans.get(fingerprint))
        for fingerprint, one in measured.items()
    ]
    return sorted(made, key=lambda one: (-one.seconds, -one.p95))


def _bottleneck(
    fingerprint: str,
    measured: Measured,
    all_seconds: float,
    routes: list[tuple[str, Tally]],
    plan: Plan | None,
) -> Bottleneck:
    parts = [
        Part(route, tally.source, tally.calls, tally.seconds, tally.repeated)
        for route, tally in sorted(routes, key=lambda each: -each[1].seconds)
    ]
    return Bottleneck(
        summary=measured.summary,
        fingerprint=fingerprint,
        text=routes[0][1].statement.text if routes and fingerprint != OTHER else "",
        calls=measured.calls,
        seconds=measured.seconds,
        share=measured.seconds / all_seconds if all_seconds else 0.0,
        mean=measured.seconds / measured.calls,
        p95=measured.quantile(0.95),
        slowest=max((tally.slowest for _, tally in routes), default=0.0),
        slow=measured.slow,
        failed=measured.failed,
        routes=parts,
        plan=plan,
        advice=[_about_repeats(part) for part in parts if part.repeated] + _about(plan),
    )


def _about_repeats(part: Part) -> str:
    return (
        f"{part.repeated} requests of {part.route or 'no route'} sent it once a row, from "
        f"{part.source}: load all rows at once (selectinload, or WHERE ... IN)"
    )


def _about(plan: Plan | None) -> list[str]:
    return [] if plan is None else list(plan.notes)


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return round(value, 6)
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case list() | tuple():
            return [_rounded(each) for each in value]
        case _:
            return value
