"""Service level objectives (SLOs), declared in code.

The kit exports objectives as metrics and counts good and bad events, so one set of rules and
boards, grouped by ``job``, fits every service: a threshold is changed where it is declared, never
in PromQL.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum


class Slo(StrEnum):
    """The kinds of objective that the kit measures; values of the label ``slo``."""

    AVAILABILITY = "availability"
    LATENCY = "latency"
    QUERIES = "queries"


@dataclass(frozen=True)
class Objective:
    """One objective, for the whole service or for one route.

    ``Objective("latency", ratio=0.95, within=0.25)`` is "p95 at most 250 ms",
    ``Objective("availability", ratio=0.999)`` "one request in a thousand may fail", and
    ``Objective("queries", ratio=0.95, within=0.2)`` "a query over 200 ms is slow, and one in
    twenty may be".

    Attributes:
        slo: ``"latency"``, ``"availability"`` or ``"queries"``.
        ratio: The target: the share of good events to reach, above 0 and below 1.
        within: The threshold: seconds within which an event is good; latency and queries have one.
        route: A route template such as ``/api/users/login`` with an objective of its
            own; empty for the whole service.

    Raises:
        ValueError: The objective is invalid; the message says how to correct it.
    """

    slo: str
    ratio: float
    within: float | None = None
    route: str = ""

    def __post_init__(self) -> None:
        known = ", ".join(Slo)
        if self.slo not in set(Slo):
            raise ValueError(f"objective {self.slo!r}: use one of {known}")
        if not 0 < self.ratio < 1:
            raise ValueError(
                f"objective {self.slo}: ratio {self.ratio} must lie between 0 and 1; "
                "0.999 means 999 good events of 1000"
            )
        if self.slo == Slo.AVAILABILITY:
            if self.within is not None:
                raise ValueError("objective availability: takes no within; use a latency objective")
        elif self.within is None or not (self.within > 0 and math.isfinite(self.within)):
            raise ValueError(f"objective {self.slo}: within must be a number of seconds above 0")
        if self.route and (self.slo == Slo.QUERIES or not self.route.startswith("/")):
            raise ValueError(
                f"objective {self.slo}: route {self.route!r} must be a template such as "
                "/api/orders/{id}, and queries have no route"
            )


DEFAULTS = (
    Objective("availability", ratio=0.999),
    Objective("latency", ratio=0.95, within=0.25),
    Objective("queries", ratio=0.95, within=0.2),
)
"""Objectives of a service that declares none."""


class Objectives:
    """A service's objectives, completed with the defaults.

    Raises:
        ValueError: Two objectives of one kind are declared for the same route.
    """

    def __init__(self, declared: Iterable[Objective] = ()) -> None:
        objectives: dict[tuple[str, str], Objective] = {}
        for objective in declared:
            if objectives.setdefault((objective.slo, objective.route), objective) is not objective:
                where = objective.route or "the whole service"
                raise ValueError(f"objective {objective.slo} is declared twice for {where}")
        for objective in DEFAULTS:
            objectives.setdefault((objective.slo, ""), objective)
        self._objectives = objectives

    def __iter__(self) -> Iterator[Objective]:
        return iter(self._objectives.values())

    def of(self, slo: Slo, route: str = "") -> Objective:
        """The objective that applies to a route: its own, else the service's."""
        return self._objectives.get((slo, route)) or self._objectives[(slo, "")]

    def thresholds(self, slo: Slo) -> tuple[float, ...]:
        """Every distinct threshold of one kind, ascending: a histogram needs them as bounds."""
        return tuple(
            sorted({o.within for o in self._objectives.values() if o.slo == slo and o.within})
        )

    def check_routes(self, known: Collection[str]) -> None:
        """Check that each objective's route is one of the application's.

        Args:
            known: The templates of all routes.

        Raises:
            ValueError: One is not; the message names the nearest routes.
        """
        for objective in self._objectives.values():
            if objective.route and objective.route not in known:
                near = get_close_matches(objective.route, known, n=3, cutoff=0.5)
                hint = f"did you mean {' or '.join(near)}?" if near else "no route is like it"
                raise ValueError(
                    f"objective {objective.slo}: no HTTP route of the application has the template "
                    f"{objective.route!r}, so it would never count a request: {hint}"
                )
