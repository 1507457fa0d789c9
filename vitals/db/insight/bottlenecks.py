"""Bottlenecks: statements ranked by total database time.

Calls and durations are those of all workers of the server, from their shared metrics; routes, call
sites, texts and plans are those of this worker only.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from vitals.db.statements.metrics_reader import StatementMetrics
from vitals.db.statements.plans import Plan
from vitals.db.statements.statement_stats import CallStats
from vitals.metrics.catalogue import OTHER


@dataclass(frozen=True)
class RouteShare:
    """One route's share of a statement.

    Attributes:
        route: The route template; empty for calls outside of requests.
        source: Most recent call site.
        calls: Number of calls.
        seconds: Total time.
        n_plus_one: Requests in which the statement was an N+1.
    """

    route: str
    source: str
    calls: int
    seconds: float
    n_plus_one: int


@dataclass(frozen=True)
class Bottleneck:
    """A statement with its cost.

    Attributes:
        summary: The operation and the tables.
        fingerprint: As in the metrics; ``__other__`` for statements beyond the limit.
        text: The statement without its values; empty if only other workers have sent it.
        calls: Number of calls.
        seconds: Total time.
        share: Share of the total time of all statements, 0 to 1.
        mean: Mean duration, in seconds.
        p95: 95th percentile of the duration, in seconds, estimated from the histogram.
        slowest: Longest call of this worker, in seconds.
        slow: Calls above the objective's threshold.
        failed: Calls that failed.
        routes: Routes that sent it, by total time.
        plan: Its plan, if it was explained.
        advice: What to change.
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
    routes: list[RouteShare]
    plan: Plan | None = None
    advice: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Fields by name, with times rounded to microseconds."""
        fields = asdict(self)
        if self.plan is not None:
            fields["plan"] = self.plan._asdict()
        return {name: _rounded(value) for name, value in fields.items()}


def rank(
    statement_stats: Iterable[tuple[str, CallStats]],
    plans: Mapping[str, Plan],
    metrics: Mapping[str, StatementMetrics],
) -> list[Bottleneck]:
    """Rank statements by total time, then by p95, in descending order."""
    found: dict[str, list[tuple[str, CallStats]]] = defaultdict(list)
    for route, stats in statement_stats:
        if stats.calls:
            found[stats.statement.fingerprint].append((route, stats))
    all_seconds = sum(one.seconds for one in metrics.values())
    made = [
        _bottleneck(fingerprint, one, all_seconds, found[fingerprint], plans.get(fingerprint))
        for fingerprint, one in metrics.items()
    ]
    return sorted(made, key=lambda one: (-one.seconds, -one.p95))


def _bottleneck(
    fingerprint: str,
    metrics: StatementMetrics,
    all_seconds: float,
    routes: list[tuple[str, CallStats]],
    plan: Plan | None,
) -> Bottleneck:
    shares = [
        RouteShare(route, stats.source, stats.calls, stats.seconds, stats.n_plus_one)
        for route, stats in sorted(routes, key=lambda each: -each[1].seconds)
    ]
    slowest = max((stats.slowest for _, stats in routes), default=0.0)
    p95 = metrics.quantile(0.95)
    if sum(share.calls for share in shares) == metrics.calls:  # no other worker sent it
        p95 = min(p95, slowest)  # the estimate is as coarse as the buckets
    return Bottleneck(
        summary=metrics.summary,
        fingerprint=fingerprint,
        text=routes[0][1].statement.text if routes and fingerprint != OTHER else "",
        calls=metrics.calls,
        seconds=metrics.seconds,
        share=metrics.seconds / all_seconds if all_seconds else 0.0,
        mean=metrics.seconds / metrics.calls,
        p95=p95,
        slowest=slowest,
        slow=metrics.slow,
        failed=metrics.failed,
        routes=shares,
        plan=plan,
        advice=[
            *(_n_plus_one_advice(share) for share in shares if share.n_plus_one),
            *([] if plan is None else plan.notes),
        ],
    )


def _n_plus_one_advice(share: RouteShare) -> str:
    return (
        f"{share.n_plus_one} requests of {share.route or 'no route'} sent it once per row (N+1), "
        f"from {share.source}: load all rows at once (selectinload, or WHERE ... IN)"
    )


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
